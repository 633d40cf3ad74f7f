from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.engine.slots import Capacity
from isol8tasks.model.events import ImageFinished, ImageStarted, Notice, StageFinished, StageStarted
from isol8tasks.model.image import Image
from isol8tasks.model.result import Phase, StopReason, Verdict
from isol8tasks.testing import FakeBackend, FakeProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isol8tasks.backend.contract import Cancellation, LineSink, PreparedImage
    from isol8tasks.model.result import StageResult
    from isol8tasks.model.stage import Stage
    from tests.unit.engine.conftest import Bench

    MakeStage = Callable[..., Stage]


class Recorder:
    """A program that notes when it starts and how many run beside it."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, process: FakeProcess) -> int:
        with self._lock:
            self.order.append(process.argv[1])
            self.running += 1
            self.most = max(self.most, self.running)
        process.killed.wait(0.02)
        with self._lock:
            self.running -= 1
        return 0


def verdicts(results: dict[str, StageResult]) -> dict[str, str]:
    return {name: result.verdict.value for name, result in results.items()}


def test_what_a_stage_requires_comes_first(bench: Bench, stage: MakeStage) -> None:
    recorder = Recorder()
    bench.backend = FakeBackend(programs={"note": recorder})
    bench.run(
        stage("c", "note", "c", requires=("b",)),
        stage("b", "note", "b", requires=("a",)),
        stage("a", "note", "a"),
    )
    assert recorder.order == ["a", "b", "c"]


def test_the_longest_path_goes_first(bench: Bench, stage: MakeStage) -> None:
    recorder = Recorder()
    bench.backend = FakeBackend(programs={"note": recorder})
    bench.capacity = Capacity(cpus=1, memory=1 << 40, jobs=1)
    bench.run(
        stage("short", "note", "short"),
        stage("long", "note", "long"),
        stage("next", "note", "next", requires=("long",)),
        stage("last", "note", "last", requires=("next",)),
    )
    assert recorder.order == ["long", "next", "short", "last"]


@pytest.mark.parametrize(
    ("capacity", "fields", "most"),
    [
        (Capacity(cpus=64, memory=1 << 40, jobs=3), {}, 3),
        (Capacity(cpus=2, memory=1 << 40, jobs=8), {}, 2),
        (Capacity(cpus=2, memory=1 << 40, jobs=8), {"cpus": 0.5}, 4),
        (Capacity(cpus=64, memory=1 << 30, jobs=8), {"memory": "512m"}, 2),
        (Capacity(cpus=1, memory=1 << 40, jobs=8), {"cpus": 4}, 1),
    ],
)
def test_running_stages_never_exceed_the_machine(
    bench: Bench, stage: MakeStage, capacity: Capacity, fields: dict[str, Any], most: int
) -> None:
    recorder = Recorder()
    bench.backend = FakeBackend(programs={"note": recorder})
    bench.capacity = capacity
    bench.run(*(stage(f"s{n}", "note", "x", **fields) for n in range(8)))
    assert recorder.most == most


def test_a_stage_larger_than_the_machine_is_noticed(bench: Bench, stage: MakeStage) -> None:
    bench.capacity = Capacity(cpus=1, memory=1 << 40, jobs=8)
    bench.run(stage("big", "true", cpus=4))
    notices = [event.text for event in bench.events if isinstance(event, Notice)]
    assert notices == ["'big' wants more than this machine: it runs alone"]


def test_a_small_stage_does_not_wait_for_a_large_one(bench: Bench, stage: MakeStage) -> None:
    recorder = Recorder()
    bench.backend = FakeBackend(programs={"note": recorder})
    bench.capacity = Capacity(cpus=2, memory=1 << 40, jobs=8)
    bench.run(
        stage("first", "note", "first", cpus=1),
        stage("large", "note", "large", cpus=2),
        stage("small", "note", "small", cpus=1),
    )
    assert recorder.order == ["first", "small", "large"]


def test_the_rest_goes_on_after_a_failure(bench: Bench, stage: MakeStage) -> None:
    results = bench.run(
        stage("bad", "false"),
        stage("child", requires=("bad",)),
        stage("grandchild", requires=("child",)),
        stage("other"),
    )
    assert verdicts(results) == {
        "bad": "failed",
        "child": "skipped",
        "grandchild": "skipped",
        "other": "passed",
    }
    assert results["child"].reason == "requires 'bad', which failed"
    assert results["grandchild"].reason == "requires 'child', which was skipped"
    assert results["child"].attempts == 0
    assert results["child"].phase is Phase.WAITING


def test_fail_fast_stops_what_runs_and_starts_nothing(bench: Bench, stage: MakeStage) -> None:
    bench.fail_fast = True
    bench.capacity = Capacity(cpus=64, memory=1 << 40, jobs=2)
    started = threading.Event()

    def slow(process: FakeProcess) -> int:
        started.set()
        process.killed.wait(30)
        return 0

    def bad(_: FakeProcess) -> int:
        assert started.wait(10)
        return 1

    bench.backend = FakeBackend(programs={"slow": slow, "bad": bad})
    results = bench.run(stage("bad", "bad"), stage("slow", "slow"), stage("later"))
    assert verdicts(results) == {"bad": "failed", "slow": "cancelled", "later": "cancelled"}
    assert results["later"].reason == "stopped because another stage did not pass"
    assert bench.cancel.reason is StopReason.FAIL_FAST


def test_an_allowed_failure_does_not_stop_a_fail_fast_run(bench: Bench, stage: MakeStage) -> None:
    bench.fail_fast = True
    bench.capacity = Capacity(cpus=64, memory=1 << 40, jobs=1)
    results = bench.run(stage("bad", "false", allow_failure=True), stage("later"))
    assert verdicts(results) == {"bad": "failed", "later": "passed"}
    assert results["bad"].acceptable


def test_what_could_not_be_judged_is_never_allowed(bench: Bench, stage: MakeStage) -> None:
    image = Image.python().pip("nope")
    bench.backend = FakeBackend(broken_images={image: "no such package: nope"})
    results = bench.run(stage("a", image=image, allow_failure=True))
    assert not results["a"].acceptable


def test_what_requires_an_allowed_failure_is_not_green(bench: Bench, stage: MakeStage) -> None:
    results = bench.run(
        stage("bad", "false", allow_failure=True), stage("child", requires=("bad",))
    )
    assert results["child"].verdict is Verdict.SKIPPED
    assert not results["child"].acceptable


def test_interrupting_reports_everything(bench: Bench, stage: MakeStage) -> None:
    bench.capacity = Capacity(cpus=64, memory=1 << 40, jobs=1)

    def program(process: FakeProcess) -> int:
        bench.cancel.cancel(StopReason.INTERRUPTED)
        process.killed.wait(30)
        return 0

    bench.backend = FakeBackend(programs={"it": program})
    results = bench.run(
        stage("first"),
        stage("running", "it", requires=("first",)),
        stage("child", requires=("running",)),
        stage("zother", requires=("first",)),
    )
    assert verdicts(results) == {
        "first": "passed",
        "running": "cancelled",
        "child": "cancelled",
        "zother": "cancelled",
    }
    finished = [event for event in bench.events if isinstance(event, StageFinished)]
    assert len(finished) == 4


def test_interrupted_before_the_start_runs_nothing(bench: Bench, stage: MakeStage) -> None:
    bench.cancel.cancel(StopReason.TERMINATED)
    assert verdicts(bench.run(stage("a"), stage("b"))) == {"a": "cancelled", "b": "cancelled"}
    assert not [event for event in bench.events if isinstance(event, StageStarted)]


def test_an_image_is_prepared_once(bench: Bench, stage: MakeStage) -> None:
    image = Image.python().pip("pytest")
    bench.run(*(stage(f"s{n}", image=image) for n in range(20)))
    assert bench.backend.bakes == 1
    assert len([event for event in bench.events if isinstance(event, ImageStarted)]) == 1


def test_a_broken_image_is_an_error_of_its_stages_only(bench: Bench, stage: MakeStage) -> None:
    image = Image.python().pip("nope")
    bench.backend = FakeBackend(broken_images={image: "no such package: nope"})
    results = bench.run(
        stage("a", image=image),
        stage("b", requires=("a",)),
        stage("c"),
    )
    assert verdicts(results) == {"a": "error", "b": "skipped", "c": "passed"}
    assert (results["a"].phase, results["a"].reason) == (Phase.IMAGE, "no such package: nope")
    assert results["b"].reason == "requires 'a', which could not be judged"
    errors = [event.error for event in bench.events if isinstance(event, ImageFinished)]
    assert sorted(errors) == ["", "no such package: nope"]


class SlowBakes(FakeBackend):
    """Bakes that last until they are cancelled."""

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> PreparedImage:
        if image.layers:
            stopped = threading.Event()
            cancel.on_cancel(stopped.set)
            assert stopped.wait(10), "nobody stopped the bake"
        return super().prepare(image, base=base, sink=sink, cancel=cancel, timeout=timeout)


def test_a_bake_that_nobody_wants_any_more_is_stopped(bench: Bench, stage: MakeStage) -> None:
    bench.backend = SlowBakes()
    results = bench.run(
        stage("gate", "false"),
        stage("build", image=Image.node().npm("typescript"), requires=("gate",)),
    )
    assert verdicts(results) == {"gate": "failed", "build": "skipped"}


def test_interrupting_stops_a_bake(bench: Bench, stage: MakeStage) -> None:
    def stop(_: FakeProcess) -> int:
        bench.cancel.cancel(StopReason.INTERRUPTED)
        return 0

    bench.backend = SlowBakes(programs={"stop": stop})
    results = bench.run(stage("a", "stop"), stage("b", image=Image.node().npm("typescript")))
    assert results["b"].verdict is Verdict.CANCELLED


@pytest.mark.parametrize("count", [10_000])
def test_a_long_chain_needs_no_recursion(bench: Bench, stage: MakeStage, count: int) -> None:
    names = [f"s{n}" for n in range(count)]
    stages = [stage("s0")]
    stages += [stage(name, requires=(before,)) for before, name in pairwise(names)]
    results = bench.run(*stages)
    assert {result.verdict for result in results.values()} == {Verdict.PASSED}


def test_a_long_chain_is_skipped_without_recursion(bench: Bench, stage: MakeStage) -> None:
    stages = [stage("s0", "false")]
    stages += [stage(f"s{n}", requires=(f"s{n - 1}",)) for n in range(1, 5000)]
    results = bench.run(*stages)
    assert results["s4999"].verdict is Verdict.SKIPPED
