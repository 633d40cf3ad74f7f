"""The live display, on a stream instead of a terminal; tests/cli has it on a real one."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from isol8tasks.report.live import LiveConsole

if TYPE_CHECKING:
    from pathlib import Path

    from isol8tasks.model.events import Event

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_it_prints_what_the_plain_console_prints(
    events: tuple[Event, ...], stream: io.StringIO
) -> None:
    console = LiveConsole(stream, color=False)
    for event in events:
        console(event)
    text = stream.getvalue()
    assert "✓ syntax  passed  0.25s\n  │ ok\n" in text
    assert "  │ \\x1b[1m1 failed[/]\n  │ \\::error ::no\n" in text
    assert "  │ [red]warning[/red]\n" in text
    assert text.endswith("1 timed out (allowed), 1 skipped, 1 passed in 11.5s (bubblewrap)\n")


def test_it_shows_running_stages_and_the_rest(
    events: tuple[Event, ...], stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    console = LiveConsole(stream, color=False)
    for event in events[:8]:
        console(event)
    console.close()
    text = stream.getvalue()
    assert re.search(r"syntax  \d\.\d\ds", text)
    assert re.search(r"0 done, 1 running, 3 to go  \d\.\d\ds", text)


def test_a_bake_shows_its_last_line_harmless_and_cropped(
    events: tuple[Event, ...], stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    console = LiveConsole(stream, color=False)
    for event in events[:3]:
        console(event)
    console.close()
    assert re.search(
        r"baking python \+ pip\(pytest==8.4.2\)  0.\d\ds  Downloading \\x1b\[2J", stream.getvalue()
    )


def test_the_cursor_comes_back_whatever_happens(
    events: tuple[Event, ...], stream: io.StringIO
) -> None:
    console = LiveConsole(stream)
    for event in events[:5]:
        console(event)
    assert HIDE in stream.getvalue()
    console.close()
    console.close()
    assert stream.getvalue().rfind(SHOW) > stream.getvalue().rfind(HIDE)


def test_nothing_is_hidden_before_a_run_starts(
    stream: io.StringIO, events: tuple[Event, ...]
) -> None:
    console = LiveConsole(stream, color=False)
    console.note("hello")
    console(events[-1])
    console.close()
    assert stream.getvalue().startswith("note: hello\n")
    assert HIDE not in stream.getvalue()


def test_abandon_writes_to_the_terminal_itself(tmp_path: Path) -> None:
    with (tmp_path / "tty").open("w", encoding="utf-8") as stream:
        LiveConsole(stream).abandon()
    assert (tmp_path / "tty").read_bytes().startswith(SHOW.encode())
