"""The writable places of a sandbox that runs near: files in, files out, and whether they are full.

Root mounts them itself. A rootless engine has mounts of its own, so there a process of ours that
entered its namespaces does the same work (`_near_helper`): it is root over the engine's uids and
no more than its user outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from isol8tasks.backend.contract import Fetched, TreeEntry
from isol8tasks.backend.files import collect, make_folder, place
from isol8tasks_oci import sized

_BYTES_PER_INODE = 4096
_FEWEST_INODES = 1024


def inodes_of(size: int) -> int:
    """How many files may be in so many bytes."""
    return max(_FEWEST_INODES, size // _BYTES_PER_INODE)


class Places(Protocol):
    """Makes the places of sandboxes, each below a folder of its own."""

    def make(self, folder: Path, *, uid: int, size: int, workdir: str) -> None:
        """Make the places below a folder that is not there yet, with the working directory."""
        ...

    def put(self, folder: Path, tree: Iterable[TreeEntry], *, uid: int) -> None:
        """Place inputs before anything runs."""
        ...

    def fetch(
        self, folder: Path, workdir: str, globs: tuple[str, ...], into: Path, *, max_bytes: int
    ) -> Fetched:
        """Copy outputs when nothing runs any more."""
        ...

    def full(self, folder: Path) -> bool:
        """Whether no block or no inode is left."""
        ...

    def unmake(self, folder: Path) -> None:
        """Unmount the places below a folder, which stays; harmless when there are none."""
        ...

    def close(self) -> None:
        """End what was started for this."""
        ...


class OwnPlaces:
    """By mounts of this process, which has to be root among those that see them."""

    def make(self, folder: Path, *, uid: int, size: int, workdir: str) -> None:
        """Make the places and the working directory."""
        sized.make(folder, uid=uid, size=size, inodes=inodes_of(size))
        if workdir:
            with _Opened(folder / "sandbox") as root:
                make_folder(root, workdir, owner=uid)

    def put(self, folder: Path, tree: Iterable[TreeEntry], *, uid: int) -> None:
        """Place inputs before anything runs."""
        with _Opened(folder / "sandbox") as root:
            place(tree, root, owner=uid)

    def fetch(
        self, folder: Path, workdir: str, globs: tuple[str, ...], into: Path, *, max_bytes: int
    ) -> Fetched:
        """Copy outputs when nothing runs any more."""
        with _Opened(folder / "sandbox") as root:
            return collect(root, workdir, globs, into, max_bytes=max_bytes)

    def full(self, folder: Path) -> bool:
        """Whether no block or no inode is left."""
        space = os.statvfs(folder)
        return not space.f_bfree or not space.f_ffree

    def unmake(self, folder: Path) -> None:
        """Unmount the places below a folder."""
        sized.unmake(folder)

    def close(self) -> None:
        """Nothing was started."""


class _Opened:
    """An open folder; a stage cannot have replaced it, for it is a mount's own."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._file

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
