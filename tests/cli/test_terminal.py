"""The live display on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Program

pytestmark = pytest.mark.bubblewrap

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A terminal of 60 columns that a command runs on."""

    def __init__(self, program: Program, *words: str, **env: str) -> None:
        program.check(*words)
        self._fd, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
        self._modes = termios.tcgetattr(other)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "isol8tasks", *words],
            cwd=program.folder,
            env={**program.environ, "TERM": "xterm-256color", **env},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 -- no threads
        )
        self._other = other
        self.seen = b""

    def until(self, pattern: bytes) -> None:
        deadline = time.monotonic() + 20
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, self.seen
            self._read(0.1)

    def press(self, key: bytes) -> None:
        os.write(self._fd, key)

    def end(self) -> int:
        deadline = time.monotonic() + 20
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.seen
            self._read(0.05)
        self._read(0.1)
        modes = termios.tcgetattr(self._other)
        os.close(self._fd)
        os.close(self._other)
        assert modes == self._modes
        return self._process.returncode

    def _read(self, timeout: float) -> None:
        while select.select([self._fd], [], [], timeout)[0]:
            self.seen += os.read(self._fd, 65536)
            timeout = 0


@pytest.fixture
def terminal(isol8tasks: Program) -> Callable[..., Terminal]:
    return lambda *words, **env: Terminal(isol8tasks, *words, **env)


def text(seen: bytes) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", seen.decode()).replace("\r", "")


def test_running_stages_are_shown_and_then_gone(
    terminal: Callable[..., Terminal], project: Callable[[str], Path]
) -> None:
    project("slow")
    shown = terminal("run")
    shown.until(rb"sleeps  \d\.\d\ds")
    shown.until(rb"1 done, 1 running, 1 to go  \d\.\d\ds")
    shown.press(b"\x03")
    assert shown.end() == 130
    assert shown.seen.rfind(SHOW) > shown.seen.rfind(HIDE) > 0
    assert "note: stopping; press Ctrl-C again to stop at once\n" in text(shown.seen)
    assert "- sleeps  cancelled" in text(shown.seen)
    assert re.search(r"\ninterrupted: 2 cancelled, 1 passed in .*\n$", text(shown.seen))


def test_output_is_neither_markup_nor_control(
    terminal: Callable[..., Terminal], project: Callable[[str], Path]
) -> None:
    project("hostile")
    shown = terminal("run", "--color=never")
    assert shown.end() == 1
    for line in (rb"\x1b[2J\x1b]0;owned\x07red\rgreen", b"[bold]markup[/bold]", rb"\::error::"):
        assert b"  \xe2\x94\x82 " + line in shown.seen
    assert b"\x1b]" not in shown.seen
    assert b"\x1b[2J" not in shown.seen


def test_no_color_is_live_without_color(
    terminal: Callable[..., Terminal], project: Callable[[str], Path]
) -> None:
    project("verdicts")
    shown = terminal("run", "passes", NO_COLOR="1")
    assert shown.end() == 0
    assert HIDE in shown.seen
    assert not re.search(rb"\x1b\[[\d;]*m", shown.seen)


def test_a_dumb_terminal_gets_plain_lines(
    terminal: Callable[..., Terminal], project: Callable[[str], Path]
) -> None:
    project("verdicts")
    shown = terminal("run", "passes", TERM="dumb")
    assert shown.end() == 0
    assert b"\x1b" not in shown.seen


def test_exec_on_a_terminal_is_neutralised(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("exec", "-e", r"print('\x1b[2J\n::error::x')")
    assert shown.end() == 0
    assert b"\\x1b[2J\r\n\\::error::x\r\n" in shown.seen
