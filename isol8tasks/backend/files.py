"""Files into and out of a sandbox's folder, with no step through a name that it could have planted.

Every step is relative to an open folder and refuses links (openat with O_NOFOLLOW).
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Self

from isol8tasks.backend.contract import EntryKind, Fetched, OutputRefused, TreeEntry
from isol8tasks.errors import SandboxError
from isol8tasks.model.units import format_size

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
MAX_DEPTH = 100
MAX_FILES = 10_000
MAX_SECONDS = 30
"""For names that take long to match; copying does not count into a stage's own time either."""
MAX_PATH = 2048
"""Bytes; half of what Linux takes, so that there is room for the folder it is copied to."""


def place(tree: Iterable[TreeEntry], root: int, *, owner: int | None) -> None:
    """Write a tree below a fresh open folder that nothing runs in yet; links come last."""
    entries = sorted(tree, key=lambda entry: entry.kind is EntryKind.SYMLINK)
    with _Folders(root, owner) as folders:
        for entry in entries:
            *parents, name = entry.path.split("/")
            folder = folders.open(tuple(parents))
            if entry.kind is EntryKind.SYMLINK:
                os.symlink(entry.target, name, dir_fd=folder)
                if owner is not None:
                    os.chown(name, owner, owner, dir_fd=folder, follow_symlinks=False)
            else:
                _write(entry, name, folder, owner)


def not_placed(error: OSError, disk: int) -> SandboxError:
    """What to say when inputs did not get into a sandbox with so many bytes of disk."""
    why = error.strerror or ""
    if error.errno == errno.ENOSPC:
        why += f": they are more than disk={format_size(disk)} holds"
    return SandboxError(f"cannot place the inputs: {why}")


def make_folder(root: int, relative: str, *, owner: int | None) -> None:
    """Make sure that a folder below the open root is there."""
    with _Folders(root, owner) as folders:
        folders.open(tuple(relative.split("/")))


class _Folders:
    """Open folders below an open root, made as needed; few are open at a time."""

    def __init__(self, root: int, owner: int | None) -> None:
        self._owner = owner
        self._root = os.dup(root)
        self._path: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shorten(0)
        os.close(self._root)

    def open(self, parts: tuple[str, ...]) -> int:
        same = 0
        while same < min(len(parts), len(self._path)) and self._path[same][0] == parts[same]:
            same += 1
        self._shorten(same)
        for part in parts[same:]:
            self._path.append((part, self._enter(part)))
        return self._current

    @property
    def _current(self) -> int:
        return self._path[-1][1] if self._path else self._root

    def _enter(self, name: str) -> int:
        if name in {"", ".", ".."}:
            raise ValueError(f"not a normalised path: {name!r}")
        try:
            os.mkdir(name, 0o755, dir_fd=self._current)
        except FileExistsError:
            return os.open(name, _FOLDER, dir_fd=self._current)
        folder = os.open(name, _FOLDER, dir_fd=self._current)
        os.fchmod(folder, 0o755)
        if self._owner is not None:
            os.fchown(folder, self._owner, self._owner)
        return folder

    def _shorten(self, length: int) -> None:
        while len(self._path) > length:
            os.close(self._path.pop()[1])


def _write(entry: TreeEntry, name: str, folder: int, owner: int | None) -> None:
    assert entry.source is not None  # noqa: S101 -- a file entry always has one
    target = os.open(name, _CREATE, 0o600, dir_fd=folder)
    with open(target, "wb") as out, entry.source() as source:
        while piece := source.read(_CHUNK):
            out.write(piece)
        if owner is not None:
            os.fchown(target, owner, owner)
        os.fchmod(target, 0o755 if entry.executable else 0o644)


def collect(
    root: int, workdir: str, globs: tuple[str, ...], into: Path, *, max_bytes: int
) -> Fetched:
    """Copy what the globs match below the working directory; nothing runs in the sandbox any more.

    `root` is the open folder behind /sandbox.

    Only regular files come out, with the caller's ownership and plain modes.
    """
    with (
        _folder_below(root, workdir) as start,
        Outputs(workdir, globs, into, max_bytes=max_bytes) as outputs,
    ):
        for path, name, folder in _walk(start) if start is not None else ():
            full = outputs.chosen(path)
            if full is not None:
                _copy(full, name, folder, outputs)
        return outputs.fetched()


