from __future__ import annotations

from typing import TYPE_CHECKING

from isol8tasks.engine.queues import SoonStages
from isol8tasks.model.stage import TaskFile
from isol8tasks.plan.plan import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage

    MakeStage = Callable[..., Stage]


def soon_stages(*stages: Stage, most: int = 9, prepared: bool = True) -> SoonStages:
    taskfile = TaskFile(path="isol8file.py", root="/nowhere", stages=stages)
    soon = SoonStages(build(taskfile, [stage.name for stage in stages]), most=most)
    for stage in stages if prepared else ():
        soon.image_prepared(stage.name)
    return soon


def names(soon: SoonStages) -> list[str]:
    return [stage.name for stage in soon.take()]


def test_what_waits_for_a_slot_is_named_once_the_longest_path_first(stage: MakeStage) -> None:
    soon = soon_stages(stage("short"), stage("long"), stage("next", requires=("long",)))
    assert names(soon) == ["long", "short"]
    assert names(soon) == []


def test_a_stage_comes_once_all_that_it_requires_has_started(stage: MakeStage) -> None:
    soon = soon_stages(
        stage("a"), stage("b"), stage("c", requires=("a", "b")), stage("d", requires=("c",))
    )
    for name in ("a", "b"):
        assert "c" not in names(soon)
        soon.started(name)
    assert names(soon) == ["c"]
    soon.started("c")
    assert names(soon) == ["d"]


def test_a_stage_comes_once_its_image_is_prepared(stage: MakeStage) -> None:
    soon = soon_stages(stage("a"), prepared=False)
    assert names(soon) == []
    soon.image_prepared("a")
    assert names(soon) == ["a"]


def test_only_so_many_wait_at_a_time(stage: MakeStage) -> None:
    soon = soon_stages(*(stage(name) for name in "abcde"), most=2)
    assert names(soon) == ["a", "b"]
    soon.started("a")
    assert names(soon) == ["c"]
    soon.settle("b")
    soon.settle("b")
    assert names(soon) == ["d"]


def test_what_has_started_or_never_will_is_not_named(stage: MakeStage) -> None:
    soon = soon_stages(stage("a"), stage("b"), stage("c", requires=("a",)), stage("d"))
    soon.started("a")
    soon.settle("b")
    soon.settle("c")
    assert names(soon) == ["d"]
