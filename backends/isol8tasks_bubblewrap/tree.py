"""Folders of the image store: copy, own, seal, digest. No link is ever followed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from isol8tasks.backend.folders import reachable_by_others, remove_tree
from isol8tasks.errors import ImageError, StoreError
from isol8tasks.model.digest import Digest


def reachable(path: str | Path, uid: int | None) -> bool:
    """Whether a sandbox of this uid can read the path; None is the caller's own uid."""
    if uid is None:
        return os.access(path, os.R_OK)
    try:
        return reachable_by_others(Path(path))
    except OSError:
        return False


def walk(root: str | Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below a folder, a folder before what is in it, sorted by name."""
    pending = [iter(_sorted(root))]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            pending.append(iter(_sorted(entry.path)))


def _sorted(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def clone(source: Path, target: Path) -> None:
    """Copy a folder to a place where nothing is, sharing blocks where the file system can."""
    with translated(f"copying {source}", target.parent):
        if not _copied(source, target):
            remove_tree(target)
            shutil.copytree(source, target, symlinks=True)


def _copied(source: Path, target: Path) -> bool:
    command = ["/bin/cp", "-a", "--reflink=auto", "--", str(source), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def own(root: Path, uid: int | None) -> None:
    """Give a folder and all that is in it to this uid; None: leave it."""
    if uid is None:
        return
    os.lchown(root, uid, uid)
    for entry in walk(root):
        os.lchown(entry.path, uid, uid)


def seal(root: Path, *, owner: int | None) -> None:
    """Make a folder the owner's, readable by all, writable by no other, without setuid bits."""
    own(root, owner)
    _seal_one(str(root), root.lstat())
    for entry in walk(root):
        found = entry.stat(follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            _seal_one(entry.path, found)


def _seal_one(path: str, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        name = path.rpartition("/")[2]
        raise ImageError(
            f"the image contains {name!r}, which is neither a file nor a folder",
            hint="leave out the package that makes a device, a socket or a pipe",
        )
    executable = stat.S_ISDIR(found.st_mode) or found.st_mode & 0o111
    mode = (found.st_mode & 0o755) | (0o555 if executable else 0o444)
    if mode != stat.S_IMODE(found.st_mode):
        os.chmod(path, mode)


def digest(root: Path) -> Digest:
    """The digest of paths, modes, contents and link targets; compiled Python does not count."""
    total, size = hashlib.sha256(), 0
    for entry in walk(root):
        if entry.name.endswith(".pyc") or entry.name == "__pycache__":
            continue
        found = entry.stat(follow_symlinks=False)
        fields = (entry.path[len(str(root)) :], f"{found.st_mode:o}", _content(entry, found), "")
        total.update("\0".join(fields).encode("utf-8", "surrogateescape"))
        size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return Digest(total.hexdigest(), size)


def _content(entry: os.DirEntry[str], found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(entry.path)
    return "" if stat.S_ISDIR(found.st_mode) else file_hash(entry.path)


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def translated(doing: str, folder: Path | None = None) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that says what was done, in which folder."""
    try:
        yield
    except OSError as error:
        number, text = _cause(error)
        full = number in {errno.ENOSPC, errno.EDQUOT}
        where = f" in {folder}" if folder else ""
        message = f"the image store failed while {doing}: {text}"
        if full:
            message = f"no space left{where} while {doing}"
        raise StoreError(message, hint=disk_hint(full)) from error


def _cause(error: OSError) -> tuple[int | None, str]:
    """Its number and text; the first one of the many that copying a tree collects."""
    if not isinstance(error, shutil.Error):
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        return error.errno, f"{error.strerror or error}{where}"
    found = error.args[0]
    text = str(found[0][-1] if found and isinstance(found, list) else found)
    number = re.match(r"\[Errno (\d+)\]", text)
    return int(number[1]) if number else None, text


def disk_hint(full: bool) -> str:
    """What to do about a full disk."""
    remedy = "make room, or set another folder with the setting 'cache' (ISOL8TASKS_CACHE)"
    return remedy if full else ""
