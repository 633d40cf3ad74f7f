"""The other seams: what the engine needs from outside, so that tests can give it something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from isol8tasks.backend.contract import TreeEntry
from isol8tasks.model.events import Event
from isol8tasks.model.result import OutputFile
from isol8tasks.model.stage import Stage

EventSink = Callable[[Event], None]
"""Takes events, from one thread at a time."""


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget it, if it has not happened."""
        ...


class Clock(Protocol):
    """Monotonic time."""

    def now(self) -> float:
        """Seconds since an arbitrary start."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after so many seconds, from another thread."""
        ...


class InputStore(Protocol):
    """Turns declared inputs into trees."""

    def declared(self, stage: Stage) -> tuple[TreeEntry, ...]:
        """The files that the stage's globs match now; TaskFileError where they match nothing."""
        ...


class StageFolder(Protocol):
    """Where one stage's log and artifacts go while it runs."""

    @property
    def outputs(self) -> Path:
        """An empty folder for a backend to copy outputs into, made when it is asked for."""
        ...

    def open_log(self, stream: str) -> IO[bytes]:
        """A file for all that a stream prints."""
        ...

    def seal(self) -> tuple[OutputFile, ...]:
        """Publish log and outputs, replacing those of an earlier run; what was produced."""
        ...

    def discard(self) -> None:
        """Forget what this attempt wrote; harmless after `seal`."""
        ...


class ArtifactStore(Protocol):
    """Keeps logs and outputs, and hands outputs to later stages."""

    def begin(self, stage: str) -> StageFolder:
        """A fresh folder for one attempt of a stage."""
        ...

    def tree(self, stage: str) -> tuple[TreeEntry, ...]:
        """What a stage of this run produced, as inputs of another."""
        ...

    def log_path(self, stage: str) -> str:
        """Where a user finds the stage's log."""
        ...
