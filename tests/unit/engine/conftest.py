"""A run on the fake backend, with the engine's real parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from isol8tasks.engine.ahead import SandboxSupply
from isol8tasks.engine.assemble import assemble
from isol8tasks.engine.attempt import Attempt, Workbench
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.engine.clock import MonotonicClock
from isol8tasks.engine.images import Bakery
from isol8tasks.engine.scheduler import Scheduler
from isol8tasks.engine.slots import Capacity, Slots
from isol8tasks.errors import Location
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limits
from isol8tasks.model.stage import Exec, Stage, TaskFile
from isol8tasks.plan.plan import build
from isol8tasks.testing import FakeBackend, MemoryArtifacts, MemoryInputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.backend.contract import PreparedImage
    from isol8tasks.model.events import Event
    from isol8tasks.model.result import StageResult
    from isol8tasks.ports import Clock

HERE = Location("isol8file.py", 1)


def make(name: str, *argv: str, **fields: Any) -> Stage:
    """A stage that runs `true` unless told otherwise; limits by their names."""
    names = {field.name for field in attrs.fields(Limits)}
    limits = Limits.of(**{key: fields.pop(key) for key in names & fields.keys()})
    fields.setdefault("inputs", ())
    command = Exec(argv or ("true",))
    image = fields.pop("image", Image.bash())
    return Stage(name=name, image=image, command=command, declared_at=HERE, limits=limits, **fields)


@attrs.define(kw_only=True)
class Bench:
    """Everything a run is made of; a test replaces what it is about."""

    backend: FakeBackend = attrs.Factory(FakeBackend)
    artifacts: MemoryArtifacts = attrs.Factory(MemoryArtifacts)
    inputs: MemoryInputs = attrs.Factory(MemoryInputs)
    clock: Clock = attrs.Factory(MonotonicClock)
    cancel: CancelSource = attrs.Factory(CancelSource)
    events: list[Event] = attrs.Factory(list)
    capacity: Capacity = Capacity(cpus=64, memory=1 << 40, jobs=8)
    fail_fast: bool = False
    posargs: tuple[str, ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()

    def attempt(self, stage: Stage) -> StageResult:
        """One try of a stage."""
        image = self.backend.prepare(
            stage.image, base=Path(), sink=lambda _: None, cancel=CancelSource(), timeout=1
        )
        supply = SandboxSupply(self.backend, secrets=self.secrets)
        return self._perform(supply, stage, image)

    def _perform(self, supply: SandboxSupply, stage: Stage, image: PreparedImage) -> StageResult:
        bench = Workbench(
            sandbox=supply.take,
            artifacts=self.artifacts,
            clock=self.clock,
            emit=self.events.append,
            cancel=self.cancel,
            posargs=self.posargs,
            secrets=self.secrets,
        )
        tree = lambda: assemble(stage, self.inputs, self.artifacts)  # noqa: E731
        return Attempt(bench, stage, image).execute(tree)

    def run(self, *stages: Stage) -> dict[str, StageResult]:
        """All stages, by name."""
        taskfile = TaskFile(path="isol8file.py", root="/nowhere", stages=stages)
        plan = build(taskfile, [stage.name for stage in stages])
        bakery = Bakery(
            self.backend, base=Path(), timeout=1, clock=self.clock, emit=self.events.append
        )
        supply = SandboxSupply(self.backend, secrets=self.secrets)
        scheduler = Scheduler(
            plan,
            perform=partial(self._perform, supply),
            bakery=bakery,
            supply=supply,
            slots=Slots(self.capacity),
            jobs=self.capacity.jobs,
            emit=self.events.append,
            cancel=self.cancel,
            fail_fast=self.fail_fast,
        )
        return {result.name: result for result in scheduler.run()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def stage() -> Callable[..., Stage]:
    """`stage(name, *argv, **fields)`."""
    return make
