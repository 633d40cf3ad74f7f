"""The program of a trial, run by several shells, and which way of those tried is taken."""

from __future__ import annotations

import ctypes
import os
import secrets
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci import trial
from isol8tasks_oci.trial import HELD, Way

from isol8tasks.backend.contract import Fetched, OutputSink, SandboxSpec, Stream, TreeEntry
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOTHING: frozenset[Limit] = frozenset()


@attrs.define
class Local:
    """A sandbox that is none: a folder and a shell, with files of at most `most` bytes.

    `entered` is run by another shell before, and `into` is a command that runs the program.
    """

    shell: str
    folder: Path
    entered: str = ""
    into: tuple[str, ...] = ()
    most: int = 1 << 20
    filtered: bool = True
    closed: int = 0

    def put(self, tree: Iterable[TreeEntry]) -> None:
        for entry in tree:
            assert entry.source is not None
            (self.folder / entry.path).write_bytes(entry.source().read())

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        assert argv[:2] == ("sh", "-c")
        ran = subprocess.run(
            [
                "prlimit",
                f"--fsize={self.most}",
                "sh",
                "-c",
                START,
                "sh",
                *self.into,
                self.shell,
                argv[2],
            ],
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            env={**os.environ, "ENTERED": self.entered},
            timeout=60,
            check=False,
            preexec_fn=_filter if self.filtered else None,
        )
        sink(Stream.STDERR, ran.stderr)
        sink(Stream.STDOUT, ran.stdout)
        return Exit(code=ran.returncode, cpu_seconds=0.0)

    def kill(self) -> None: ...

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        return Fetched()

    def close(self) -> None:
        self.closed += 1


def _filter() -> None:
    """A filter that lets everything pass, see seccomp(2): SECCOMP_RET_ALLOW."""
    rule = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    program = struct.pack("@HP", 1, ctypes.addressof(rule))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0, ctypes.get_errno()
    assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()


START = 'eval "$ENTERED"; trap "" XFSZ; exec "$@"'
ALONE = ("unshare", "--pid", "--fork", "--mount-proc")
"""As in a container, where no other processes are seen."""


def _sh(shell: str, folder: Path) -> str:
    """A name for the shell under which it is one."""
    link = folder / "sh"
    link.symlink_to(shell)
    (folder / "run").write_text(f'#!/bin/sh\nexec "{link}" -c "$1"\n')
    (folder / "run").chmod(0o755)
    return str(folder / "run")


WAYS = tuple(Way(near=near, sent=sent) for near in (True, False) for sent in (HELD, NOTHING))


def test_its_program_finds_no_limit_where_there_is_none(shell: str, tmp_path: Path) -> None:
    """But for the size of files, which stands for that of a folder."""
    sandbox = Local(_sh(shell, tmp_path), tmp_path)
    findings = trial.try_ways((Way(near=True, sent=NOTHING),), lambda _way, _spec: sandbox)
    assert findings.tripped - {Limit.CPUS} == {Limit.DISK}, "cpus: on a busy host anything goes"
    assert sandbox.closed == 1


PIDS = Path("/sys/fs/cgroup/pids")


@pytest.fixture
def group() -> Iterator[Path]:
    group = PIDS / f"isol8tasks-test-{secrets.token_hex(8)}"
    group.mkdir()
    (group / "pids.max").write_text("13")
    yield group
    while group.exists():
        with suppress(OSError):
            group.rmdir()


@pytest.mark.root
@pytest.mark.skipif(
    not os.access(PIDS / "cgroup.procs", os.W_OK),
    reason="this host has no control groups of version 1 for pids",
)
@pytest.mark.parametrize("turn", range(3))
def test_its_program_finds_a_limit_of_processes(
    request: pytest.FixtureRequest, shell: str, tmp_path: Path, group: Path, turn: int
) -> None:
    entered = f"echo $$ >{group}/cgroup.procs"
    sandbox = Local(_sh(shell, tmp_path), tmp_path, entered, ALONE)
    findings = trial.try_ways((Way(near=True, sent=HELD),), lambda _way, _spec: sandbox)
    assert Limit.PIDS in findings.tripped


