"""Temporary folders that belong to a living process, and removing what strangers wrote."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from isol8tasks.errors import StoreError


class ClaimedFolder:
    """A folder that is ours until we close it or die.

    The claim is a lock (flock) on a file beside it, which the kernel releases with the process: so
    nobody has to guess from a pid whether the owner of a leftover still lives.
    """

    def __init__(self, parent: Path, *, mode: int = 0o700) -> None:
        try:
            self._lock_path, self._lock = _claim(parent)
            self.path = self._lock_path.with_suffix("")
            self.path.mkdir()
            self.path.chmod(mode)
        except OSError as error:
            raise StoreError(f"cannot make a folder in {parent}: {error.strerror}") from error

    def close(self) -> None:
        """Remove the folder and give up the claim; may be repeated."""
        if self._lock < 0:
            return
        remove_tree(self.path)
        if not os.path.lexists(self.path):  # else a later sweep tries again
            self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1


def draft_of(path: Path) -> Path:
    """Where to write what `path` is to be, before one rename: nobody else writes there."""
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")


def make_folder(folder: Path) -> None:
    """Make a folder that sandboxes of other uids can pass through, whatever our umask is."""
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            path.chmod(0o755)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {folder}: {error.strerror}",
            hint="set another one with the setting 'cache' (ISOL8TASKS_CACHE)",
        ) from error


def sweep_claims(parent: Path, release: Callable[[Path], None] = lambda _folder: None) -> int:
    """Remove the folders whose owner is gone; how many that was.

    `release` is called before, and frees what is mounted in such a folder; OSError leaves it.
    """
    return sum(_sweep_claim(path, release) for path in sorted(parent.glob("*.lock")))


def remove_tree(path: Path) -> None:
    """Remove a tree, whatever modes, names and depth a stranger gave it; follows no link."""
    if path.is_symlink():  # chmod would follow one that it is given by name
        path.unlink(missing_ok=True)
        return
    with suppress(RecursionError, OSError):
        shutil.rmtree(path)
    if os.path.lexists(path):
        subprocess.run(["/bin/chmod", "-R", "u+rwx", "--", path], check=False, capture_output=True)
        subprocess.run(["/bin/rm", "-rf", "--", path], check=False, capture_output=True)


def _claim(parent: Path) -> tuple[Path, int]:
    while True:
        path = parent / f"{secrets.token_hex(6)}.lock"
        lock = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a sweeper was quicker, and removes it
            os.close(lock)
            continue
        if os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)


def _sweep_claim(path: Path, release: Callable[[Path], None]) -> bool:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = path.with_suffix("")
        if folder.is_dir() and not folder.is_symlink():
            release(folder)
            remove_tree(folder)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def reachable_by_others(path: Path) -> bool:
    """Whether any user can read this: every folder above lets others through, and so does it."""
    for folder in path.resolve().parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            return False
    mode = path.stat().st_mode
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return mode & needed == needed
