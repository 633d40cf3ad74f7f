"""Podman itself, in what its API does otherwise than it says, or than the SDK does."""

from __future__ import annotations

import io
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_oci.client import ContainerSpec, EngineError, Tmpfs

from isol8tasks.backend.contract import Stream
from isol8tasks.backend.seccomp import to_json
from isol8tasks.backend.syscalls import FILTER
from isol8tasks.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks_podman.engine import PodmanEngine

    from tests.unit.podman.conftest import Never

pytestmark = pytest.mark.podman

IMAGE = "localhost/isol8tasks-base:1"
LABEL = ("isol8tasks.test", secrets.token_hex(4))


@pytest.fixture(autouse=True)
def _nothing_left(engine: PodmanEngine) -> Iterator[None]:
    yield
    left = engine.containers("=".join(LABEL))
    for container in left:
        engine.remove(container.id)


def created(engine: PodmanEngine, *argv: str, **changed: Any) -> str:
    plain: dict[str, Any] = {
        "name": f"isol8tasks-test-{secrets.token_hex(6)}",
        "image": IMAGE,
        "argv": argv,
        "uid": 64000,
        "labels": (LABEL,),
        "seccomp": to_json(FILTER),
    }
    return engine.create(ContainerSpec(**{**plain, **changed}))


def ended(engine: PodmanEngine, container: str) -> int | None:
    deadline = time.monotonic() + 20
    while not (state := engine.state(container)).ended:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return state.exit_code


def text(pieces: Iterator[tuple[Stream, bytes]]) -> dict[Stream, str]:
    found = dict.fromkeys(Stream, "")
    for stream, piece in pieces:
        found[stream] += piece.decode()
    return found


def context(dockerfile: str) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile.encode()))
    stream.seek(0)
    return stream


def test_streams_and_how_it_ended(engine: PodmanEngine) -> None:
    script = "head -n 1; echo out; echo err >&2; exit 7"
    container = created(engine, "/bin/sh", "-c", script, interactive=True)
    streams = engine.attach(container)
    engine.start(container)
    streams.send(b"\x10\x11 would detach\n")
    found = text(streams.pieces())
    streams.close()
    assert found == {Stream.STDOUT: "\x10\x11 would detach\nout\n", Stream.STDERR: "err\n"}
    assert ended(engine, container) == 7
    engine.kill(container)
    engine.remove(container)
    engine.remove(container)
    engine.kill(container)
    with pytest.raises(EngineError) as caught:
        engine.state(container)
    assert caught.value.missing


def test_another_program(engine: PodmanEngine) -> None:
    container = created(engine, "/bin/sleep", "60")
    engine.start(container)
    script = "read a; echo $a $B $PWD; id -u; exit 9"
    program = engine.execute(
        container, ("/bin/sh", "-c", script), uid=64000, workdir="/usr", env=(("B", "b c"),)
    )
    assert program.exit_code() is None
    program.channel.send(b"a\x10\x11\n")
    assert text(program.channel.pieces())[Stream.STDOUT] == "a\x10\x11 b c /usr\n64000\n"
    assert program.exit_code() == 9
    program.channel.close()
    engine.kill(container)
    assert ended(engine, container) == 137


def test_sized_folders_and_what_is_writable(engine: PodmanEngine) -> None:
    script = (
        "grep ' /work ' /proc/mounts; head -c 9999 /dev/zero >/work/x; touch /work/y || echo full;"
        "find / -writable -type d -not -path '/proc/*' 2>/dev/null"
    )
    tmpfs = (
        Tmpfs(target="/work", size=8192, inodes=2),
        Tmpfs(target="/dev/shm", size=4096, inodes=2),
    )
    container = created(engine, "/bin/sh", "-c", script, tmpfs=tmpfs)
    streams = engine.attach(container)
    engine.start(container)
    found = text(streams.pieces())
    streams.close()
    mounted, full, *writable = found[Stream.STDOUT].splitlines()
    for option in ("noexec", "nosuid", "nodev", "size=8k", "nr_inodes=2"):
        assert option in mounted.split()[3].split(",")
    assert full == "full"
    assert "No space left" in found[Stream.STDERR]
    assert sorted(writable) == ["/dev/shm", "/work"]


def test_a_build_without_network_has_none(engine: PodmanEngine, cancel: Never) -> None:
    tag = f"localhost/isol8tasks-test:{secrets.token_hex(4)}"
    printed: list[str] = []
    dockerfile = f"FROM {IMAGE}\nARG A\nENV E=1\nRUN echo A is $A; wc -l /proc/net/dev\n"
    engine.build(
        context(dockerfile),
        tag,
        arguments=(("A", "b c"),),
        network="none",
        sink=printed.append,
        cancel=cancel,
        timeout=60,
    )
    assert "A is b c" in printed
    assert "3 /proc/net/dev" in printed  # two lines of head, and lo
    found = engine.image(tag)
    assert found is not None
    assert ("E", "1") in found.env
    assert engine.images("localhost/isol8tasks-test") == (found,)
    engine.untag(tag)
    assert engine.image(tag) is None


@pytest.mark.parametrize("timeout", [60.0, 4.0])
def test_what_a_build_runs_ends_with_it(
    engine: PodmanEngine, cancel: Never, timeout: float
) -> None:
    seconds = str(1000 + secrets.randbelow(10**6))

    def follow(line: str) -> None:
        if line == "running" and timeout > 10:
            threading.Timer(0.3, cancel.fire).start()

    with pytest.raises(Cancelled if timeout > 10 else TimeoutError):
        engine.build(
            context(f"FROM {IMAGE}\nRUN echo running; sleep {seconds}\n"),
            "localhost/isol8tasks-test:never",
            arguments=(),
            network="none",
            sink=follow,
            cancel=cancel,
            timeout=timeout,
        )
    running = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, check=True).stdout
    assert f"sleep {seconds}".encode() not in running
    assert engine.image("localhost/isol8tasks-test:never") is None


def test_a_tar_becomes_an_image(engine: PodmanEngine) -> None:
    tag = f"localhost/isol8tasks-test:{secrets.token_hex(4)}"
    engine.load(context("nothing"), tag)
    found = engine.image(tag)
    assert found is not None
    assert found.tags == (tag,)
    assert found.id.startswith("sha256:")
    engine.untag(tag)
    engine.untag(tag)


CONNECT = """
import sys, time
from pathlib import Path
from isol8tasks_podman.connect import connect
engine = connect(Path(sys.argv[1]))
print(engine._url.removeprefix("unix://"), flush=True)
time.sleep(60)
"""


def test_its_service_ends_when_we_are_killed(engine: PodmanEngine, tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", CONNECT, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    path = starter.stdout.readline().strip()
    starter.stdout.close()
    if not path.startswith(os.fsencode(tmp_path)) and b"isol8tasks" not in path:
        starter.kill()
        starter.wait()
        pytest.skip("there is a service already, which does not end")
    pids = subprocess.run(["pgrep", "-f", path], capture_output=True, check=True).stdout.split()
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 1
    while any(map(alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: bytes) -> bool:
    """A process that nobody waited for has no words any more."""
    with suppress(OSError):
        return bool(Path(f"/proc/{int(pid)}/cmdline").read_bytes())
    return False
