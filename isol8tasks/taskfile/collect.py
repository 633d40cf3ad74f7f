"""Where declarations go while a task file runs, and where in the file they were made."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import Location, TaskFileError
from isol8tasks.taskfile.wrong import message_and_hint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.model.stage import Stage, Task
    from isol8tasks.taskfile.source import SourceFile

_PACKAGE = "isol8tasks"


@attrs.define
class Collector:
    """What one task file has declared so far, and the source files that were read for it.

    `folder` is the task file's, relative to the workspace root.
    """

    folder: str = ""
    stages: list[Stage] = attrs.Factory(list)
    tasks: list[Task] = attrs.Factory(list)
    sources: dict[str, SourceFile] = attrs.Factory(dict)
    _declared: dict[str, tuple[str, Location]] = attrs.field(init=False, factory=dict)

    def add_stage(self, stage: Stage) -> None:
        """Take a stage; TaskFileError when its name is taken."""
        self._claim("stage", stage.name, stage.declared_at)
        self.stages.append(stage)

    def add_task(self, task: Task) -> None:
        """Take a task; TaskFileError when its name is taken or there is a default already."""
        self._claim("task", task.name, task.declared_at)
        default = next((other for other in self.tasks if other.default), None)
        if task.default and default:
            raise TaskFileError(
                f"task '{task.name}' is the second default: "
                f"the first is '{default.name}' at {default.declared_at}",
                where=task.declared_at,
                hint="leave default=True on one of them",
            )
        self.tasks.append(task)

    def _claim(self, kind: str, name: str, where: Location) -> None:
        first_kind, first = self._declared.setdefault(name, (kind, where))
        if first is not where:
            raise TaskFileError(
                f"{kind} '{name}' has the name of the {first_kind} declared at {first}",
                where=where,
                hint="give each stage and each task a name of its own",
            )


_current: contextvars.ContextVar[Collector | None] = contextvars.ContextVar(
    "isol8tasks_collector", default=None
)


def current() -> Collector:
    """The collector of the task file that runs now, or one that nobody reads."""
    return _current.get() or Collector()


@contextlib.contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Let declarations go to this collector."""
    token = _current.set(collector)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def declaring(prefix: str, where: Location) -> Iterator[None]:
    """Turn a wrong value into an error that begins with what was declared, and says where."""
    try:
        yield
    except ValueError as error:
        message, hint = message_and_hint(error)
        raise TaskFileError(f"{prefix}{message}", where=where, hint=hint) from error


def call_site() -> tuple[str, int]:
    """The file and the line of the nearest caller outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 -- inspect.stack() reads files, at every call
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def here() -> Location:
    """The call site, as a user sees it."""
    filename, line = call_site()
    return Location(shown(filename), line)


def shown(filename: str) -> str:
    """A file's path for a person: relative when it is below the current folder."""
    try:
        folder = os.path.join(os.getcwd(), "")
    except OSError:
        return filename
    return filename.removeprefix(folder)
