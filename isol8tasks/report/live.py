"""The console on a terminal: finished stages scroll by, running ones and the rest stay below."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, TextIO, assert_never

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.text import Text

from isol8tasks.model.events import (
    Event,
    ImageFinished,
    ImageProgress,
    ImageStarted,
    Notice,
    RunFinished,
    RunStarted,
    StageFinished,
    StagePhase,
    StageStarted,
)
from isol8tasks.model.result import Phase
from isol8tasks.model.units import format_duration
from isol8tasks.report.blocks import Line, Story, note
from isol8tasks.report.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from isol8tasks.errors import Location
    from isol8tasks.model.image import Image

_STYLES = {"good": "green", "bad": "red", "warn": "yellow", "dim": "dim", "bold": "bold"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REFRESH = 10
_RESTORE = b"\x1b[?25h\x1b[0m\r\n"


class _Progress:
    """What is going on right now, drawn anew whenever the display refreshes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._waiting = 0
        self._done = 0
        self._running: dict[str, tuple[float, Phase]] = {}
        self._baking: dict[Image, tuple[float, str]] = {}

    def __call__(self, event: Event) -> None:
        """Keep up with an event."""
        now = time.monotonic()
        with self._lock:
            match event:
                case RunStarted(stages=stages):
                    self._began, self._waiting = now, len(stages)
                case ImageProgress(image=image, line=line):
                    self._baking[image] = (self._baking.get(image, (now, ""))[0], line)
                case ImageFinished(image=image):
                    self._baking.pop(image, None)
                case StageStarted(name=name):
                    self._running[name] = (now, Phase.WAITING)
                case StagePhase(name=name, phase=phase):
                    self._running[name] = (self._running.get(name, (now, phase))[0], phase)
                case StageFinished(result=result):
                    self._running.pop(result.name, None)
                    self._done += 1
                case ImageStarted() | Notice() | RunFinished():
                    pass
                case _:
                    assert_never(event)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        with self._lock:
            lines = [*self._bakes(), *self._stages()]
            footer = self._footer()
        room = max(1, console.height - 3)
        for line in lines[:room]:
            yield _cropped(line)
        if len(lines) > room:
            yield _cropped(f"  and {len(lines) - room} more")
        yield _cropped(footer)

    def _bakes(self) -> Iterator[str]:
        for image, (began, line) in self._baking.items():
            yield f"{_spin()} baking {one_line(str(image))}  {_since(began)}  {one_line(line)}"

    def _stages(self) -> Iterator[str]:
        for name, (began, phase) in self._running.items():
            what = "" if phase is Phase.RUN else f"  {phase.value}"
            yield f"{_spin()} {one_line(name)}  {_since(began)}{what}"

    def _footer(self) -> str:
        running = len(self._running)
        to_go = max(0, self._waiting - self._done - running)
        return f"{self._done} done, {running} running, {to_go} to go  {_since(self._began)}"


class LiveConsole:
    """The same blocks as `Plain`, above a display that is gone when the run ends."""

    def __init__(
        self,
        stream: TextIO,
        *,
        color: bool = True,
        quiet: bool = False,
        places: Mapping[Image, Location] | None = None,
    ) -> None:
        self._stream = stream
        self._story = Story(quiet=quiet, places=places)
        self._progress = _Progress()
        self._console = Console(
            file=stream,
            force_terminal=True,
            color_system="standard" if color else None,
            no_color=not color,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(
            self._progress,
            console=self._console,
            refresh_per_second=_REFRESH,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._progress(event)
        if isinstance(event, RunFinished):
            self.close()
        self.print(self._story.lines(event))
        if isinstance(event, RunStarted):
            self._live.start()

    def note(self, text: str) -> None:
        """Print a line of our own above the display."""
        self.print((note(text),))

    def close(self) -> None:
        """Take the display away and show the cursor again; may be repeated."""
        self._live.stop()

    def abandon(self) -> None:
        """Show the cursor again without waiting for anybody: the process is about to end."""
        os.write(self._stream.fileno(), _RESTORE)

    def print(self, lines: Iterable[Line]) -> None:
        """Print lines above the display, unwrapped, so that they can be copied."""
        text = Text("\n").join(map(_text, lines))
        if text:
            self._console.print(text, soft_wrap=True)


def _text(line: Line) -> Text:
    text = Text()
    for span in line:
        text.append(span.text, _STYLES.get(span.style, ""))
    return text


def _cropped(line: str) -> Text:
    return Text(line, style="dim", no_wrap=True, overflow="ellipsis")


def _since(began: float) -> str:
    return format_duration(time.monotonic() - began)


def _spin() -> str:
    return _SPINNER[int(time.monotonic() * _REFRESH) % len(_SPINNER)]
