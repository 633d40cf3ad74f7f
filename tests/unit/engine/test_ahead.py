from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.backend.contract import PreparedImage
from isol8tasks.engine.ahead import THREADS, SandboxSupply
from isol8tasks.engine.disposal import Disposal
from isol8tasks.engine.slots import Capacity
from isol8tasks.errors import SandboxError
from isol8tasks.model.events import StageFinished
from isol8tasks.model.image import Image
from isol8tasks.model.result import StopReason, Verdict
from isol8tasks.model.stage import Secret
from isol8tasks.testing import FakeBackend, FakeProcess, MemoryInputs
from isol8tasks.testing.fake import FakeSandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.backend.contract import OutputSink, SandboxSpec
    from isol8tasks.model.events import Event
    from isol8tasks.model.result import Exit, StageResult
    from isol8tasks.model.stage import Stage
    from tests.unit.engine.conftest import Bench

    MakeStage = Callable[..., Stage]

IMAGE = PreparedImage(image=Image.bash(), identity=Image.bash().recipe)


class Log:
    """What happened to the sandboxes of which stage; a test waits for it."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._changed = threading.Condition()

    def add(self, what: str, name: str) -> None:
        with self._changed:
            self._counts[what, name] += 1
            self._changed.notify_all()

    def wait_for(self, what: str, *names: str) -> int:
        """What a program that succeeds returns."""
        with self._changed:
            happened = lambda: all(self._counts[what, name] for name in names)  # noqa: E731
            assert self._changed.wait_for(happened, 10), f"{names} were never {what}"
        return 0

    def count(self, what: str, *names: str) -> list[int]:
        return [self._counts[what, name] for name in names]


class Watched(FakeSandbox):
    """Logs what becomes of it."""

    log: Log
    name: str

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        self.log.add("run", self.name)
        return super().run(argv, stdin=stdin, sink=sink)

    def close(self) -> None:
        super().close()
        self.log.add("closed", self.name)


class WatchedBackend(FakeBackend):
    """Logs what it makes, lets the sandboxes in `held` last, and raises `errors` in turn."""

    def __init__(self, *held: str) -> None:
        super().__init__()
        self.programs = self._programs
        self.log = Log()
        self.held = held
        self.release = threading.Event()
        self.errors: dict[str, list[Exception]] = {}
        self.most_alive = 0

    def create(self, spec: SandboxSpec) -> Watched:
        self.log.add("begun", spec.name)
        if spec.name in self.held:
            assert self.release.wait(10)
        if self.errors.get(spec.name):
            raise self.errors[spec.name].pop()
        with self._lock:
            self.alive += 1
            self.most_alive = max(self.alive, self.most_alive)
        sandbox = Watched(spec, self._programs, self._gone)
        sandbox.log, sandbox.name = self.log, spec.name
        self.log.add("made", spec.name)
        return sandbox


class OnEvent(list[Any]):
    """Events of a run, with something to do when a stage has finished."""

    def __init__(self, finished: Callable[[StageFinished], object]) -> None:
        super().__init__()
        self._finished = finished

    def append(self, event: Event) -> None:
        super().append(event)
        if isinstance(event, StageFinished):
            self._finished(event)


def test_what_is_expected_is_made_once(stage: MakeStage) -> None:
    backend = WatchedBackend()
    supply = SandboxSupply(backend)
    supply.expect(stage("s"), IMAGE)
    supply.expect(stage("s"), IMAGE)
    backend.log.wait_for("made", "s")
    supply.take(stage("s"), IMAGE).close()
    supply.close()
    assert backend.log.count("made", "s") == [1]
    assert backend.alive == 0


def test_each_further_try_gets_a_sandbox_made_for_it(stage: MakeStage) -> None:
    backend = WatchedBackend()
    supply = SandboxSupply(backend)
    supply.expect(stage("s"), IMAGE)
    first, second = (supply.take(stage("s"), IMAGE) for _ in range(2))
    assert first is not second
    assert backend.log.count("made", "s") == [2]
    supply.close()
    assert backend.alive == 2, "what was taken is not ours to close"


def test_what_is_under_way_is_waited_for(stage: MakeStage) -> None:
    backend = WatchedBackend("s")
    supply = SandboxSupply(backend)
    supply.expect(stage("s"), IMAGE)
    backend.log.wait_for("begun", "s")
    taking = threading.Thread(target=supply.take, args=(stage("s"), IMAGE))
    taking.start()
    taking.join(0.05)
    assert taking.is_alive()
    backend.release.set()
    taking.join(10)
    assert backend.log.count("begun", "s") == [1]
    supply.close()


def test_nobody_waits_for_what_has_not_begun(stage: MakeStage) -> None:
    held = [f"h{number}" for number in range(THREADS)]
    backend = WatchedBackend(*held)
    supply = SandboxSupply(backend)
    for name in (*held, "s", "never"):
        supply.expect(stage(name), IMAGE)
    backend.log.wait_for("begun", *held)
    supply.take(stage("s"), IMAGE).close()
    assert backend.log.count("made", *held) == [0] * THREADS
    for name in (*held, "never"):
        supply.drop(name)
    backend.release.set()
    supply.close()
    assert backend.log.count("closed", *held) == [1] * THREADS
    assert backend.log.count("begun", "s", "never") == [1, 0]
    assert backend.alive == 0


def test_the_environment_has_the_stages_own_secrets(stage: MakeStage) -> None:
    specs: list[SandboxSpec] = []

    class Noting(FakeBackend):
        def create(self, spec: SandboxSpec) -> FakeSandbox:
            specs.append(spec)
            return super().create(spec)

    supply = SandboxSupply(Noting(), secrets=(("OTHER", "x"), ("TOKEN", "t")))
    supply.take(stage("s", env=(("A", "1"),), secrets=(Secret("TOKEN"),)), IMAGE)
    assert specs[0].env == (("A", "1"), ("TOKEN", "t"))


@pytest.mark.parametrize("error", [SandboxError("no room"), OSError("no room")])
def test_what_failed_ahead_is_tried_again(stage: MakeStage, error: Exception) -> None:
    backend = WatchedBackend()
    backend.errors["s"] = [error]
    supply = SandboxSupply(backend)
    supply.expect(stage("s"), IMAGE)
    backend.log.wait_for("begun", "s")
    supply.take(stage("s"), IMAGE).close()
    supply.close()
    assert backend.alive == 0


def test_what_was_dropped_is_closed_when_it_is_there(stage: MakeStage) -> None:
    backend = WatchedBackend("s")
    supply = SandboxSupply(backend)
    supply.expect(stage("s"), IMAGE)
    backend.log.wait_for("begun", "s")
    supply.drop("s")
    backend.release.set()
    supply.close()
    assert backend.log.count("made", "s") == backend.log.count("closed", "s") == [1]
    assert backend.alive == 0


def test_closing_waits_for_what_is_under_way_and_closes_it(stage: MakeStage) -> None:
    backend = WatchedBackend("s")
    supply = SandboxSupply(backend)
    supply.expect(stage("s"), IMAGE)
    supply.expect(stage("done"), IMAGE)
    backend.log.wait_for("begun", "s")
    backend.log.wait_for("made", "done")
    closing = threading.Thread(target=supply.close)
    closing.start()
    backend.log.wait_for("closed", "done")
    assert closing.is_alive()
    backend.release.set()
    closing.join(10)
    assert backend.log.count("closed", "s", "done") == [1, 1]
    assert backend.alive == 0


def test_only_a_bug_matters_when_nobody_needed_the_sandbox(stage: MakeStage) -> None:
    backend, disposal = WatchedBackend(), Disposal()
    backend.errors = {"refused": [SandboxError("no room")], "bug": [ZeroDivisionError()]}
    supply = SandboxSupply(backend, dispose=disposal)
    supply.expect(stage("refused"), IMAGE)
    backend.log.wait_for("begun", "refused")
    supply.close()
    disposal.finish()
    disposal = Disposal()
    supply = SandboxSupply(backend, dispose=disposal)
    supply.expect(stage("bug"), IMAGE)
    backend.log.wait_for("begun", "bug")
    supply.close()
    with pytest.raises(ZeroDivisionError):
        disposal.finish()


def waiting(log: Log, *names: str) -> Callable[[FakeProcess], int]:
    """A program that ends with the code in its arguments, once these sandboxes are made."""

    def program(process: FakeProcess) -> int:
        log.wait_for("made", *names)
        return int(process.argv[1])

    return program


def narrow(jobs: int) -> Capacity:
    return Capacity(cpus=64, memory=1 << 40, jobs=jobs)


@pytest.fixture
def backend(bench: Bench) -> WatchedBackend:
    """The backend of `bench`; `wait` waits for the sandbox of the stage named child."""
    watched = WatchedBackend()
    watched.programs["wait"] = waiting(watched.log, "child")
    bench.backend = watched
    return watched


def verdicts(results: dict[str, StageResult]) -> list[str]:
    return [f"{name} {result.verdict}" for name, result in results.items()]


def test_a_sandbox_is_made_while_what_the_stage_requires_runs(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    results = bench.run(stage("first", "wait", "0"), stage("child", requires=("first",)))
    assert verdicts(results) == ["first passed", "child passed"]
    assert backend.log.count("made", "first", "child") == [1, 1]
    assert backend.log.count("run", "first", "child") == [1, 1]
    assert backend.alive == 0


def test_a_sandbox_is_made_while_its_stage_waits_for_a_slot(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    bench.capacity = narrow(1)
    results = bench.run(stage("first", "wait", "0"), stage("child"))
    assert verdicts(results) == ["first passed", "child passed"]
    assert backend.alive == 0


def test_a_skipped_stages_sandbox_is_closed_at_once(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    backend.programs["last"] = lambda _: backend.log.wait_for("closed", "child")
    results = bench.run(
        stage("first", "wait", "1"), stage("child", requires=("first",)), stage("other", "last")
    )
    assert verdicts(results) == ["first failed", "child skipped", "other passed"]
    assert backend.log.count("run", "child") == [0]
    assert backend.alive == 0


def test_a_skipped_stage_makes_room_for_another(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    bench.capacity = narrow(1)
    backend.programs["next"] = waiting(backend.log, "last")
    results = bench.run(
        stage("first", "wait", "1"),
        stage("child", requires=("first",)),
        stage("next", "next", "0"),
        stage("last"),
    )
    assert verdicts(results) == ["first failed", "child skipped", "next passed", "last passed"]


def test_a_sandbox_that_its_stage_never_took_is_closed_with_the_stage(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    """Its inputs cannot be put together: two stages made the same file."""
    bench.inputs = MemoryInputs({"child": {"a": b""}, "first": {"a": b""}})
    backend.programs["last"] = lambda _: backend.log.wait_for("closed", "child")
    results = bench.run(
        stage("first", "wait", "0", outputs=("a",)),
        stage("child", input_stages=("first",)),
        stage("other", "last"),
    )
    assert verdicts(results) == ["first passed", "child error", "other passed"]
    assert backend.alive == 0


def test_no_more_wait_than_run_and_each_is_used_once(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    bench.capacity = narrow(2)
    names = [f"s{number}" for number in range(40)]
    held = names[:2]
    for name, ahead in zip(held, names[2:4], strict=True):
        backend.programs[name] = waiting(backend.log, ahead)
    bench.run(
        *(stage(name, name, "0") for name in held),
        *(stage(name) for name in names[2:30]),
        *(stage(name, requires=(names[0],)) for name in names[30:]),
    )
    assert backend.log.count("made", *names) == [1] * 40
    assert backend.log.count("run", *names) == [1] * 40
    assert backend.most_alive <= 4, "two that run, two that wait"
    assert backend.alive == 0


@pytest.mark.parametrize("failures", [1, 2])
def test_an_error_in_making_is_the_stages_when_it_comes_again(
    bench: Bench, backend: WatchedBackend, stage: MakeStage, failures: int
) -> None:
    backend.errors["child"] = [SandboxError("no room")] * failures
    backend.programs["begun"] = lambda _: backend.log.wait_for("begun", "child")
    results = bench.run(
        stage("first", "begun"),
        stage("child", requires=("first",)),
        stage("grandchild", requires=("child",)),
    )
    if failures == 1:
        assert verdicts(results) == ["first passed", "child passed", "grandchild passed"]
    else:
        assert verdicts(results) == ["first passed", "child error", "grandchild skipped"]
        assert results["child"].reason == "no room"
    assert backend.alive == 0


def test_a_bug_in_making_is_not_swallowed(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    backend.errors["child"] = [ZeroDivisionError()]
    backend.programs["begun"] = lambda _: backend.log.wait_for("begun", "child")
    with pytest.raises(ZeroDivisionError):
        bench.run(stage("first", "begun"), stage("child", requires=("first",)))
    assert backend.alive == 0


@pytest.mark.parametrize("what", ["begun", "made"])
def test_nothing_is_left_when_the_run_is_cancelled(
    bench: Bench, backend: WatchedBackend, stage: MakeStage, what: str
) -> None:
    """Also while the sandbox is made: it lasts until the scheduler has given the stage up."""
    backend.held = ("child",) if what == "begun" else ()

    def finished(event: StageFinished) -> None:
        if event.result.name == "child":
            backend.release.set()

    def stop(_: FakeProcess) -> int:
        backend.log.wait_for(what, "child")
        bench.cancel.cancel(StopReason.INTERRUPTED)
        return 0

    bench.events = OnEvent(finished)
    backend.programs["stop"] = stop
    results = bench.run(stage("first", "stop"), stage("child", requires=("first",)))
    assert results["child"].verdict is Verdict.CANCELLED
    assert backend.log.count("made", "child") == backend.log.count("closed", "child") == [1]
    assert backend.log.count("run", "child") == [0]
    assert backend.alive == 0


def test_nothing_is_left_when_a_failure_stops_the_run(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    bench.fail_fast, bench.capacity = True, narrow(1)
    results = bench.run(
        stage("first", "wait", "1"), stage("child", requires=("first",)), stage("other")
    )
    assert verdicts(results) == ["first failed", "child skipped", "other cancelled"]
    assert backend.log.count("made", "child") == backend.log.count("closed", "child") == [1]
    assert backend.log.count("begun", "other") == [0]
    assert backend.alive == 0


def test_nothing_is_left_when_the_scheduler_breaks(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    bench.events = OnEvent(lambda _: next(iter(())))
    with pytest.raises(StopIteration):
        bench.run(stage("first", "wait", "0"), stage("child", requires=("first",)))
    assert backend.log.count("made", "child") == backend.log.count("closed", "child") == [1]
    assert backend.alive == 0


def test_a_cancelled_run_makes_nothing(
    bench: Bench, backend: WatchedBackend, stage: MakeStage
) -> None:
    bench.cancel.cancel(StopReason.TERMINATED)
    bench.run(stage("first"), stage("child", requires=("first",)))
    assert backend.log.count("begun", "first", "child") == [0, 0]
