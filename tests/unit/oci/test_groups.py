"""Groups of ours around those of containers, in the real hierarchies of this host."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from isol8tasks_oci import groups

from isol8tasks.backend.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

PIDS = Path("/sys/fs/cgroup/pids")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not PIDS.is_dir(), reason="this host has no groups of version 1 for pids"),
]


@pytest.fixture
def dead() -> Owner:
    """A process of this boot that ended."""
    with subprocess.Popen(["sleep", "60"]) as process:
        owner = attrs.evolve(Owner.current(), pid=process.pid, start=1)
        process.kill()
    return owner


@pytest.fixture
def name() -> Iterator[str]:
    name = groups.name_of(secrets.token_hex(6))
    yield name
    groups.remove(name)


def test_removed_from_all_hierarchies(name: str) -> None:
    tops = [path for path in Path(groups.ROOT).iterdir() if (path / "cgroup.procs").exists()]
    for top in tops:
        (top / name / "container").mkdir(parents=True)
    groups.remove(name)
    assert len(tops) > 1
    assert not [top for top in tops if (top / name).exists()]
    groups.remove(name)


def test_what_still_runs_inside_is_ended(name: str) -> None:
    (PIDS / name).mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        (PIDS / name / "cgroup.procs").write_text(str(process.pid))
        groups.remove(name)
        assert process.wait(10) == -9
    assert not (PIDS / name).exists()


@pytest.mark.parametrize("inside", ["", "/container"])
def test_the_sweep_takes_those_of_dead_runs(dead: Owner, inside: str) -> None:
    left = PIDS / f"isol8tasks-{dead}-{secrets.token_hex(6)}"
    Path(f"{left}{inside}").mkdir(parents=True)
    groups.sweep(None)
    assert not left.exists()


@pytest.mark.parametrize(
    "foreign",
    ["isol8tasks-{owner}", "isol8tasks-{owner}-x-y", "isol8tasks-x", "other-{owner}-abc"],
)
def test_the_sweep_leaves_what_is_no_group_of_ours(dead: Owner, foreign: str) -> None:
    """A name without a token is the bubblewrap backend's."""
    folder = PIDS / foreign.format(owner=dead)
    folder.mkdir()
    try:
        groups.sweep(None)
        assert folder.exists()
    finally:
        folder.rmdir()


def test_the_sweep_leaves_the_groups_of_the_living(name: str) -> None:
    (PIDS / name).mkdir()
    groups.sweep(0)
    assert (PIDS / name).exists()


@pytest.mark.parametrize("view", [{"namespace": 1}, {"boot": "00000000"}])
def test_another_view_s_group_goes_by_its_age_only(dead: Owner, view: dict[str, Any]) -> None:
    """No group outlives a boot, so that another boot id is that of a container."""
    owner = attrs.evolve(dead, **view)
    folder = PIDS / f"isol8tasks-{owner}-{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        for older_than in (None, 3600.0):
            groups.sweep(older_than)
            assert folder.exists()
        os.utime(folder, (1, 1))
        groups.sweep(3600)
        assert not folder.exists()
    finally:
        if folder.exists():
            folder.rmdir()


@pytest.mark.parametrize(
    ("group", "outer"),
    [
        ("/isol8tasks-1-2/abc", "/isol8tasks-1-2"),
        ("/a/isol8tasks-1-2/libpod-abc", "/a/isol8tasks-1-2"),
        ("/docker/abc", ""),
        ("/abc", ""),
    ],
)
def test_which_group_around_is_ours(group: str, outer: str) -> None:
    assert groups.ours_around(group) == outer
