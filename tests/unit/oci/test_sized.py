"""Mounts for real: only root among them can make any."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci import sized

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

UID = 64321
SIZE = 1 << 20
INODES = 32


@pytest.fixture(params=["plain", "a space", "ä\ttab\\and\nline"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / request.param
    sized.make(folder, uid=UID, size=SIZE, inodes=INODES)
    yield folder
    sized.unmake(folder)


def test_the_places_are_the_sandbox_s(folder: Path) -> None:
    found = {path.name: path.stat() for path in folder.iterdir()}
    assert sorted(found) == sorted(sized.PLACES)
    assert {each.st_uid for each in found.values()} == {UID}
    assert {each.st_gid for each in found.values()} == {UID}
    modes = {name: stat.S_IMODE(each.st_mode) for name, each in found.items()}
    assert modes == {"sandbox": 0o700, "tmp": 0o1777, "shm": 0o1777}


def _fill(path: Path) -> int:
    """Write until there is no space; how much that was."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path.stat().st_size


@pytest.mark.parametrize("place", sized.PLACES)
def test_no_place_holds_more_than_its_size(folder: Path, place: str) -> None:
    assert _fill(folder / place / "big") == SIZE


def test_the_places_share_their_size(folder: Path) -> None:
    (folder / "tmp" / "half").write_bytes(bytes(SIZE // 2))
    (folder / "shm" / "quarter").write_bytes(bytes(SIZE // 4))
    assert _fill(folder / "sandbox" / "big") == SIZE // 4
    space = os.statvfs(folder)
    assert space.f_bfree == 0


def test_the_places_share_their_inodes(folder: Path) -> None:
    left = INODES - 1 - len(sized.PLACES)
    for number in range(left):
        (folder / sized.PLACES[number % 3] / str(number)).touch()
    assert os.statvfs(folder).f_ffree == 0
    with pytest.raises(OSError, match="No space"):
        (folder / "tmp" / "one more").touch()


def _program(folder: Path) -> str:
    program = folder / "program"
    shutil.copy("/bin/true", program)
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(("place", "runs"), [("sandbox", True), ("tmp", False), ("shm", False)])
def test_only_the_sandbox_holds_programs(folder: Path, place: str, runs: bool) -> None:
    with nullcontext() if runs else pytest.raises(PermissionError):
        subprocess.run([_program(folder / place)], check=True)


@pytest.mark.parametrize(("place", "runs"), [("sandbox", True), ("tmp", False), ("shm", False)])
def test_that_stays_so_where_it_is_bound(
    folder: Path, tmp_path: Path, place: str, runs: bool
) -> None:
    """As an engine does it, in mounts of its own."""
    _program(folder / place)
    bound = tmp_path / "bound"
    bound.mkdir()
    script = 'mount --bind "$1" "$2" && exec "$2/program"'
    argv = ["unshare", "-m", "sh", "-c", script, "sh", str(folder / place), str(bound)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ran.returncode == 0) is runs, ran.stderr


@pytest.mark.parametrize("place", sized.PLACES)
def test_no_place_has_devices_or_gives_rights(folder: Path, place: str) -> None:
    flags = os.statvfs(folder / place).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV


def test_nothing_is_left_of_them(folder: Path) -> None:
    assert len(sized.mounts_below(folder)) == 3
    sized.unmake(folder)
    assert sized.mounts_below(folder) == []
    assert list(folder.iterdir()) == []
    sized.unmake(folder)


def test_nothing_is_left_while_somebody_is_in_them(folder: Path) -> None:
    with (folder / "tmp" / "open").open("wb") as file:
        sized.unmake(folder)
        assert sized.mounts_below(folder) == []
        file.write(b"x")


def test_neighbours_stay(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "ab", "a b")]
    for folder in folders:
        sized.make(folder, uid=UID, size=SIZE, inodes=INODES)
    sized.unmake(folders[0])
    assert [len(sized.mounts_below(folder)) for folder in folders] == [0, 3, 3]
    sized.unmake(tmp_path)
    assert sized.mounts_below(tmp_path) == []


def test_what_is_half_made_can_be_unmade(tmp_path: Path) -> None:
    folder = tmp_path / "half"
    with pytest.raises(OSError, match="No space"):
        sized.make(folder, uid=UID, size=SIZE, inodes=2)
    sized.unmake(folder)
    assert sized.mounts_below(folder) == []


def test_a_folder_that_is_there_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        sized.make(tmp_path, uid=UID, size=SIZE, inodes=INODES)
    assert sized.mounts_below(tmp_path) == []


def test_a_link_on_the_way_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    sized.make(tmp_path / "link" / "places", uid=UID, size=SIZE, inodes=INODES)
    sized.unmake(tmp_path / "link" / "places")
    left = sized.mounts_below(tmp_path / "real")
    sized.unmake(tmp_path / "real")
    assert left == []


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "\udcff"
    try:
        sized.make(folder, uid=UID, size=SIZE, inodes=INODES)
    finally:
        sized.unmake(folder)
