"""What goes into a sandbox's folder and what comes out of it, without a sandbox."""

from __future__ import annotations

import io
import os
import socket
import sys
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isol8tasks.backend import files
from isol8tasks.backend.contract import EntryKind, Fetched, OutputRefused, TreeEntry
from isol8tasks.backend.files import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def entry(path: str, content: bytes = b"x", *, executable: bool = False) -> TreeEntry:
    return TreeEntry(path=path, executable=executable, source=partial(io.BytesIO, content))


def place(tree: list[TreeEntry], root: Path, *, owner: int | None) -> None:
    with opened(root) as folder:
        files.place(tree, folder, owner=owner)


def collect(
    root: Path, workdir: str, globs: tuple[str, ...], into: Path, *, max_bytes: int
) -> Fetched:
    with opened(root) as folder:
        return files.collect(folder, workdir, globs, into, max_bytes=max_bytes)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_place_writes_plain_modes_whatever_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        place([entry("a/b/run", executable=True), entry("a/data")], root, owner=None)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in root.rglob("*")}
    assert modes == {"a": 0o755, "b": 0o755, "run": 0o755, "data": 0o644}


@pytest.mark.root
def test_place_gives_everything_to_the_owner(root: Path) -> None:
    link = TreeEntry(path="a/link", kind=EntryKind.SYMLINK, target="b")
    place([entry("a/b"), link], root, owner=64123)
    owners = {path.name: (path.lstat().st_uid, path.lstat().st_gid) for path in root.rglob("*")}
    assert owners == dict.fromkeys(("a", "b", "link"), (64123, 64123))


def test_place_goes_through_no_link(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "a").symlink_to(outside)
    with pytest.raises(OSError, match="Not a directory"):
        place([entry("a/b")], root, owner=None)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/a", "a//b", "./a"])
def test_place_takes_normalised_paths_only(root: Path, tmp_path: Path, path: str) -> None:
    with pytest.raises((ValueError, OSError)):
        place([entry(path + "/file")], root, owner=None)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["root"]


def test_collect_takes_regular_files_below_the_working_directory(root: Path, into: Path) -> None:
    place(
        [entry("web/out/a", b"A", executable=True), entry("web/b"), entry("out/c")],
        root,
        owner=None,
    )
    fetched = collect(root, "web", ("out/**", "none"), into, max_bytes=10)
    assert (fetched.paths, fetched.unmatched) == (("web/out/a",), ("none",))
    assert (into / "web/out/a").stat().st_mode & 0o7777 == 0o755
    assert [path.name for path in into.rglob("*") if path.is_file()] == ["a"]


def test_setuid_bits_do_not_come_out(root: Path, into: Path) -> None:
    place([entry("a")], root, owner=None)
    (root / "a").chmod(0o6755)
    collect(root, "", ("a",), into, max_bytes=10)
    assert (into / "a").stat().st_mode & 0o7777 == 0o755


def _link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _link_within(path: Path) -> None:
    path.with_name("real").write_text("x")
    path.symlink_to("real")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def _device(path: Path) -> None:
    os.mknod(path, 0o20666, os.makedev(1, 3))


@pytest.mark.parametrize(
    "make",
    [_link_out, _link_within, os.mkfifo, _socket, pytest.param(_device, marks=pytest.mark.root)],
)
def test_what_is_no_regular_file_does_not_come_out(
    root: Path, into: Path, make: Callable[[Path], None]
) -> None:
    make(root / "out")
    with pytest.raises(OutputRefused, match=r"'out' is (a link or no|not a) regular file"):
        collect(root, "", ("out",), into, max_bytes=10)
    assert list(into.iterdir()) == []


