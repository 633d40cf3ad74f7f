"""The service of our own: it lives as long as we do. The programs here only act like podman."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isol8tasks_podman.service import Service, command, environment

from isol8tasks.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACTOR = """\
#!{python} -S
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[-1].removeprefix("unix://"))
with open({pid!r}, "w") as file:
    file.write(str(os.getpid()))
listener.listen()
{more}
time.sleep(60)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="isol8tasks-test-") as folder:
        yield Path(folder)


@pytest.fixture
def program(folder: Path) -> Callable[[str], str]:
    def make(more: str = "", *, text: str = "") -> str:
        path = folder / "podman"
        pid = str(folder / "pid")
        path.write_text(text or ACTOR.format(python=sys.executable, pid=pid, more=more))
        path.chmod(0o755)
        return str(path)

    return make


def gone(folder: Path, within: float) -> bool:
    pid = int((folder / "pid").read_text())
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not os.path.lexists(f"/proc/{pid}"):
            return True
        time.sleep(0.01)
    return False


def test_how_it_is_started() -> None:
    socket = Path("/run/x.sock")
    plain = ("/bin/podman", "system", "service", "--time", "0", "unix:///run/x.sock")
    assert command("/bin/podman", socket) == plain
    assert command("/bin/podman", socket, "crun")[1:4] == ("--runtime", "crun", "system")


def test_its_environment() -> None:
    ours = {"HOME": "/h", "CONTAINER_HOST": "x", "NOTIFY_SOCKET": "x", "HTTP_PROXY": "p"}
    assert environment(ours) == {"HOME": "/h", "HTTP_PROXY": "p"}


def test_it_ends_when_closed(folder: Path, program: Callable[..., str]) -> None:
    service = Service(program(), folder / "s.sock")
    service.wait()
    assert service.url == f"unix://{folder}/s.sock"
    service.close()
    service.close()
    assert gone(folder, 0.1)
    assert sorted(path.name for path in folder.iterdir()) == ["pid", "podman"]


def test_it_ends_although_it_ignores_that_it_should(
    folder: Path, program: Callable[..., str]
) -> None:
    service = Service(program("import signal; signal.signal(15, signal.SIG_IGN)"), folder / "s")
    service.wait()
    service.close()
    assert gone(folder, 0.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#!/bin/sh\necho 'Error: it is broken' >&2; exit 125\n", "does not start: it is broken"),
        ("#!/nowhere\n", "does not start"),
    ],
)
def test_one_that_does_not_start(
    folder: Path, program: Callable[..., str], text: str, expected: str
) -> None:
    service = Service(program(text=text), folder / "s.sock")
    with pytest.raises(BackendUnavailable, match=expected):
        service.wait()
    service.close()


STARTER = """
import sys, time
from pathlib import Path
from isol8tasks_podman.service import Service
service = Service(sys.argv[1], Path(sys.argv[2]))
service.wait()
print("up", flush=True)
time.sleep(60)
"""


def _started(folder: Path, program: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", STARTER, program, str(folder / "s.sock")]
    starter = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    starter.stdout.close()
    return starter


def test_it_ends_when_we_are_killed(folder: Path, program: Callable[..., str]) -> None:
    starter = _started(folder, program())
    starter.kill()
    starter.wait()
    assert gone(folder, 1)


def test_the_terminals_interrupt_does_not_reach_it(
    folder: Path, program: Callable[..., str]
) -> None:
    starter = _started(folder, program())
    os.killpg(starter.pid, signal.SIGSTOP)
    pid = int((folder / "pid").read_text())
    assert os.getsid(pid) not in {os.getsid(0), starter.pid}
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    assert gone(folder, 1)