@attrs.define
class Script:
    """Makes sandboxes that fail as they are told to, in turn."""

    shell: str
    folder: Path
    troubles: list[Exception | None]
    made: list[Way] = attrs.field(factory=list)
    specs: list[SandboxSpec] = attrs.field(factory=list)

    def __call__(self, way: Way, spec: SandboxSpec) -> Local:
        self.made.append(way)
        self.specs.append(spec)
        trouble = self.troubles.pop(0)
        if trouble is not None:
            raise trouble
        return Local(self.shell, self.folder)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    return _sh("/bin/sh", tmp_path)


def test_its_program_writes_no_more_than_it_has_to(plain: str, tmp_path: Path) -> None:
    sandbox = Local(plain, tmp_path, most=16 << 20)
    findings = trial.try_ways((Way(near=True, sent=NOTHING),), lambda _way, _spec: sandbox)
    assert Limit.DISK not in findings.tripped


def test_without_a_filter_nothing_runs(plain: str, tmp_path: Path) -> None:
    sandbox = Local(plain, tmp_path, filtered=False)
    with pytest.raises(SandboxError, match="system calls are not filtered"):
        trial.try_ways((Way(near=True, sent=NOTHING),), lambda _way, _spec: sandbox)


def test_the_first_way_that_asks_for_nothing_will_do(plain: str, tmp_path: Path) -> None:
    troubles: list[Exception | None] = [SandboxError("no"), OSError(28, "full"), SandboxError("no")]
    make = Script(plain, tmp_path, [*troubles, None])
    findings = trial.try_ways(WAYS, make)
    assert make.made == list(WAYS)
    assert (findings.near, findings.sent) == (False, NOTHING)
    assert findings.remark == "near: no; near: [Errno 28] full; far: no"


def test_one_that_holds_nothing_is_better_than_none(plain: str, tmp_path: Path) -> None:
    make = Script(plain, tmp_path, [None, SandboxError("no")])
    findings = trial.try_ways((Way(near=True, sent=frozenset({Limit.PIDS})), WAYS[2]), make)
    assert (findings.near, findings.sent) == (True, frozenset({Limit.PIDS}))


def test_when_none_works_all_that_was_said_is_told_once(plain: str, tmp_path: Path) -> None:
    make = Script(
        plain, tmp_path, [SandboxError("a"), SandboxError("a"), OSError(2, "b"), OSError(2, "b")]
    )
    with pytest.raises(SandboxError) as error:
        trial.try_ways(WAYS, make)
    assert error.value.message == "near: a; far: [Errno 2] b"


def test_without_a_way_there_is_an_error() -> None:
    with pytest.raises(SandboxError, match="no way to try"):
        trial.try_ways((), lambda _way, _spec: pytest.fail("nothing to make"))


def test_a_trial_leaves_limits_low_and_has_no_network(plain: str, tmp_path: Path) -> None:
    make = Script(plain, tmp_path, [None])
    trial.try_ways((WAYS[1],), make)
    (spec,) = make.specs
    assert spec.network.mode is NetworkMode.NONE
    assert spec.limits.disk < spec.limits.memory < 128 << 20


@attrs.define
class Stuck:
    """A sandbox that runs until it is killed, and then ends as its `ended` says."""

    ended: Exit | Exception
    trouble: SandboxError | None = None
    killed: threading.Event = attrs.field(factory=threading.Event)
    closed: int = 0

    def put(self, tree: Iterable[TreeEntry]) -> None: ...

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        assert self.killed.wait(20), "it was never killed"
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended

    def kill(self) -> None:
        self.killed.set()
        if self.trouble is not None:
            raise self.trouble

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        return Fetched()

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    "ended", [Exit(code=None), Exit(code=7), SandboxError("gone"), OSError(32, "Broken pipe")]
)
def test_a_trial_without_an_end_is_killed_and_the_next_way_is_tried(
    ended: Exit | Exception,
) -> None:
    near, far = Stuck(ended), Stuck(ended, SandboxError("it cannot be ended"))
    with pytest.raises(SandboxError) as error:
        trial.try_ways(
            (WAYS[1], WAYS[3]), lambda way, _spec: near if way.near else far, seconds=0.01
        )
    late = "a trial was killed as it was not over after 0.01 s"
    assert error.value.message == f"near: {late}; far: {late}"
    assert (near.closed, far.closed) == (1, 1)
