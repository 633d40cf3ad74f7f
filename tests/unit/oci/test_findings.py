"""What a trial means, and what is remembered of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci import trial
from isol8tasks_oci.client import Facts
from isol8tasks_oci.trial import HELD, Findings, capabilities, recall, remember, tripped

from isol8tasks.errors import SandboxError
from isol8tasks.model.image import LayerKind
from isol8tasks.model.limits import Enforcement, Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN = "0123abcd"
ALL = HELD | {Limit.DISK}
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
