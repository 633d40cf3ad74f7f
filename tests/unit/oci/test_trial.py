"""What a trial means, what is remembered of it, and its program run by several shells."""

from __future__ import annotations

import ctypes
import json
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
from isol8tasks_oci.client import Facts
from isol8tasks_oci.trial import HELD, Findings, Way, capabilities, recall, remember, tripped

from isol8tasks.backend.contract import Fetched, OutputSink, SandboxSpec, Stream, TreeEntry
from isol8tasks.errors import SandboxError
from isol8tasks.model.image import LayerKind
from isol8tasks.model.limits import Enforcement, Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOKEN = "0123abcd"
ALL = HELD | {Limit.DISK}
NOTHING: frozenset[Limit] = frozenset()
LINES = {
    "token": f"token {TOKEN}",
    "filter": "filter 2",
    "disk": "disk 0",
    "ours": "0m0.00s 0m0.00s",
    "theirs": "0m0.08s 0m0.01s",
    "memory": "memory 137",
    "pids": "pids held",
}
SEEN = Exit(code=7, limit=Limit.MEMORY, cpu_seconds=1.0)
UNSEEN = Exit(code=7, cpu_seconds=1.0)


def said(**changed: str) -> str:
    return "\n".join({**LINES, **changed}.values()) + "\n"


@pytest.mark.parametrize(
    ("text", "ended", "held"),
    [
        (said(), SEEN, ALL),
        (said(disk="disk 137"), SEEN, HELD),
        (said(disk=""), SEEN, HELD),
        (said(pids="pids free"), SEEN, ALL - {Limit.PIDS}),
        (said(pids=""), SEEN, ALL - {Limit.PIDS}),
        (said(memory="memory 0"), UNSEEN, ALL - {Limit.MEMORY}),
        (said(memory="memory 137"), UNSEEN, ALL - {Limit.MEMORY}),
        (said(memory=""), UNSEEN, ALL - {Limit.MEMORY}),
        (said(memory="memory 2"), UNSEEN, ALL),
        (said(memory="memory 0"), SEEN, ALL),
        (said(theirs="0m0.29s 0m0.00s"), SEEN, ALL),
        (said(theirs="0m0.20s 0m0.10s"), SEEN, ALL - {Limit.CPUS}),
        (said(theirs="1m0.00s 0m0.00s"), SEEN, ALL - {Limit.CPUS}),
        (said(theirs="0m0.00s 1m0.00s"), SEEN, ALL - {Limit.CPUS}),
        (said(theirs="0m0.080000s 0m0.010000s"), SEEN, ALL),
        (said(theirs=""), SEEN, ALL - {Limit.CPUS}),
        (said(theirs="0,08s"), SEEN, ALL - {Limit.CPUS}),
        (said(), Exit(code=7, limit=Limit.MEMORY), ALL - {Limit.CPUS}),
    ],
)
def test_which_limits_held(text: str, ended: Exit, held: frozenset[Limit]) -> None:
    assert tripped(text, ended, TOKEN) == held


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        (said(token="token other"), SEEN),
        (said(token=""), SEEN),
        ("", SEEN),
        (said(), Exit(code=0)),
        (said(), Exit(code=2, limit=Limit.MEMORY)),
        (said(), Exit(code=None)),
        (said(), Exit(code=137, signal="SIGKILL")),
    ],
)
def test_a_trial_that_went_wrong_proves_nothing(text: str, ended: Exit) -> None:
    with pytest.raises(SandboxError, match=f"ended with {ended.code} and said"):
        tripped(text, ended, TOKEN)


ROOTFUL = Facts(version="1", identity="e 1", rootless=False, local=True, runtime="runc")
ROOTLESS = attrs.evolve(ROOTFUL, rootless=True)
ENFORCED, UNVERIFIED = Enforcement.ENFORCED, Enforcement.UNVERIFIED
APPROXIMATE, NONE = Enforcement.APPROXIMATE, Enforcement.NONE


def found(
    sent: Iterable[Limit], held: Iterable[Limit], *, near: bool = True, remark: str = ""
) -> Findings:
    return Findings(near=near, sent=frozenset(sent), tripped=frozenset(held), remark=remark)


