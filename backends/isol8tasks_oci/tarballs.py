"""Files through the streams of a container's own `tar`, for an engine that shares none with us.

What comes back is believed in nothing: a name has to be one that was asked for, and a file has to
be regular. The module `tarfile` is not used for reading streams: it takes headers of any size into
memory, and loops on negative sizes (CVE-2025-8194).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from isol8tasks.backend.contract import EntryKind, OutputRefused, TreeEntry
from isol8tasks.backend.files import MAX_DEPTH, MAX_FILES, Outputs
from isol8tasks.errors import SandboxError

ROOT = "/sandbox"

_NEED = "for tool in {}; do command -v $tool >/dev/null || {{ echo $tool >&2; exit 127; }}; done"

UNPACK = f"""\
{_NEED.format("head rm tar wc")}
read -r size && head -c "$size" | {{
  tar -x -m -o -f - -C {ROOT}
  code=$?
  wc -c >/dev/null
  exit $code
}}
"""
"""For sh: unpack a tar with its size in a line ahead, as `tar` reads on to the end of a stream.

`-m` and `-o` as the other side's clock and uids are not ours. What `tar` leaves is read all the
same: unread it would reset the connection, and lose the complaint. `rm` is for `inside`.
"""

END = """\
left() {
  for each in /proc/[0-9]*; do
    state= uid=
    while read -r key value _; do
      case $key in State:) state=$value ;; Uid:) uid=$value; break ;; esac
    done <"$each/status"
    [ "$uid" = "$1" ] && [ "$each" != "/proc/$$" ] && [ "$state" != Z ] && return
  done 2>/dev/null
  return 1
}
tries=0
while kill -9 -1 2>/dev/null; left "$1"; do
  tries=$((tries + 1))
  [ $tries -lt 1000 ] || { echo "processes of the stage cannot be ended" >&2; exit 9; }
done
"""
"""For sh, run as the program's uid, which is its argument: end all others of this uid.

kill(2) with -1 spares its caller and the init, and no fork slips through: the kernel holds the list
of tasks meanwhile, and a fork by a process with SIGKILL pending fails. That leaves only the one who
kills us first; who wins that has no outputs.
"""

PACK = f"""{END}\
{_NEED.format("chmod find head tar xargs")}
chmod u+rwx {ROOT} 2>/dev/null
find {ROOT} -mindepth 1 -maxdepth 1 ! -type l -print0 | xargs -0 -r chmod -R u+rwX
cd -P "$2" 2>/dev/null && [ "$PWD" = "$2" ] || {{ printf '/\\0/\\0/\\0'; exit 0; }}
find . -mindepth {MAX_DEPTH} -maxdepth {MAX_DEPTH} -type d -print0 && printf '/\\0' &&
find . -type f -print0 && printf '/\\0' &&
find . ! -type f ! -type d -print0 && printf '/\\0' &&
case $(tar --version) in *GNU*) set -- --no-unquote ;; *) set -- ;; esac &&
read -r size && head -c "$size" | xargs -0 -r tar "$@" -c -f -
"""
"""For sh, with the uid and the working directory: three lists of names, each ended by a slash, of
what is too deep, of files and of what is neither file nor folder; then a tar of the files whose
names come in, each ended by a NUL, and their size in a line ahead. Contents that nobody wants never
move."""

_BLOCK = 512
_CHUNK = 1 << 16
_LONGEST = 1 << 16
"""Bytes of a name; more cannot be within MAX_DEPTH folders."""
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})


def packed(tree: Iterable[TreeEntry], workdir: str, *, uid: int) -> tuple[int, Iterator[bytes]]:
    """The size of a tar of a tree and the working directory, and the tar piece by piece."""
    links_last = sorted(tree, key=lambda entry: entry.kind is EntryKind.SYMLINK)
    measured = [(entry, _size_of(entry)) for entry in links_last]
    sizes = (len(head) + _filled(size) for head, _, size in _members(measured, workdir, uid))
    return sum(sizes) + 2 * _BLOCK, _pieces(_members(measured, workdir, uid))


def _size_of(entry: TreeEntry) -> int:
    if entry.source is None:
        return 0
    with entry.source() as source:
        return source.seek(0, os.SEEK_END)


def _filled(size: int) -> int:
    return size + -size % _BLOCK


_Member = tuple[bytes, TreeEntry | None, int]
"""A header, and the file that follows with so many bytes."""


def _members(
    measured: Iterable[tuple[TreeEntry, int]], workdir: str, uid: int
) -> Iterator[_Member]:
    made: set[str] = set()
    for header in _folders(f"{workdir}/" if workdir else "", made, uid):
        yield header, None, 0
    for entry, size in measured:
        for header in _folders(entry.path, made, uid):
            yield header, None, 0
        if entry.kind is EntryKind.SYMLINK:
            fields = {"type": tarfile.SYMTYPE, "linkname": entry.target}
            yield _header(entry.path, uid, **fields), None, 0
        else:
            mode = 0o755 if entry.executable else 0o644
            yield _header(entry.path, uid, mode=mode, size=size), entry, size


def _folders(path: str, made: set[str], uid: int) -> Iterator[bytes]:
    """Those above a path that were not there before."""
    at = path.find("/")
    while at >= 0:
        folder = path[:at]
        if folder not in made:
            made.add(folder)
            yield _header(folder, uid, type=tarfile.DIRTYPE, mode=0o755)
        at = path.find("/", at + 1)


def _pieces(members: Iterable[_Member]) -> Iterator[bytes]:
    for header, entry, size in members:
        yield header
        if entry is not None:
            yield from _content(entry, size)
            yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _content(entry: TreeEntry, size: int) -> Iterator[bytes]:
    """So many bytes of a file, also when it grows."""
    assert entry.source is not None  # noqa: S101 -- a file entry always has one
    with entry.source() as source:
        left = size
        while left:
            piece = source.read(min(left, _CHUNK))
            if not piece:
                raise SandboxError(f"the input {entry.path!a} became shorter while it was copied")
            left -= len(piece)
            yield piece


def _header(path: str, uid: int, **fields: object) -> bytes:
    info = tarfile.TarInfo(path)
    info.uid = info.gid = uid
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


class Ended(SandboxError):
    """A stream ended too early; how its program ended says why."""


class Arriving:
    """A stream of bytes that is read by size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._buffer = b""
        self._at = 0

    def some(self, most: int) -> bytes:
        """So many bytes or fewer; none at the end."""
        if self._at == len(self._buffer):
            self._buffer, self._at = next(self._pieces, b""), 0
        start, self._at = self._at, min(len(self._buffer), self._at + most)
        return self._buffer[start : self._at]

    def parts(self, size: int) -> Iterator[bytes]:
        """So many bytes, piece by piece."""
        while size:
            part = self.some(min(size, _CHUNK))
            if not part:
                raise Ended("the stream of the outputs ended early")
            size -= len(part)
            yield part

    def exactly(self, size: int) -> bytes:
        """So many bytes at once."""
        return b"".join(self.parts(size))

    def names(self) -> Iterator[bytes]:
        """What `find -print0` found, up to the slash that ends it, with memory for one name."""
        while (name := self._name()) != b"/":
            yield name

    def _name(self) -> bytes:
        found = b""
        while (end := self._buffer.find(b"\0", self._at)) < 0:
            found += self._buffer[self._at :]
            if len(found) > _LONGEST:
                raise _garbled("a name without an end")
            self._buffer, self._at = next(self._pieces, b""), 0
            if not self._buffer:
                raise Ended("the list of the outputs ended early")
        found += self._buffer[self._at : end]
        self._at = end + 1
        return found


