"""What a run does: checked stages in an order that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import PlanError
from isol8tasks.plan.check import check_stage
from isol8tasks.plan.graph import CycleError, longest_paths, topological_order
from isol8tasks.plan.index import Index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isol8tasks.model.stage import Stage, TaskFile


@attrs.frozen(kw_only=True)
class Plan:
    """Stages, each after those that it needs; `root` is the absolute folder of the workspace.

    What a stage requires is named stage by stage here, never as a task.
    """

    stages: tuple[Stage, ...]
    posargs: tuple[str, ...] = ()
    root: str = ""
    _stages: dict[str, Stage] = attrs.field(init=False, eq=False, repr=False)
    _before: dict[str, tuple[str, ...]] = attrs.field(init=False, eq=False, repr=False)
    _after: dict[str, tuple[str, ...]] = attrs.field(init=False, eq=False, repr=False)
    _weights: dict[str, int] = attrs.field(init=False, eq=False, repr=False)

    @_stages.default
    def _by_name(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    @_before.default
    def _known_prerequisites(self) -> dict[str, tuple[str, ...]]:
        return {
            stage.name: tuple(name for name in stage.prerequisites if name in self._stages)
            for stage in self.stages
        }

    @_after.default
    def _reversed(self) -> dict[str, tuple[str, ...]]:
        after: dict[str, list[str]] = {name: [] for name in self._stages}
        for name, prerequisites in self._before.items():
            for prerequisite in prerequisites:
                after[prerequisite].append(name)
        return {name: tuple(names) for name, names in after.items()}

    @_weights.default
    def _longest_paths(self) -> dict[str, int]:
        return longest_paths(tuple(self._stages), self._after)

    def stage(self, name: str) -> Stage:
        """The stage of this name; KeyError when the plan has none."""
        return self._stages[name]

    def prerequisites(self, name: str) -> tuple[str, ...]:
        """The stages of this plan that must pass before this one."""
        return self._before[name]

    def dependants(self, name: str) -> tuple[str, ...]:
        """The stages of this plan that wait for this one."""
        return self._after[name]

    @property
    def left_out(self) -> frozenset[str]:
        """The stages whose outputs are inputs here, and which are not in this plan."""
        inputs = {name for stage in self.stages for name in stage.input_stages}
        return frozenset(inputs - self._stages.keys())

    def weight(self, name: str) -> int:
        """How many stages the longest path has that starts here, this one included."""
        return self._weights[name]


def build(
    taskfile: TaskFile, goals: Sequence[str], *, posargs: Sequence[str] = (), only: bool = False
) -> Plan:
    """The plan for some stages or tasks and all that they need, or for `only` these.

    PlanError for whatever is wrong in the task file, also outside of what was asked for, and for
    `posargs` that no stage of the plan takes.
    """
    index = Index.of(taskfile)
    for goal in goals:
        index.require(goal, f"there is no stage or task '{goal}'")
    order = check_order(index)
    for stage in taskfile.stages:
        check_stage(stage, index)
    wanted = set(index.expand(goals)) if only else _closure(index, goals)
    stages = tuple(_resolved(index.stages[name], index) for name in order if name in wanted)
    _check_posargs(stages, index, goals, posargs)
    return Plan(stages=stages, posargs=tuple(posargs), root=taskfile.root)


def check_order(index: Index) -> tuple[str, ...]:
    """All stages, each after what it needs; PlanError for a cycle, with its path."""
    before = {name: index.prerequisites(name) for name in index.names}
    try:
        order = topological_order(index.names, before)
    except CycleError as error:
        raise _cycle_error(index, error.cycle) from error
    return tuple(name for name in order if name in index.stages)


def _cycle_error(index: Index, cycle: tuple[str, ...]) -> PlanError:
    if all(name in index.tasks for name in cycle):
        message, hint = "tasks contain each other", "take one of them out of the members"
    else:
        message, hint = "stages wait for each other", "take one of them out of requires= or inputs="
    where = index.declared_at(cycle[0])
    return PlanError(f"{message}: {' → '.join(cycle)}", where=where, hint=hint)


def _closure(index: Index, goals: Sequence[str]) -> set[str]:
    found: set[str] = set()
    pending = list(goals)
    while pending:
        name = pending.pop()
        if name not in found:
            index.require_read(name)
            found.add(name)
            pending += index.prerequisites(name)
    return found


def resolved(taskfile: TaskFile) -> tuple[Stage, ...]:
    """All stages, what they require named stage by stage."""
    index = Index.of(taskfile)
    return tuple(_resolved(stage, index) for stage in taskfile.stages)


def _resolved(stage: Stage, index: Index) -> Stage:
    if index.tasks.keys().isdisjoint(stage.requires):
        return stage
    return attrs.evolve(stage, requires=index.expand(stage.requires))


def _check_posargs(
    stages: tuple[Stage, ...], index: Index, goals: Sequence[str], posargs: Sequence[str]
) -> None:
    if posargs and not any(stage.posargs for stage in stages):
        raise PlanError(
            "no selected stage takes the arguments after '--'",
            where=index.declared_at(goals[0]) if goals else None,
            hint="set posargs=True on the stage that is to take them",
        )