@pytest.mark.parametrize(
    ("findings", "facts", "expected"),
    [
        (found(HELD, ALL), ROOTFUL, (ENFORCED, ENFORCED, ENFORCED, ENFORCED)),
        (found(HELD, HELD), ROOTFUL, (ENFORCED, ENFORCED, ENFORCED, UNVERIFIED)),
        (found(HELD, {Limit.DISK}), ROOTFUL, (UNVERIFIED, UNVERIFIED, UNVERIFIED, ENFORCED)),
        (
            found(HELD, ALL),
            attrs.evolve(ROOTFUL, swap_held=False),
            (UNVERIFIED, ENFORCED, ENFORCED, ENFORCED),
        ),
        (found(HELD, ALL), ROOTLESS, (ENFORCED, ENFORCED, ENFORCED, ENFORCED)),
        (found((), ALL), ROOTLESS, (APPROXIMATE, APPROXIMATE, NONE, ENFORCED)),
        (found((), {Limit.MEMORY}), ROOTLESS, (APPROXIMATE, NONE, NONE, UNVERIFIED)),
        (found((), ()), ROOTLESS, (NONE, NONE, NONE, UNVERIFIED)),
        (found(HELD, ()), ROOTLESS, (NONE, NONE, NONE, UNVERIFIED)),
    ],
    ids=[
        "all",
        "no disk",
        "nothing trips",
        "swap",
        "rootless, delegated",
        "rootless",
        "rootless, memory",
        "rootless, nothing",
        "rootless, taken and not held",
    ],
)
def test_what_that_is_worth(
    findings: Findings, facts: Facts, expected: tuple[Enforcement, ...]
) -> None:
    limits = (Limit.MEMORY, Limit.PIDS, Limit.CPUS, Limit.DISK)
    given = capabilities(findings, facts)
    assert tuple(given.enforcement(limit) for limit in limits) == expected


def test_what_is_not_held_is_explained_with_a_remedy() -> None:
    given = capabilities(found((), {Limit.MEMORY}), ROOTLESS)
    for limit in HELD:
        why, remedy = given.explanation(limit)
        assert "rootless" in why
        assert "delegate control groups" in remedy
    swap = capabilities(found(HELD, ALL), attrs.evolve(ROOTFUL, swap_held=False))
    assert swap.explanation(Limit.MEMORY) == ("the engine does not hold swap", "turn swap off")


@pytest.mark.parametrize(("near", "words"), [(True, "for all"), (False, "each")])
def test_whether_places_share_their_size_is_told(near: bool, words: str) -> None:
    given = capabilities(found(HELD, ALL, near=near), ROOTFUL)
    assert given.explanation(Limit.DISK)[0].endswith(words)


def test_what_stages_may_ask_for() -> None:
    given = capabilities(found(HELD, ALL), ROOTFUL)
    assert given.networks == {NetworkMode.NONE, NetworkMode.HOST}
    assert given.layers == set(LayerKind)
    assert not given.host_bound


@pytest.mark.parametrize(
    "findings", [found(HELD, ALL), found((), (), near=False, remark="near: ä\n"), found((), ALL)]
)
def test_what_is_remembered_is_recalled(tmp_path: Path, findings: Findings) -> None:
    file, key = tmp_path / "verified.json", trial.key_of(ROOTFUL, None)
    assert recall(file, key) is None
    remember(file, key, findings)
    assert recall(file, key) == findings
    assert [path.name for path in tmp_path.iterdir()] == [file.name], "no draft is left"


def test_each_key_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "verified.json"
    keys = [trial.key_of(ROOTFUL, runtime) for runtime in (None, "runsc")]
    kept = [found(HELD, ALL), found((), ())]
    for key, findings in zip(keys, kept, strict=True):
        remember(file, key, findings)
    assert [recall(file, key) for key in keys] == kept
    remember(file, keys[0], kept[1])
    assert recall(file, keys[0]) == kept[1]


def test_other_boots_are_forgotten(tmp_path: Path) -> None:
    file, key = tmp_path / "verified.json", trial.key_of(ROOTFUL, None)
    remember(file, "another-boot e 1 0  0.1", found((), ()))
    assert recall(file, "another-boot e 1 0  0.1") is not None
    remember(file, key, found(HELD, ALL))
    assert list(json.loads(file.read_text())) == [key]


def test_a_key_changes_with_all_that_a_trial_holds_for() -> None:
    facts = (ROOTFUL, attrs.evolve(ROOTFUL, identity="e 2"))
    keys = {trial.key_of(each, runtime) for each in facts for runtime in (None, "runsc", "crun")}
    keys.add(trial.key_of(attrs.evolve(ROOTFUL, runtime="kata"), None))
    assert len(keys) == 7
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert all(key.startswith(boot) for key in keys)


DAMAGED = {
    "empty": b"",
    "half": b'{"',
    "bytes": b"\xff\xfe\x00",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "another kind of value": b'{"KEY": 1}',
    "a list as value": b'{"KEY": []}',
    "a word missing": b'{"KEY": {"near": true, "sent": [], "tripped": []}}',
    "an unknown limit": b'{"KEY": {"near": true, "sent": ["x"], "tripped": [], "remark": ""}}',
    "no list of limits": b'{"KEY": {"near": true, "sent": 1, "tripped": [], "remark": ""}}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_says_nothing_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    file, key = tmp_path / "verified.json", trial.key_of(ROOTFUL, None)
    file.write_bytes(content.replace(b"KEY", key.encode()))
    assert recall(file, key) is None
    remember(file, key, found(HELD, ALL))
    assert recall(file, key) == found(HELD, ALL)


def test_remembering_never_fails(tmp_path: Path) -> None:
    remember(tmp_path / "no such folder" / "verified.json", "key", found((), ()))
    (tmp_path / "a folder").mkdir()
    remember(tmp_path / "a folder", "key", found((), ()))
    assert recall(tmp_path / "a folder", "key") is None


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
