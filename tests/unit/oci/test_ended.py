"""Exit codes from the kernel: of real children, reaped and not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci.ended import Ended, exit_status, from_status, signal_name

if TYPE_CHECKING:
    from collections.abc import Iterator


def _tells() -> bool:
    release = os.uname().release.split("-", maxsplit=1)[0].split(".")
    return tuple(map(int, release[:2])) >= (6, 15)


new = pytest.mark.skipif(not _tells(), reason="Linux tells it from 6.15 on")


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A child that ended and that nobody reaped: its pid and a handle on it."""
    process = subprocess.Popen(["sh", "-c", request.param])
    handle = os.pidfd_open(process.pid)
    _wait_for_end(handle)
    yield process.pid, handle
    os.close(handle)
    process.wait()


def _wait_for_end(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(10_000)


ENDS = [
    ("exit 0", Ended(code=0)),
    ("exit 1", Ended(code=1)),
    ("exit 137", Ended(code=137)),
    ("exit 255", Ended(code=255)),
    ("kill -KILL $$", Ended(code=None)),
    ("kill -SEGV $$", Ended(code=None)),
]


@new
@pytest.mark.parametrize(("child", "ended"), ENDS, indirect=["child"])
def test_the_status_of_a_child_that_was_reaped(child: tuple[int, int], ended: Ended) -> None:
    pid, handle = child
    assert exit_status(handle) is None, "it is still a zombie"
    _, status = os.waitpid(pid, 0)
    assert exit_status(handle) == status
    assert from_status(status) == ended
    assert exit_status(handle) == status, "it can be asked for again"


@new
def test_the_status_of_somebody_else_s_child() -> None:
    """As with a container's init: its parent is the engine's."""
    script = 'sh -c "read -r x; exit 42" & echo $!; wait $!; read -r x'
    with subprocess.Popen(
        ["sh", "-c", f"exec 3<&0; {script.replace('read -r x;', 'read -r x <&3;', 1)}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert exit_status(handle) is None, "it runs"
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            _wait_for_end(handle)
            status = None
            for _ in range(1000):
                status = exit_status(handle)
                if status is not None:
                    break
                select.select([], [], [], 0.01)
            assert status is not None
            assert from_status(status) == Ended(code=42)
        finally:
            os.close(handle)
            parent.stdin.close()


def test_what_is_no_handle_is_an_error() -> None:
    read, write = os.pipe()
    with pytest.raises(OSError, match=r"ioctl|argument"):
        exit_status(read)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("status", "code"),
    [(0, 0), (1 << 8, 1), (137 << 8, 137), (255 << 8, 255), (9, None), (6 | 0x80, None)],
)
def test_a_status_in_words(status: int, code: int | None) -> None:
    assert from_status(status) == Ended(code=code)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (None, None),
        (0, None),
        (1, None),
        (127, None),
        (128, None),
        (129, "SIGHUP"),
        (134, "SIGABRT"),
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (143, "SIGTERM"),
        (128 + signal.SIGRTMIN, "SIGRTMIN"),
        (128 + 32, None),
        (255, None),
    ],
)
def test_the_signal_behind_a_code(code: int | None, name: str | None) -> None:
    assert signal_name(code) == name
