"""Limits of a workspace: what it gives, and the most it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.errors import Refused
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.plan.govern import fill, hold
from isol8tasks.plan.plan import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage, TaskFile

    MakeStage = Callable[..., Stage]
    MakeFile = Callable[..., TaskFile]

MIB = 1 << 20


@pytest.fixture
def filled(stage: MakeStage, taskfile: MakeFile) -> Callable[..., Limits]:
    """What a stage that states something has, by the limits of its workspace."""

    def fill_one(limits: dict[str, Any], **stated: Any) -> Limits:
        found = fill(taskfile(stage("a", limits=Limits.of(**stated))), limits)
        return build(found, ["a"]).stage("a").limits

    return fill_one


@pytest.fixture
def held(stage: MakeStage, taskfile: MakeFile) -> Callable[..., Limits]:
    """What a stage that states something has, by the ceilings of its workspace."""

    def hold_one(ceilings: dict[str, Any], **stated: Any) -> Limits:
        plan = build(taskfile(stage("a", limits=Limits.of(**stated))), ["a"])
        return hold(plan, ceilings).stage("a").limits

    return hold_one


def test_nothing_given_changes_nothing(filled: Any, held: Any) -> None:
    assert filled({}) == held({}) == Limits()


def test_given_limits_count_as_stated(filled: Any) -> None:
    limits = filled({"memory": "2g", "timeout": "2m"})
    assert (limits.memory, limits.timeout, limits.disk) == (2048 * MIB, 120.0, 256 * MIB)
    assert limits.stated == {Limit.MEMORY, Limit.TIMEOUT}


def test_a_stage_overrules_what_is_given(filled: Any) -> None:
    limits = filled({"memory": "2g", "pids": 10}, memory="1g")
    assert (limits.memory, limits.pids) == (1024 * MIB, 10)
    assert limits.stated == {Limit.MEMORY, Limit.PIDS}


def test_a_small_memory_makes_a_small_disk(filled: Any, held: Any) -> None:
    assert filled({"memory": "100m"}).disk == 50 * MIB
    assert held({"memory": "100m"}).disk == 50 * MIB


def test_a_given_disk_makes_room_for_a_memory_that_a_stage_states(filled: Any) -> None:
    limits = filled({"disk": "200m"}, memory="100m")
    assert (limits.memory, limits.disk) == (100 * MIB, 50 * MIB)


def test_every_stage_is_given_them(stage: MakeStage, taskfile: MakeFile) -> None:
    found = fill(taskfile(stage("a"), stage("b", folder="p")), {"pids": 9})
    assert [stage.limits.pids for stage in found.stages] == [9, 9]


def test_a_ceiling_narrows_what_is_not_stated(held: Any) -> None:
    limits = held({"timeout": "10s", "pids": 1000, "cpus": 0.5, "output_limit": "1m"})
    assert (limits.timeout, limits.pids, limits.cpus) == (10.0, 256, 0.5)
    assert limits.output_limit == MIB
    assert limits.stated == {Limit.TIMEOUT, Limit.PIDS, Limit.CPUS, Limit.OUTPUT}


def test_what_is_stated_below_a_ceiling_stays(held: Any) -> None:
    limits = held({"memory": "1g"}, memory="300m", disk="20m")
    assert (limits.memory, limits.disk) == (300 * MIB, 20 * MIB)


@pytest.mark.parametrize("stated", ["1g", "1024m", 1 << 30])
def test_what_is_stated_may_be_the_ceiling(held: Any, stated: str | int) -> None:
    assert held({"memory": "1g"}, memory=stated).memory == 1 << 30


@pytest.mark.parametrize(
    ("ceilings", "stated", "message"),
    [
        ({"memory": "1g"}, {"memory": "2g"}, "states memory 2g: the ceiling is 1g"),
        (
            {"memory": "1g"},
            {"memory": (1 << 30) + 1},
            "states memory 1073741825: the ceiling is 1g",
        ),
        ({"timeout": "1m"}, {"timeout": "2m"}, "states timeout 2m00s: the ceiling is 1m00s"),
        ({"cpus": 1}, {"cpus": 1.5}, "states cpus 1.5: the ceiling is 1"),
        ({"pids": 10}, {"pids": 11}, "states pids 11: the ceiling is 10"),
        ({"pids": 10**7}, {"pids": 10**7 + 1}, "states pids 10000001: the ceiling is 10000000"),
        ({"disk": "1m"}, {"disk": "2m"}, "states disk 2m: the ceiling is 1m"),
        (
            {"output_limit": "1m"},
            {"output_limit": "2m"},
            "states output_limit 2m: the ceiling is 1m",
        ),
        (
            {"pids": 10, "memory": "1g"},
            {"pids": 11, "memory": "2g"},
            "states memory 2g: the ceiling is 1g",
        ),
    ],
)
def test_more_than_the_ceiling_is_refused(
    held: Any, ceilings: Any, stated: Any, message: str
) -> None:
    with pytest.raises(Refused) as caught:
        held(ceilings, **stated)
    assert caught.value.message == f"stage 'a' {message}"
    assert str(caught.value.where) == "isol8file.py:1"
    assert caught.value.hint == (
        "state less, or ask who set `ceilings` (--show-settings says where)"
    )


def test_a_disk_that_no_longer_fits_is_refused(held: Any) -> None:
    with pytest.raises(Refused) as caught:
        held({"memory": "100m"}, disk="200m")
    assert caught.value.message == (
        "stage 'a': within the ceilings, disk 200m is not below memory 100m"
    )
    assert str(caught.value.where) == "isol8file.py:1"


def test_ceilings_leave_room_for_a_stage_that_states_nothing(held: Any) -> None:
    limits = held({"memory": "100m", "disk": "200m"})
    assert (limits.memory, limits.disk) == (100 * MIB, 50 * MIB)


def test_only_what_runs_is_held(stage: MakeStage, taskfile: MakeFile) -> None:
    declared = taskfile(stage("a"), stage("b", limits=Limits.of(pids=1000)))
    plan = build(declared, ["a"])
    assert hold(plan, {"pids": 10}).stage("a").limits.pids == 10


def test_given_limits_are_held_too(stage: MakeStage, taskfile: MakeFile) -> None:
    plan = build(fill(taskfile(stage("a")), {"pids": 1000}), ["a"])
    with pytest.raises(Refused, match="states pids 1000: the ceiling is 10"):
        hold(plan, {"pids": 10})


def test_a_held_plan_is_the_same_but_for_its_limits(stage: MakeStage, taskfile: MakeFile) -> None:
    plan = build(
        taskfile(stage("a"), stage("b", requires=("a",), posargs=True)), ["b"], posargs=["x"]
    )
    narrowed = hold(plan, {"pids": 10})
    assert [stage.name for stage in narrowed.stages] == ["a", "b"]
    assert narrowed.prerequisites("b") == ("a",)
    assert (narrowed.posargs, narrowed.root) == (("x",), "/work")
