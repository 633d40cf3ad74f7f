"""The console for pipes, CI and dumb terminals: lines, in the order in which things end."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from isol8tasks.report.blocks import Line, Span, Story, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from isol8tasks.errors import Location
    from isol8tasks.model.events import Event
    from isol8tasks.model.image import Image

_ANSI = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
_ASCII = str.maketrans({"│": "|", "✓": "+", "✗": "x", "·": "-", "…": "..."})


def is_unicode(stream: TextIO) -> bool:
    """Whether the stream takes more than ASCII."""
    return (stream.encoding or "").lower().startswith("utf")


class Plain:
    """Prints a block per finished stage and a summary. A reader who goes away is no error."""

    def __init__(
        self,
        stream: TextIO,
        *,
        color: bool = False,
        quiet: bool = False,
        places: Mapping[Image, Location] | None = None,
    ) -> None:
        self._stream = stream
        self._color = color
        self._story = Story(quiet=quiet, places=places)
        self._ascii = not is_unicode(stream)
        self._gone = False

    def __call__(self, event: Event) -> None:
        """Print what an event is worth."""
        self.print(self._story.lines(event))

    def note(self, text: str) -> None:
        """Print a line of our own now."""
        self.print((note(text),))

    def close(self) -> None:
        """There is nothing to restore."""

    def abandon(self) -> None:
        """There is nothing to restore."""

    def print(self, lines: Iterable[Line]) -> None:
        """Print lines at once, so that those of another program do not come between them."""
        text = "".join(self._render(line) + "\n" for line in lines)
        if self._gone or not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self._gone = True
        except OSError:
            self._gone = True
            raise

    def _render(self, line: Line) -> str:
        text = "".join(map(self._paint, line)).rstrip(" ")
        return text.translate(_ASCII) if self._ascii else text

    def _paint(self, span: Span) -> str:
        code = _ANSI.get(span.style)
        if not (self._color and code and span.text.strip()):
            return span.text
        return f"\x1b[{code}m{span.text}\x1b[0m"
