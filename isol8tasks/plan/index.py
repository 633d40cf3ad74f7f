"""The names of task files and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import PlanError
from isol8tasks.model.address import canonical, split
from isol8tasks.plan.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from isol8tasks.errors import Location
    from isol8tasks.model.stage import Stage, Task, TaskFile

SEE_LIST = "run 'isol8tasks list' to see what is declared"


@attrs.frozen
class Index:
    """Stages and tasks by name; every name that they mention is one of them.

    But for those of task files that were not read, which only what nobody asked for may mention.
    """

    stages: dict[str, Stage]
    tasks: dict[str, Task]
    folders: frozenset[str]

    @classmethod
    def of(cls, taskfile: TaskFile) -> Index:
        """Look at all of a task file; PlanError for a mentioned name that is not declared."""
        index = cls(
            {stage.name: stage for stage in taskfile.stages},
            {task.name: task for task in taskfile.tasks},
            taskfile.folders,
        )
        for message, names, where in _mentions(taskfile):
            for name in names:
                if index.knows(name):
                    index.require(name, f"{message} '{name}', which is not declared", where)
        return index

    def knows(self, name: str) -> bool:
        """Whether the task file that would declare this name was read."""
        return split(name)[0] in self.folders

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, stages first, in order of declaration."""
        return (*self.stages, *self.tasks)

    def require(self, name: str, message: str, where: Location | None = None) -> None:
        """Raise a PlanError, with the nearest name, unless something has this name."""
        if name in self.stages or name in self.tasks:
            return
        folder = split(name)[0]
        near = [split(other)[1] for other in self.names if split(other)[0] == folder]
        found = nearest(split(name)[1], near)
        guess = f"; did you mean '{canonical(folder, found)}'?" if found else ""
        raise PlanError(f"{message}{guess}", where=where, hint=SEE_LIST)

    def require_read(self, name: str) -> None:
        """Raise a PlanError for a name of a task file that was not read: nothing is left out."""
        if name not in self.stages and name not in self.tasks:
            raise PlanError(f"the task file of '{name}' was not read", hint=SEE_LIST)

    def prerequisites(self, name: str) -> tuple[str, ...]:
        """What a stage must wait for, or the members of a task, as declared."""
        if name in self.tasks:
            return self.tasks[name].members
        return self.stages[name].prerequisites if name in self.stages else ()

    def declared_at(self, name: str) -> Location:
        """Where a stage or a task was declared."""
        return (self.stages.get(name) or self.tasks[name]).declared_at

    def expand(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of stages only: every task replaced by its stages, each once, in order."""
        found: dict[str, None] = {}
        pending = list(names)[::-1]
        while pending:
            name = pending.pop()
            if name not in found:
                self.require_read(name)
                found[name] = None
                pending += self.tasks[name].members[::-1] if name in self.tasks else ()
        return tuple(name for name in found if name in self.stages)


def _mentions(taskfile: TaskFile) -> Iterator[tuple[str, tuple[str, ...], Location]]:
    for stage in taskfile.stages:
        yield f"stage '{stage.name}' requires", stage.requires, stage.declared_at
        yield f"stage '{stage.name}' has the input", stage.input_stages, stage.declared_at
    for task in taskfile.tasks:
        yield f"task '{task.name}' has the member", task.members, task.declared_at
