"""What the engine itself costs: no-op stages on the fake backend, 1,000 and 10,000 of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import bench

from isol8tasks.backend.contract import PreparedImage
from isol8tasks.engine.ahead import SandboxSupply
from isol8tasks.engine.assemble import assemble
from isol8tasks.engine.attempt import Attempt, Workbench
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.engine.clock import MonotonicClock
from isol8tasks.engine.images import Bakery
from isol8tasks.engine.scheduler import Scheduler
from isol8tasks.engine.slots import Capacity, Slots
from isol8tasks.errors import Location
from isol8tasks.model.events import Event
from isol8tasks.model.image import Image
from isol8tasks.model.result import StageResult
from isol8tasks.model.stage import Exec, Stage, TaskFile
from isol8tasks.plan.plan import Plan, build
from isol8tasks.testing import FakeBackend, MemoryArtifacts, MemoryInputs

SMALL, LARGE = 1_000, 10_000
WIDTH = 100

Shape = Callable[[int], tuple[str, ...]]
"""The stages that the stage of this number requires."""


def independent(_: int) -> tuple[str, ...]:
    return ()


def chain(number: int) -> tuple[str, ...]:
    return (f"s{number - 1}",) if number else ()


def layers(number: int) -> tuple[str, ...]:
    """Layers of 100 stages, each of which requires the whole layer before its own."""
    first = number - number % WIDTH - WIDTH
    return tuple(f"s{before}" for before in range(first, first + WIDTH)) if first >= 0 else ()


def main() -> None:
    rounds = bench.rounds(3, __doc__)
    print("\n### One no-op stage on the fake backend (target: at most 1 ms, and growth 1)\n")
    print(f"| ms | {SMALL:,}: min | median | {LARGE:,}: min | median | growth min | median |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for shape in (independent, chain, layers):
        taskfiles = {count: _taskfile(shape, count) for count in (SMALL, LARGE)}
        competitors = {
            f"{name} {count}": compete
            for count, taskfile in taskfiles.items()
            for name, compete in _competitors(taskfile)
        }
        results = bench.race(competitors, rounds=rounds)
        for name, _ in _competitors(taskfiles[SMALL]):
            small, large = (results[f"{name} {count}"].per(count) for count in taskfiles)
            _row(f"{shape.__name__}: {name}", small, large)


def _row(name: str, small: bench.Timing, large: bench.Timing) -> None:
    times = (small.min, small.median, large.min, large.median)
    shown = " | ".join(bench.milliseconds(seconds) for seconds in times)
    growth = f"{large.min / small.min:.2f} | {large.median / small.median:.2f}"
    print(f"| {name} | {shown} | {growth} |", flush=True)


def _competitors(taskfile: TaskFile) -> Iterator[tuple[str, bench.Competitor]]:
    """Planning alone, and planning and running with so many threads."""
    yield "plan", partial(_plan, taskfile)
    for jobs in (2, 8):
        yield f"plan and run -j{jobs}", partial(_plan_and_run, taskfile, jobs)


def _taskfile(shape: Shape, count: int) -> TaskFile:
    image, command, where = Image.bash(), Exec(("true",)), Location("isol8file.py", 1)
    stages = tuple(
        Stage(
            name=f"s{number}",
            image=image,
            command=command,
            declared_at=where,
            inputs=(),
            requires=shape(number),
        )
        for number in range(count)
    )
    return TaskFile(path="isol8file.py", root="/nowhere", stages=stages)


def _plan(taskfile: TaskFile) -> Plan:
    return build(taskfile, [stage.name for stage in taskfile.stages])


def _plan_and_run(taskfile: TaskFile, jobs: int) -> None:
    """What `isol8tasks.app` joins together, without what is about the host."""
    plan = _plan(taskfile)
    backend, clock, cancel = FakeBackend(), MonotonicClock(), CancelSource()
    inputs, artifacts = MemoryInputs(), MemoryArtifacts()
    supply = SandboxSupply(backend)
    workbench = Workbench(
        sandbox=supply.take, artifacts=artifacts, clock=clock, emit=_ignore, cancel=cancel
    )

    def perform(stage: Stage, image: PreparedImage) -> StageResult:
        attempt = Attempt(workbench, stage, image)
        return attempt.execute(lambda: assemble(stage, inputs, artifacts))

    results = Scheduler(
        plan,
        perform=perform,
        bakery=Bakery(backend, base=Path(), timeout=1, clock=clock, emit=_ignore),
        supply=supply,
        slots=Slots(Capacity(cpus=64, memory=1 << 40, jobs=jobs)),
        jobs=jobs,
        emit=_ignore,
        cancel=cancel,
    ).run()
    assert all(result.ok for result in results)


def _ignore(_: Event) -> None:
    """Reports cost what they cost; this is about the engine."""


if __name__ == "__main__":
    main()
