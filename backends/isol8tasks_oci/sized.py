"""Folders of a bounded size, mounted where the engine sees them. Needs the right to mount."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 2, 4, 8, 32, 4096
MNT_DETACH = 2

PLACES = ("sandbox", "tmp", "shm")
"""What a container has as /sandbox, /tmp and /dev/shm; only the first may hold programs."""

_libc = ctypes.CDLL(None, use_errno=True)


def make(folder: Path, *, uid: int, size: int, inodes: int) -> None:
    """Mount the three places of one sandbox, which share `size` bytes and so many inodes."""
    folder.mkdir(0o700)
    options = f"size={size},nr_inodes={inodes},mode=0711"
    _mount("isol8tasks", folder, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for name in PLACES:
        place = folder / name
        place.mkdir()
        os.chown(place, uid, uid)
        place.chmod(0o700 if name == "sandbox" else 0o1777)
        if name != "sandbox":
            _mount(str(place), place, None, MS_BIND)
            _mount("none", place, None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def unmake(folder: Path) -> None:
    """Unmount what is mounted below; its memory is free with the last that uses it."""
    for path in mounts_below(folder):
        _checked(_libc.umount2(os.fsencode(path), MNT_DETACH), f"umount {path}")


def mounts_below(folder: Path) -> list[str]:
    """What is mounted at a folder and below it, the innermost first."""
    folder = folder.resolve()  # as the kernel did
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [_unescaped(line.split()[4]) for line in lines]
    return [path for path in reversed(points) if f"{path}/".startswith(f"{folder}/")]


def _unescaped(path: bytes) -> str:
    """As proc_pid_mountinfo(5) writes white space and backslashes: by three octal digits."""
    plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)
    return os.fsdecode(plain)


def _mount(source: str, target: Path, kind: str | None, flags: int, options: str = "") -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )
    _checked(result, f"mount {target}")


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
