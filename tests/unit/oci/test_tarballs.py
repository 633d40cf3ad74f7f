"""Trees into tars, and hostile streams into folders."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isol8tasks_oci import tarballs
from isol8tasks_oci.tarballs import Arriving, Ended, chosen, packed, unpacked

from isol8tasks.backend.contract import EntryKind, Fetched, OutputRefused, TreeEntry
from isol8tasks.backend.files import MAX_FILES, Outputs
from isol8tasks.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

UID = 64007
NO_UTF8 = b"\xff\xfe".decode(errors="surrogateescape")


def entry(path: str, content: bytes = b"x", *, executable: bool = False) -> TreeEntry:
    return TreeEntry(path=path, executable=executable, source=partial(io.BytesIO, content))


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path=path, kind=EntryKind.SYMLINK, target=target)


def opened(tree: Sequence[TreeEntry], workdir: str = "") -> tarfile.TarFile:
    size, pieces = packed(tree, workdir, uid=UID)
    content = b"".join(pieces)
    assert len(content) == size
    return tarfile.open(fileobj=io.BytesIO(content), errors="surrogateescape")


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


# Into a sandbox.


def test_a_tree_becomes_a_tar() -> None:
    names = ("-rf", "a b/c\nd", "é" * 90 + "/" + "y" * 200, NO_UTF8, " ")
    tree = [link("l", "a b/../x"), entry("run", executable=True), *map(entry, names)]
    with opened(tree) as tar:
        found = {member.name: member for member in tar}
        assert {name for name, member in found.items() if member.isfile()} == {"run", *names}
        assert found["run"].mode == 0o755
        assert found["-rf"].mode == 0o644
        assert {(member.uid, member.gid) for member in tar} == {(UID, UID)}
        assert (found["l"].linkname, list(found)[-1]) == ("a b/../x", "l")


def test_folders_come_once_and_before_what_is_in_them() -> None:
    with opened([entry("a/b/c"), entry("a/b/d"), entry("a/e"), entry("f")], "a/w/v") as tar:
        assert tar.getnames() == ["a", "a/w", "a/w/v", "a/b", "a/b/c", "a/b/d", "a/e", "f"]
        assert {member.mode for member in tar if member.isdir()} == {0o755}


def test_nothing_is_a_tar_too() -> None:
    with opened([]) as tar:
        assert tar.getnames() == []


def test_a_large_file_comes_in_pieces() -> None:
    size, tar = packed([entry("big", bytes((10 << 20) + 1))], "", uid=UID)
    pieces = list(tar)
    assert max(map(len, pieces)) <= 1 << 16
    assert sum(map(len, pieces)) == size == (10 << 20) + 4 * 512


def test_an_input_that_shrinks_is_an_error() -> None:
    class Shrinking(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            return super().seek(offset, whence) + (5 if whence == os.SEEK_END else 0)

    tree = [TreeEntry(path="a", source=partial(Shrinking, b"x"))]
    _, pieces = packed(tree, "", uid=UID)
    with pytest.raises(SandboxError, match="the input 'a' became shorter"):
        list(pieces)


def test_an_input_that_grows_is_what_it_was() -> None:
    contents = iter([b"four", b"longer"])
    tree = [TreeEntry(path="a", source=lambda: io.BytesIO(next(contents)))]
    with opened(tree) as tar:
        found = tar.extractfile("a")
        assert found is not None
        assert found.read() == b"long"


def unpack(shell: str, root: Path, tar: bytes, announced: int) -> tuple[int, str]:
    """What `UNPACK` comes to when the stream that it reads does not end."""
    script = tarballs.UNPACK.replace(tarballs.ROOT, str(root))
    with subprocess.Popen(
        ["sh", "-c", script],
        executable=shell,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"%d\n%b" % (announced, tar))
        process.stdin.flush()
        return process.wait(20), process.stderr.read().decode()


def test_a_shell_unpacks_what_was_announced(shell: str, tmp_path: Path) -> None:
    tree = [entry("run", b"a" * 100_000, executable=True), entry("b c", b"\0\n"), link("l", "b c")]
    size, pieces = packed(tree, "w", uid=os.getuid())
    assert unpack(shell, tmp_path, b"".join(pieces), size) == (0, "")
    assert (tmp_path / "run").read_bytes() == b"a" * 100_000
    assert os.access(tmp_path / "run", os.X_OK)
    assert (tmp_path / "l").read_bytes() == b"\0\n"
    assert (tmp_path / "w").is_dir()


def test_what_cannot_be_unpacked_is_read_to_its_end(shell: str, tmp_path: Path) -> None:
    """Otherwise writing it would fail here, and over TCP the complaint could be lost."""
    size, pieces = packed([entry("a", bytes(1 << 20))], "", uid=UID)
    code, complaint = unpack(shell, tmp_path / "gone", b"".join(pieces), size)
    assert code not in {0, 127}
    assert "gone" in complaint


# Out of a sandbox.


def listed(
    files: Sequence[str | bytes] = (), others: Sequence[str] = (), deep: Sequence[str] = ()
) -> bytes:
    """The three lists of `find`."""
    lists = (
        b"".join(b"./%b\0" % os.fsencode(name) for name in names) for names in (deep, files, others)
    )
    return b"".join(names + b"/\0" for names in lists)


def member(name: str, content: bytes = b"", **fields: object) -> bytes:
    info = tarfile.TarInfo(f"./{name}")
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + content + padding(content)


def padding(content: bytes) -> bytes:
    return bytes(-len(content) % 512)


END = bytes(1024)


def cut(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[at : at + size] for at in range(0, len(stream), size))


def fetch(
    into: Path,
    stream: bytes,
    *,
    globs: tuple[str, ...] = ("**",),
    workdir: str = "",
    max_bytes: int = 1000,
    size: int = 7,
) -> Fetched:
    with Outputs(workdir, globs, into, max_bytes=max_bytes) as outputs:
        arriving = Arriving(cut(stream, size))
        unpacked(arriving, chosen(arriving, outputs), outputs)
        return outputs.fetched()


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1 << 20])
def test_what_was_asked_for_is_written(into: Path, size: int) -> None:
    long = "d/" * 90 + "n" * 200
    stream = listed(["a", "sub/b", "c", long], ["pipe"])
    stream += member("a", b"first", mode=0o700) + member("sub/b", bytes(600)) + END
    stream += member(long, b"second tar", mode=0o611) + END
    fetched = fetch(into, stream, globs=("a", "sub/", long, "no"), workdir="w", size=size)
    assert fetched.paths == ("w/a", f"w/{long}", "w/sub/b")
    assert fetched.unmatched == ("no",)
    assert (into / "w/a").read_bytes() == b"first"
    assert stat.S_IMODE((into / "w/a").stat().st_mode) == 0o755
    assert stat.S_IMODE((into / "w" / long).stat().st_mode) == 0o644
    assert (into / "w/sub/b").read_bytes() == bytes(600)


def test_hard_links_become_copies_that_count(into: Path) -> None:
    stream = listed(["a", "b"]) + member("a", b"12345678")
    stream += member("b", type=tarfile.LNKTYPE, linkname="./a") + END
    assert fetch(into, stream, max_bytes=16).paths == ("a", "b")
    assert (into / "b").read_bytes() == b"12345678"
    assert (into / "b").stat().st_nlink == 1
    (into / "a").unlink()
    (into / "b").unlink()
    with pytest.raises(OutputRefused, match="larger than the disk limit, at 'b'"):
        fetch(into, stream, max_bytes=15)


def test_a_hard_link_to_nothing_is_refused(into: Path) -> None:
    for target in ("./b", "a", "/etc/passwd", "../outside", ""):
        stream = listed(["a"]) + member("a", type=tarfile.LNKTYPE, linkname=target) + END
        with pytest.raises(OutputRefused, match="the output 'a' is a link or no regular file"):
            fetch(into, stream)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (listed(["a\nb"]), "has control characters"),
        (listed([b"\xff"]), "has control characters or broken text in its name"),
        (listed(["/".join(["n" * 200] * 11)]), "has a path longer than 2048 bytes"),
        (listed([], ["l"]), "the output 'l' is a link or no regular file"),
        (listed([], [], ["d/" * 99 + "d"]), "folders nested deeper than 100"),
        (listed([str(n) for n in range(MAX_FILES + 1)]), "more than 10000 output files"),
        (listed(["a"]) + member("a", size=1001), "larger than the disk limit, at 'a'"),
        (listed(["a"]) + member("a", size=1 << 62), "larger than the disk limit, at 'a'"),
        *(
            (listed(["a"]) + member("a", type=kind), "the output 'a' is a link or no regular file")
            for kind in (tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
        ),
        (listed(["a"]) + member("a", type=tarfile.GNUTYPE_SPARSE), "no regular file"),
    ],
)
def test_refusals(into: Path, stream: bytes, words: str) -> None:
    with pytest.raises(OutputRefused, match=words):
        fetch(into, stream, size=1 << 16)
    assert list(into.iterdir()) == []


def test_what_matches_nothing_is_not_judged(into: Path) -> None:
    odd: list[str | bytes] = [b"\xff", "n" * 200 + "/" + "n" * 5000, "a\nb"]
    stream = listed([*odd, "out"], ["l"]) + member("out") + END
    assert fetch(into, stream, globs=("out",)).paths == ("out",)


def broken(header: bytes) -> bytes:
    return header[:200] + b"\1" + header[201:]


def negative() -> bytes:
    """CVE-2025-8194: with a size of -512 the next header would be this one again."""
    header = bytearray(member("a"))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "stream",
    [
        listed(["a"]) + member("b") + END,
        listed(["a"]) + member("a") * 2 + END,
        listed(["a"]) + member("../a") + END,
        listed(["a"]) + END,
        listed(["a"]),
        listed(["a"]) + negative() + END,
        listed(["a"]) + broken(member("a", b"x")) + END,
        listed(["a"]) + b"tar: not found\n".ljust(512),
        listed(["a"]) + member("x", type=tarfile.GNUTYPE_LONGNAME, size=1 << 40),
        listed(["a"]) + member("x", type=tarfile.XHDTYPE, size=1 << 40),
        listed(["../a"]),
        listed(["/etc/passwd"]),
        listed(["a//b"]),
        listed([".."]),
        listed([""]),
        b"/\0./" + b"x" * (1 << 17),
        b"/\0a\0",
    ],
)
def test_nonsense_is_an_error_and_bounded(into: Path, stream: bytes) -> None:
    with pytest.raises(SandboxError, match="the image's own tools gave") as caught:
        fetch(into, stream, size=1 << 16)
    assert not isinstance(caught.value, Ended)
    assert {path.name for path in into.iterdir()} <= {"a"}


@pytest.mark.parametrize("length", [0, 1, 5, 12, 40, 530, 600])
def test_a_stream_that_ends_early_is_told_apart(into: Path, length: int) -> None:
    stream = listed(["a"]) + member("a", bytes(100))
    with pytest.raises(Ended, match="ended early"):
        fetch(into, stream[:length])


PARTS = st.sampled_from(["a", "b", "..", ".", "", "outside", "secret", "n" * 120])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join) | st.just("/etc/passwd")
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE]
)
MEMBERS = st.builds(
    lambda path, kind, target, content: member(path, content, type=kind, linkname=target),
    PATHS,
    KINDS,
    PATHS,
    st.binary(max_size=40),
)
LISTS = st.builds(listed, st.lists(PATHS, max_size=5), st.lists(PATHS, max_size=1))


@settings(max_examples=300, deadline=None)
@given(LISTS | st.binary(max_size=60), st.lists(MEMBERS, max_size=6), st.data())
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory,
    lists: bytes,
    members: list[bytes],
    data: st.DataObject,
) -> None:
    base = tmp_path_factory.mktemp("case")
    for name in ("into", "outside"):
        (base / name).mkdir()
    (base / "outside/secret").write_text("secret")
    stream = bytearray(lists + b"".join(members) + END)
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with suppress(OutputRefused, SandboxError, OSError):
        fetch(base / "into", bytes(stream), size=data.draw(st.integers(1, 2000)))
    assert {path.name for path in base.iterdir()} == {"into", "outside"}
    assert [path.read_text() for path in (base / "outside").iterdir()] == ["secret"]
    for path in (base / "into").rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or (path.is_file() and path.stat().st_nlink == 1)
        assert path.is_dir() or path.stat().st_size <= 1000


def test_the_scripts_are_no_format_strings() -> None:
    assert "kill -9 -1" in tarballs.PACK
    assert "/\\0/\\0/\\0" in tarballs.PACK
    assert "{{" not in tarballs.PACK
    assert "}}" not in tarballs.PACK