def test_a_linked_folder_is_not_entered(root: Path, into: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("x")
    (root / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(OutputRefused):
        collect(root, "", ("out/**", "out"), into, max_bytes=10)
    assert collect(root, "", ("out/**",), into, max_bytes=10).unmatched == ("out/**",)
    assert list(into.iterdir()) == []


def test_a_working_directory_that_became_a_link_has_no_outputs(
    root: Path, into: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("x")
    (root / "web").symlink_to(tmp_path / "outside")
    assert collect(root, "web", ("**",), into, max_bytes=10).paths == ()


def test_modes_keep_nothing_from_coming_out(root: Path, into: Path) -> None:
    place([entry("shut/a"), entry("b")], root, owner=None)
    (root / "shut/a").chmod(0)
    (root / "b").chmod(0)
    (root / "shut").chmod(0)
    assert collect(root, "", ("**",), into, max_bytes=10).paths == ("b", "shut/a")


class Swapper:
    """An attacker at its best moment: right before a mode changes, a name becomes a link."""

    def __init__(self) -> None:
        self.swaps: list[tuple[Path, Path]] = []

    def audit(self, event: str, _arguments: object) -> None:
        if event == "os.chmod" and self.swaps:
            name, target = self.swaps.pop()
            name.rename(name.with_name("away"))
            name.symlink_to(target)


swapper = Swapper()
sys.addaudithook(swapper.audit)


@pytest.mark.parametrize(
    "kind",
    [
        "file",
        pytest.param(
            "folder",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root enters without a change"),
        ),
    ],
)
def test_no_link_is_followed_to_change_a_mode(
    root: Path, into: Path, tmp_path: Path, kind: str
) -> None:
    victim, taken = tmp_path / "victim", root / "out"
    for path in (victim, taken):
        path.touch() if kind == "file" else path.mkdir()
    victim.chmod(0o755)
    taken.chmod(0)
    swapper.swaps.append((taken, victim))
    with suppress(OSError, OutputRefused):
        collect(root, "", ("**",), into, max_bytes=1000)
    assert not swapper.swaps
    assert victim.stat().st_mode & 0o777 == 0o755
    assert list(into.iterdir()) == []


def test_a_link_keeps_its_target_s_mode(root: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch(0o640)
    (root / "link").symlink_to(victim)
    with opened(root) as folder:
        files._set_mode("link", 0o600, folder)
    assert victim.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", b"\xff".decode(errors="surrogateescape")])
def test_hostile_names_are_refused_and_shown_escaped(root: Path, into: Path, name: str) -> None:
    (root / name).write_text("x")
    with pytest.raises(OutputRefused) as caught:
        collect(root, "", ("**",), into, max_bytes=10)
    assert str(caught.value).isprintable()
    assert list(into.iterdir()) == []


def test_deep_folders_are_refused(root: Path, into: Path) -> None:
    deep = root
    for _ in range(MAX_DEPTH + 1):
        deep /= "d"
    deep.mkdir(parents=True)
    with pytest.raises(OutputRefused, match="nested deeper"):
        collect(root, "", ("**",), into, max_bytes=10)


def test_names_that_take_long_to_match_are_given_up(
    root: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_SECONDS", 0.05)
    for number in range(200):
        (root / ("-" * 245 + str(number))).touch()
    with pytest.raises(OutputRefused, match=r"^looking for outputs took longer than 0.05 s$"):
        collect(root, "", ("**/*-*-*.xml",), into, max_bytes=100)


def test_the_size_is_capped_in_all(root: Path, into: Path) -> None:
    place([entry("a", b"x" * 6), entry("b", b"x" * 6)], root, owner=None)
    with pytest.raises(OutputRefused, match="larger than the disk limit, at 'b'"):
        collect(root, "", ("**",), into, max_bytes=11)


_NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_NAMES, st.sampled_from(["file", "folder", "link"])), max_size=6))
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, str]]
) -> None:
    base = tmp_path_factory.mktemp("case")
    for name in ("root", "into", "outside"):
        (base / name).mkdir()
    (base / "outside/secret").write_text("secret")
    folder = base / "root"
    for name, kind in items:
        path = folder / name
        if name in {".", ".."} or len(os.fsencode(name)) > 200 or os.path.lexists(path):
            continue
        if kind == "file":
            path.write_text("content")
        elif kind == "link":
            path.symlink_to(base / "outside")
        else:
            path.mkdir()
            folder = path
    with suppress(OutputRefused):
        collect(base / "root", "", ("**",), base / "into", max_bytes=100)
    assert [path.name for path in (base / "outside").iterdir()] == ["secret"]
    for path in (base / "into").rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or path.read_text() == "content"