class Outputs:
    """Where outputs go: which are wanted, under which names, and how many bytes more may come."""

    def __init__(self, workdir: str, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> None:
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 -- many stages have no outputs

        self._workdir = workdir
        self._globs = globs
        self._specs = {glob: GitIgnoreSpec.from_lines([f"/{glob}"]) for glob in globs}
        self._matched: set[str] = set()
        self._copied: list[str] = []
        self._left = max_bytes
        self._deadline = time.monotonic() + MAX_SECONDS
        with _opened(into) as target:
            self._folders = _Folders(target, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._folders.__exit__(*error)

    def chosen(self, path: str) -> str | None:
        """The path below the root of what a glob matches below the working directory.

        OutputRefused for a name that must not come out.
        """
        if time.monotonic() > self._deadline:
            raise OutputRefused(f"looking for outputs took longer than {MAX_SECONDS} s")
        hits = [glob for glob, spec in self._specs.items() if spec.match_file(path)]
        if not hits:
            return None
        self._matched.update(hits)
        full = f"{self._workdir}/{path}" if self._workdir else path
        shown = ascii(full)
        if any(ord(each) < 0x20 or 0xDC80 <= ord(each) <= 0xDCFF for each in full):
            raise OutputRefused(
                f"the output {shown} has control characters or broken text in its name"
            )
        if len(os.fsencode(full)) > MAX_PATH:
            raise OutputRefused(f"an output has a path longer than {MAX_PATH} bytes")
        return full

    def write(self, full: str, size: int, *, executable: bool, pieces: Iterable[bytes]) -> None:
        """Write one output of so many bytes; OutputRefused when that is too much."""
        if size > self._left:
            raise OutputRefused(f"the outputs are larger than the disk limit, at {full!a}")
        self._left -= size
        *parents, last = full.split("/")
        target = os.open(last, _CREATE, 0o600, dir_fd=self._folders.open(tuple(parents)))
        with open(target, "wb") as copy:
            copy.writelines(pieces)
            os.fchmod(target, 0o755 if executable else 0o644)
        self._copied.append(full)
        if len(self._copied) > MAX_FILES:
            raise OutputRefused(f"more than {MAX_FILES} output files")

    def read(self, full: str) -> IO[bytes]:
        """Open an output that was written."""
        *parents, last = full.split("/")
        return open(os.open(last, _READ, dir_fd=self._folders.open(tuple(parents))), "rb")

    def fetched(self) -> Fetched:
        """What came."""
        unmatched = tuple(glob for glob in self._globs if glob not in self._matched)
        return Fetched(paths=tuple(sorted(self._copied)), unmatched=unmatched)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    folder = os.open(path, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _folder_below(root: int, relative: str) -> Iterator[int | None]:
    """The open working directory; None when the stage replaced it by something else."""
    with ExitStack() as stack:
        _make_passable(root)
        folder = root
        for part in relative.split("/") if relative else ():
            inner = _enter(part, folder)
            if inner is None:
                yield None
                return
            stack.callback(os.close, inner)
            folder = inner
        yield folder


def _enter(name: str, parent: int) -> int | None:
    """Open a folder even when its mode says no; None when it is no folder."""
    if not _is_folder(name, parent):
        return None
    try:
        folder = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _set_mode(name, 0o700, parent)
        folder = os.open(name, _FOLDER, dir_fd=parent)
    _make_passable(folder)
    return folder


def _set_mode(name: str, mode: int, parent: int) -> None:
    """Of what has this name; not of what a link there leads to, which fchmodat would follow."""
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(found).st_mode):
            os.chmod(f"/proc/self/fd/{found}", mode)
    finally:
        os.close(found)


def _make_passable(folder: int) -> None:
    """Let us see and enter what is in an open folder, where we are no root that may anyway."""
    if os.geteuid() != 0 and os.fstat(folder).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(folder, 0o700)


def _walk(start: int) -> Iterator[tuple[str, str, int]]:
    """Everything but folders: path, name and the open folder that it is in; iteratively."""
    stack: list[tuple[str, int, Iterator[str]]] = [("", os.dup(start), iter(_names(start)))]
    try:
        while stack:
            prefix, folder, names = stack[-1]
            name = next(names, None)
            if name is None:
                os.close(stack.pop()[1])
                continue
            inner = _enter(name, folder)
            if inner is None:
                yield prefix + name, name, folder
            elif len(stack) >= MAX_DEPTH:
                os.close(inner)
                raise OutputRefused(f"folders nested deeper than {MAX_DEPTH}")
            else:
                stack.append((f"{prefix}{name}/", inner, iter(_names(inner))))
    finally:
        for _, folder, _names_left in stack:
            os.close(folder)


def _names(folder: int) -> list[str]:
    return sorted(os.listdir(folder))


def _is_folder(name: str, folder: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _copy(full: str, name: str, folder: int, outputs: Outputs) -> None:
    with open(_open_output(name, folder, ascii(full)), "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OutputRefused(f"the output {full!a} is not a regular file")
        outputs.write(
            full,
            found.st_size,
            executable=bool(found.st_mode & stat.S_IXUSR),
            pieces=iter(partial(source.read, _CHUNK), b""),
        )


def _open_output(name: str, folder: int, shown: str) -> int:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if stat.S_ISREG(mode) and not mode & stat.S_IRUSR:
        _set_mode(name, 0o600, folder)
    try:
        return os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.EACCES}:
            raise OutputRefused(f"the output {shown} is a link or no regular file") from None
        raise