def chosen(arriving: Arriving, outputs: Outputs) -> dict[bytes, str]:
    """Read the lists of `PACK`: the names of the files that are outputs, and where they go."""
    for _ in arriving.names():
        raise OutputRefused(f"folders nested deeper than {MAX_DEPTH}")
    wanted: dict[bytes, str] = {}
    for name in arriving.names():
        if (full := outputs.chosen(_path(name))) is not None:
            wanted[name] = full
            if len(wanted) > MAX_FILES:
                raise OutputRefused(f"more than {MAX_FILES} output files")
    for name in arriving.names():
        if (full := outputs.chosen(_path(name))) is not None:
            raise _irregular(full)
    return wanted


def _path(name: bytes) -> str:
    """A path of `find .`, relative and normalised."""
    start, *parts = name.split(b"/")
    if start != b"." or not parts or not {b"", b".", b".."}.isdisjoint(parts):
        raise _garbled("a path that is none")
    return os.fsdecode(name[2:])


def unpacked(arriving: Arriving, wanted: Mapping[bytes, str], outputs: Outputs) -> None:
    """Write the files that were asked for, from one tar or several in a row."""
    missing = {name[2:]: full for name, full in wanted.items()}
    written: dict[bytes, str] = {}
    for info in _headers(arriving):
        name = _name_of(info.name)
        full = missing.pop(name, None)
        if full is None:
            raise _garbled(f"{name[:100]!r}, which nobody asked for")
        if info.type in _FILES:
            pieces = arriving.parts(info.size)
            outputs.write(full, info.size, executable=_executable(info), pieces=pieces)
            arriving.exactly(-info.size % _BLOCK)
        elif info.type == tarfile.LNKTYPE and (first := written.get(_name_of(info.linkname))):
            _write_again(first, full, info, outputs)
        else:
            raise _irregular(full)
        written[name] = full
    if missing:
        raise _garbled(f"no {next(iter(missing))!r}")


def _write_again(first: str, full: str, info: tarfile.TarInfo, outputs: Outputs) -> None:
    """A hard link to a file that came before becomes a copy."""
    with outputs.read(first) as source:
        size = os.fstat(source.fileno()).st_size
        pieces = iter(partial(source.read, _CHUNK), b"")
        outputs.write(full, size, executable=_executable(info), pieces=pieces)


def _headers(arriving: Arriving) -> Iterator[tarfile.TarInfo]:
    """One for each entry; what follows it has to be read before the next."""
    longer: dict[bytes, str] = {}
    while first := arriving.some(_BLOCK):
        block = first + arriving.exactly(_BLOCK - len(first))
        if not any(block):
            continue
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise _garbled("no tar") from error
        if info.size < 0:
            raise _garbled("a negative size")
        if info.type in {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            if info.size > _LONGEST:
                raise _garbled("a name without an end")
            text = arriving.exactly(info.size + -info.size % _BLOCK)
            name = text[: info.size].partition(b"\0")[0]
            longer[info.type] = name.decode("utf-8", "surrogateescape")
            continue
        info.name = longer.pop(tarfile.GNUTYPE_LONGNAME, info.name)
        info.linkname = longer.pop(tarfile.GNUTYPE_LONGLINK, info.linkname)
        yield info


def _name_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape").removeprefix(b"./")


def _executable(info: tarfile.TarInfo) -> bool:
    return bool(info.mode & 0o100)


def _irregular(full: str) -> OutputRefused:
    return OutputRefused(f"the output {full!a} is a link or no regular file")


def _garbled(what: str) -> SandboxError:
    return SandboxError(
        f"the image's own tools gave {what}, when they were asked for the outputs",
        hint="the image needs the sh, find, xargs, chmod and tar of busybox or of GNU",
    )
