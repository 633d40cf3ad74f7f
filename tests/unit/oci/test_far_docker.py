"""A sandbox through Docker's API, with the tools of the tests' image."""

from __future__ import annotations

import io
import secrets
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_docker.address import connect
from isol8tasks_oci.client import ContainerSpec, EngineError
from isol8tasks_oci.far import FarSandbox

from isol8tasks.backend.contract import (
    Fetched,
    OutputRefused,
    PreparedImage,
    SandboxSpec,
    TreeEntry,
)
from isol8tasks.backend.seccomp import to_json
from isol8tasks.backend.syscalls import FILTER
from isol8tasks.backend.uids import UidLease
from isol8tasks.errors import SandboxError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isol8tasks.model.result import Exit

    Make = Callable[..., FarSandbox]

MIB = 1 << 20
IMAGE = "localhost/isol8tasks-base:1"


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Make]:
    """Sandboxes of which nothing is left in the end."""
    engine: Any = connect()
    sandboxes: list[FarSandbox] = []

    def real(workdir: str = "") -> FarSandbox:
        prepared = PreparedImage(image=Image("image"), identity=Digest.of(b""))
        limits = Limits(disk="1m", memory="64m", pids=40)
        spec = SandboxSpec(name="test", image=prepared, limits=limits, workdir=workdir)
        container = ContainerSpec(
            name=f"isol8tasks-test-{secrets.token_hex(6)}",
            image=IMAGE,
            argv=(),
            uid=1,
            seccomp=to_json(FILTER),
            memory=limits.memory,
            pids=limits.pids + 1,
            env=(("A", "ä\nb=c"), ("HOME", "/tmp"), ("PATH", "/sandbox/none:/usr/bin:/bin")),
        )
        sandboxes.append(FarSandbox(engine, spec, container, UidLease(tmp_path / "cache")))
        return sandboxes[-1]

    yield real
    for sandbox in sandboxes:
        sandbox.close()
        with pytest.raises(EngineError):
            engine.state(sandbox._id)
    engine.close()


def entry(path: str, content: bytes, *, executable: bool = False) -> TreeEntry:
    return TreeEntry(path=path, executable=executable, source=partial(io.BytesIO, content))


def run(sandbox: FarSandbox, *argv: str) -> Exit:
    return sandbox.run(argv, stdin=b"", sink=lambda _stream, _piece: None)


MAKE = r"""
printf '%s|' "$0" "$A" "$PWD" "$(id -u)"; cat
mkdir -p out/deep; printf content >out/deep/file; ln out/deep/file out/hard; : >'out/-a\b c'
chmod 0 out/deep/file out/deep out
mkfifo pipe; ln -s /etc/passwd link
setsid sleep 1000 & (setsid sleep 1000 >/dev/null 2>&1 &)
exit 7
"""


@pytest.mark.docker
def test_a_whole_run(real: Make, tmp_path: Path) -> None:
    sandbox = real(workdir="a/ü")
    sandbox.put([entry("a/run me", b"#!/bin/sh\n" + MAKE.encode(), executable=True)])
    said = bytearray()
    start = time.monotonic()
    ended = sandbox.run(("../run me",), stdin=b"x" * MIB, sink=lambda _, piece: said.extend(piece))
    assert ended.code == 7
    assert time.monotonic() - start < 5  # nobody waits for those who sleep
    assert said.decode() == f"../run me|ä\nb=c|/sandbox/a/ü|{sandbox._uid}|" + "x" * MIB
    fetched = sandbox.fetch(("out", "none"), tmp_path, max_bytes=100)
    names = ("a/ü/out/-a\\b c", "a/ü/out/deep/file", "a/ü/out/hard")
    assert fetched == Fetched(paths=names, unmatched=("none",))
    assert [(tmp_path / name).read_bytes() for name in names] == [b"", b"content", b"content"]
    for glob in ("pipe", "l*"):
        with pytest.raises(OutputRefused, match="is a link or no regular file"):
            sandbox.fetch((glob,), tmp_path, max_bytes=100)


@pytest.mark.docker
def test_nothing_runs_on_when_we_are_gone(real: Make) -> None:
    sandbox = real()
    state = partial(sandbox._engine.state, sandbox._id)
    program = threading.Thread(target=_quietly, args=(sandbox,), daemon=True)
    program.start()
    time.sleep(0.3)
    assert state().running
    sandbox._holder._channel.close()
    deadline = time.monotonic() + 5
    while state().running:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    program.join(30)  # it speaks to the engine, which a later test may not
    assert not program.is_alive()


def _quietly(sandbox: FarSandbox) -> None:
    with suppress(SandboxError):
        run(sandbox, "sleep", "1000")


@pytest.mark.docker
def test_a_full_folder_is_told(real: Make) -> None:
    sandbox = real()
    with pytest.raises(SandboxError, match=r"^cannot place the inputs: No space left on device$"):
        sandbox.put([entry("big", bytes(3 * MIB))])
    ended = run(sandbox, "sh", "-c", "exit 1")
    assert (ended.code, ended.limit) == (1, Limit.DISK)


FIGHT = "(setsid sh -c 'while :; do kill -9 -1; :; done') & sleep 0.2; exit 4"


@pytest.mark.docker
def test_who_kills_our_tools_has_no_outputs(real: Make, tmp_path: Path) -> None:
    sandbox = real()
    run(sandbox, "sh", "-c", f"echo x >a; {FIGHT}")
    with pytest.raises(
        OutputRefused, match=r"processes of the stage cannot be ended|ended with 137"
    ):
        sandbox.fetch(("a",), tmp_path, max_bytes=100)
