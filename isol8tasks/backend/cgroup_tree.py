"""Folders of control groups: read, write, kill what is in them, remove them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress

from isol8tasks.errors import SandboxError

_AT_ONCE = 256
"""How many processes to hold open while killing, far below any limit of open files."""

_GRACE = 5.0
"""Seconds for killed processes to leave their group: it takes milliseconds."""


def read(path: str) -> str | None:
    """The text of a file, None when it is not there or not for us."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return b"".join(iter(lambda: os.read(file, 1 << 16), b"")).decode()
    except OSError:
        return None
    finally:
        os.close(file)


def write(path: str, value: str) -> None:
    """Write a value at once, as the kernel wants it."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)


def refused(what: str, error: OSError) -> SandboxError:
    """What was tried, and what the kernel said."""
    return SandboxError(f"cannot {what}: {error.strerror}")


def groups(folder: str) -> Iterator[str]:
    """A group and all groups in it, from the outermost; nothing when it is gone."""
    try:
        nested = os.stat(folder).st_nlink > 2
    except OSError:
        return
    yield folder
    for child in children(folder) if nested else ():
        yield from groups(child)


def children(folder: str) -> list[str]:
    """The groups right below a group."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def processes(folders: Iterable[str]) -> set[int]:
    """Every process in these groups and below, but for those that our pid namespace hides."""
    return {
        int(pid)
        for folder in folders
        for group in groups(folder)
        for pid in (read(f"{group}/cgroup.procs") or "").split()
    } - {0}


def kill(folders: Sequence[str]) -> None:
    """Kill every process in these groups and below, forks in flight included; never ourselves."""
    if all(_kill_at_once(folder) for folder in folders):
        return
    for folder in folders:  # nobody forks any more
        for group in groups(folder):
            with suppress(OSError):
                write(f"{group}/pids.max", "0")
    done = {os.getpid()}  # a thread that is just starting something here belongs to us
    while found := sorted(processes(folders) - done):
        _signal(found[:_AT_ONCE], folders)
        done.update(found[:_AT_ONCE])


def _kill_at_once(folder: str) -> bool:
    """By version 2 from Linux 5.14 on."""
    try:
        write(f"{folder}/cgroup.kill", "1")
    except OSError:
        return not os.path.exists(folder)
    return True


def _signal(pids: Iterable[int], folders: Sequence[str]) -> None:
    """A handle that was taken before the pid is seen inside can be of no stranger."""
    with ExitStack() as stack:
        handles = {}
        for pid in pids:
            with suppress(OSError):
                handles[pid] = os.pidfd_open(pid)
                stack.callback(os.close, handles[pid])
        for pid in handles.keys() & processes(folders):
            with suppress(OSError):
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)


def remove(folders: Sequence[str], *, grace: float = _GRACE) -> tuple[str, ...]:
    """Remove groups with all that is in them; which ones were still there after `grace` seconds."""
    left = _still_there(folders)
    deadline, pause = time.monotonic() + grace, 0.0005
    while left and time.monotonic() < deadline:
        kill(left)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
        left = _still_there(left)
    return left


def _still_there(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(folder for folder in folders if not _removed(folder))


def _removed(folder: str) -> bool:
    for group in reversed(list(groups(folder))):
        with suppress(OSError):
            os.rmdir(group)
    return not os.path.exists(folder)
