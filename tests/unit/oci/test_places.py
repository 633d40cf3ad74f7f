"""Files in and out of the places of a sandbox."""

from __future__ import annotations

import io
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci.places import OwnPlaces, inodes_of

from isol8tasks.backend.contract import EntryKind, Fetched, OutputRefused, TreeEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = 64321
MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "inodes"),
    [(1, 1024), (4 * MIB - 1, 1024), (4 * MIB, 1024), (4 * MIB + 4096, 1025), (1 << 30, 1 << 18)],
)
def test_how_many_files_fit(size: int, inodes: int) -> None:
    assert inodes_of(size) == inodes


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    places, folder = OwnPlaces(), tmp_path / "places"
    places.make(folder, uid=UID, size=MIB, workdir="work/here")
    yield folder
    places.unmake(folder)


def entry(path: str, content: bytes = b"", *, executable: bool = False) -> TreeEntry:
    return TreeEntry(path=path, executable=executable, source=partial(io.BytesIO, content))


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path=path, kind=EntryKind.SYMLINK, target=target)


@pytest.mark.root
def test_the_working_directory_is_there_and_the_sandbox_s(folder: Path) -> None:
    for path in ("work", "work/here"):
        found = (folder / "sandbox" / path).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (UID, 0o755)


@pytest.mark.root
def test_inputs_go_in_and_outputs_come_out(folder: Path, tmp_path: Path) -> None:
    places, into = OwnPlaces(), tmp_path / "out"
    into.mkdir()
    run = entry("work/here/run", b"#!", executable=True)
    places.put(folder, [link("b", "a"), entry("a", b"1"), run], uid=UID)
    placed = folder / "sandbox"
    assert (placed / "b").readlink().name == "a"
    assert {path.lstat().st_uid for path in placed.rglob("*")} == {UID}
    found = places.fetch(folder, "work/here", ("run", "*.txt"), into, max_bytes=MIB)
    assert found == Fetched(paths=("work/here/run",), unmatched=("*.txt",))
    assert (into / "work/here/run").read_bytes() == b"#!"
    assert os.access(into / "work/here/run", os.X_OK)


@pytest.mark.root
def test_what_a_stage_planted_does_not_lead_out(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "out"
    into.mkdir()
    planted = folder / "sandbox" / "work/here/out"
    planted.symlink_to("/etc/passwd")
    with pytest.raises(OutputRefused, match="link"):
        OwnPlaces().fetch(folder, "work/here", ("out",), into, max_bytes=MIB)
    assert list(into.iterdir()) == []


@pytest.mark.root
def test_full(folder: Path) -> None:
    places = OwnPlaces()
    assert not places.full(folder)
    (folder / "sandbox/big").write_bytes(bytes(MIB))
    assert places.full(folder)


@pytest.mark.root
def test_full_of_files(folder: Path) -> None:
    places = OwnPlaces()
    for number in range(os.statvfs(folder).f_ffree):
        (folder / "tmp" / str(number)).touch()
    assert places.full(folder)


@pytest.mark.root
def test_inputs_that_do_not_fit_are_an_error(folder: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        OwnPlaces().put(folder, [entry("big", bytes(MIB + 1))], uid=UID)


@pytest.mark.root
def test_no_file_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    places, folder = OwnPlaces(), tmp_path / "places"
    places.make(folder, uid=UID, size=MIB, workdir="a/b")
    places.put(folder, [entry("a/b/c", b"1")], uid=UID)
    places.fetch(folder, "a/b", ("c",), tmp_path, max_bytes=MIB)
    places.full(folder)
    places.unmake(folder)
    places.unmake(folder)
    places.close()
    assert os.listdir("/proc/self/fd") == before
