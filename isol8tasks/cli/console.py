"""Which display a run gets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, TextIO

from isol8tasks.report.plain import Plain

if TYPE_CHECKING:
    from isol8tasks.cli.settings import Settings
    from isol8tasks.model.events import Event


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


def open_display(settings: Settings) -> Display:
    """A live display on a terminal, else plain lines; also plain beside a log."""
    color = wants_color(settings.color, sys.stdout)
    if _is_smart(sys.stdout) and not settings.verbose:
        from isol8tasks.report.live import LiveConsole  # noqa: PLC0415 -- rich is for terminals

        return LiveConsole(sys.stdout, color=color, quiet=settings.quiet)
    return Plain(sys.stdout, color=color, quiet=settings.quiet)


def wants_color(setting: str, stream: TextIO) -> bool:
    """Whether to use colours on a stream: https://no-color.org."""
    if setting != "auto":
        return setting == "always"
    return _is_smart(stream) and not os.environ.get("NO_COLOR")


def _is_smart(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
