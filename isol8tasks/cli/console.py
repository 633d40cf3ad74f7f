"""Which display a run gets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, TextIO

from isol8tasks.cli.errors import unwritten
from isol8tasks.model.result import StopReason
from isol8tasks.report.plain import Plain, is_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isol8tasks.cli.settings import Settings
    from isol8tasks.engine.cancel import CancelSource
    from isol8tasks.errors import Location
    from isol8tasks.model.events import Event
    from isol8tasks.model.image import Image
    from isol8tasks.ports import EventSink


class Display(Protocol):
    """A console that follows a run."""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...

    def note(self, text: str) -> None:
        """Say something of our own now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...

    def abandon(self) -> None:
        """Leave the terminal usable, from any thread, when the process ends at once."""
        ...


class Watched:
    """A display whose failure to write stops the run: nobody can see what goes on.

    `failure` is what happened, None while all is well; later events go nowhere.
    """

    def __init__(self, display: EventSink, cancel: CancelSource) -> None:
        self._display = display
        self._cancel = cancel
        self.failure: OSError | None = None

    def __call__(self, event: Event) -> None:
        """Show an event, from any thread; never fails."""
        if self.failure is not None:
            return
        try:
            self._display(event)
        except OSError as error:
            self.failure = error
            self._cancel.cancel(StopReason.TERMINATED)

    def check(self) -> None:
        """OperationError when something could not be shown."""
        if self.failure is not None:
            raise unwritten(self.failure) from self.failure


def open_display(settings: Settings, places: Mapping[Image, Location]) -> Display:
    """A live display on a terminal, else plain lines; also plain beside a log.

    `places` are where the images were declared.
    """
    color = wants_color(settings.color, sys.stdout)
    live = _is_smart(sys.stdout) and is_unicode(sys.stdout) and not settings.verbose
    if live:
        from isol8tasks.report.live import LiveConsole  # noqa: PLC0415 -- rich is for terminals

        return LiveConsole(sys.stdout, color=color, quiet=settings.quiet, places=places)
    return Plain(sys.stdout, color=color, quiet=settings.quiet, places=places)


def wants_color(setting: str, stream: TextIO) -> bool:
    """Whether to use colours on a stream: https://no-color.org."""
    if setting != "auto":
        return setting == "always"
    return _is_smart(stream) and not os.environ.get("NO_COLOR")


def _is_smart(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
