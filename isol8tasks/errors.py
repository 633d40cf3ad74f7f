"""Every exception that isol8tasks raises on purpose.

    Isol8Error
    ├── UsageError              the caller asked for something that cannot be (exit 2)
    │   ├── TaskFileError       a task file is wrong
    │   ├── PlanError           the declared stages do not make a plan
    │   ├── SettingsError       a flag, a variable or a settings file is wrong
    │   └── Refused             a limit, a network mode or an image that this host cannot give
    └── OperationError          something outside the task file went wrong (exit 3)
        ├── BackendUnavailable  no backend works here
        ├── ImageError          an image could not be prepared
        ├── SandboxError        the sandbox broke, so the stage was not judged
        └── StoreError          the image store, a log or an artifact could not be read or written

A stage that fails is not an exception but a `StageResult`. `Cancelled` is control flow:
it unwinds work that somebody asked to stop and never reaches a user.
"""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A place in a file; `line` counts from 1, and 0 means the whole file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Isol8Error(Exception):
    """The base: what happened, where, and what to do next."""

    def __init__(self, message: str, *, where: Location | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint


class UsageError(Isol8Error):
    """The caller asked for something that cannot be."""


class TaskFileError(UsageError):
    """A task file is missing, cannot be executed or declares something wrong."""


class PlanError(UsageError):
    """The declared stages do not make a plan."""


class SettingsError(UsageError):
    """A flag, an environment variable or a settings file has a value that means nothing."""


class Refused(UsageError):
    """This host cannot give what a stage states, so nothing was started."""


class OperationError(Isol8Error):
    """Something outside the task file went wrong."""


class BackendUnavailable(OperationError):
    """No backend, or not the one asked for, works on this host."""


class ImageError(OperationError):
    """An image could not be found or baked; `log` is the end of what the tools printed."""

    def __init__(
        self, message: str, *, where: Location | None = None, hint: str = "", log: str = ""
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.log = log


class SandboxError(OperationError):
    """The sandbox itself broke, so what ran in it was not judged."""


class StoreError(OperationError):
    """A store, a log or an artifact could not be read or written."""


class Cancelled(Exception):
    """The work was told to stop."""
