"""What the kernel counts for one container, read from its own control group while that is there.

Engines remove the group when a container ends, and their word on memory cannot be relied on: so the
files are opened beforehand, and read in the moment in which the first process is gone. When that
is too late, peak and processor time are still in the group around it, if that is ours (`groups`);
podman's own process for the container, of some 4 MB, counts there, too.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import time
from contextlib import suppress
from pathlib import Path

import attrs

from isol8tasks.backend.cgroup_tree import read, refused, write
from isol8tasks.model.limits import socket_memory
from isol8tasks_oci.groups import ours_around

_ROOT = Path("/sys/fs/cgroup")
_GROUP = re.compile(r"\d+:([^:]*):(.*)")
_OOM_KILL = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_USAGE = re.compile(rb"^usage_usec (\d+)$", re.MULTILINE)
_NEVER = 1 << 62
_PATIENCE, _SETTLED = 1.0, 0.05
"""Seconds for the word that a group was removed, and from then on for all of its words."""

SOCKETS_FILE = "memory.kmem.tcp.limit_in_bytes"

_EFD = os.EFD_CLOEXEC | os.EFD_NONBLOCK


@attrs.frozen(kw_only=True)
class Usage:
    """What a container used; None where it could not be read. `oom_killed` of any process."""

    oom_killed: bool | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


def groups_of(text: str, container: str) -> dict[str, str]:
    """By controller ("" for version 2), the group of a process, if it is the container's own.

    A rootless engine without delegation leaves its containers in the group of their user.
    """
    found = (_GROUP.fullmatch(line) for line in text.splitlines())
    return {
        controller: match[2]
        for match in found
        if match and container in match[2]
        for controller in match[1].split(",")
    }


class Accounts:
    """The open files of one container's groups. `read` and `close` once each."""

    def __init__(self, pid: int, container: str, *, root: Path = _ROOT) -> None:
        self._files: dict[str, list[int]] = {}
        self._event = self._sentinel = -1
        with suppress(OSError):
            groups = groups_of(Path(f"/proc/{pid}/cgroup").read_text(), container)
            if memory := groups.get("memory"):
                self._open_v1(root, memory, groups.get("cpuacct", ""))
            elif unified := groups.get(""):
                self._open_v2(root, unified)

    @property
    def found(self) -> bool:
        """Whether the container has groups of its own."""
        return bool(self._files)

    def _open_v1(self, root: Path, memory: str, cpu: str) -> None:
        folder = f"{root}/memory{memory}"
        _bound_sockets(folder)
        self._open("oom", f"{folder}/memory.oom_control")
        for group in filter(None, (memory, ours_around(memory))):
            self._open("peak", f"{root}/memory{group}/memory.max_usage_in_bytes")
        for group in filter(None, (cpu, ours_around(cpu))):
            self._open("nanoseconds", f"{root}/cpuacct{group}/cpuacct.usage")
        try:
            self._subscribe(folder)
        except OSError:
            self._unsubscribe()

    def _open_v2(self, root: Path, unified: str) -> None:
        for group in filter(None, (unified, ours_around(unified))):
            self._open("oom", f"{root}{group}/memory.events")
            self._open("peak", f"{root}{group}/memory.peak")
            self._open("cpu", f"{root}{group}/cpu.stat")

    def _open(self, name: str, path: str) -> None:
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._files.setdefault(name, []).append(file)

    def _subscribe(self, folder: str) -> None:
        """Also be told of an out-of-memory (cgroup v1, "memory.oom_control" and its notifier).

        A notifier is told once more when its group is removed; the sentinel, which waits for what
        never happens, is told of that only.
        """
        if "oom" not in self._files:
            return
        usage = os.open(f"{folder}/memory.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sentinel, self._event = os.eventfd(0, _EFD), os.eventfd(0, _EFD)
            control = f"{folder}/cgroup.event_control"
            write(control, f"{self._sentinel} {usage} {_NEVER}")
            write(control, f"{self._event} {self._files['oom'][0]}")
        finally:
            os.close(usage)

    def _unsubscribe(self) -> None:
        for file in (self._event, self._sentinel):
            if file >= 0:
                os.close(file)
        self._event = self._sentinel = -1

    def read(self) -> Usage:
        """What was used until now; call it as soon as the container's init is gone."""
        oom, peak = self._text("oom"), self._number("peak")
        killed = _matched(_OOM_KILL, oom)
        usage, nanoseconds = _matched(_USAGE, self._text("cpu")), self._number("nanoseconds")
        seconds = nanoseconds / 1e9 if nanoseconds is not None else None
        if usage is not None:
            seconds = usage / 1e6
        return Usage(
            oom_killed=self._told() if killed is None else killed > 0,
            peak_memory_bytes=peak,
            cpu_seconds=seconds,
        )

    def _told(self) -> bool | None:
        """By the notifier, when the group was removed already; None without one.

        Its own removal is told too, by work that the kernel does a moment later and in no certain
        order: so twice means that there was something else.
        """
        if self._event < 0:
            return None
        told = _count(self._event)
        if not told:
            return False
        gone = _wait(self._sentinel, _PATIENCE)
        deadline = time.monotonic() + _SETTLED
        while gone and told < 2 and time.monotonic() < deadline:
            time.sleep(0.002)
            told += _count(self._event)
        return told > 1 if gone or told > 1 else None

    def _text(self, name: str) -> bytes:
        for file in self._files.get(name, ()):
            with suppress(OSError):  # ENODEV: the group is gone
                return os.pread(file, 1 << 14, 0)
        return b""

    def _number(self, name: str) -> int | None:
        """More than nothing: a group that does not sum up what is in it says 0."""
        text = self._text(name).strip()
        return (int(text) or None) if text.isdigit() else None

    def close(self) -> None:
        """Close the files; may be repeated."""
        for file in itertools.chain.from_iterable(self._files.values()):
            os.close(file)
        self._files.clear()
        self._unsubscribe()


def _bound_sockets(folder: str) -> None:
    """What engines leave out: version 1 does not count the buffers of TCP and UDP with the rest."""
    limit, sockets = read(f"{folder}/memory.limit_in_bytes"), f"{folder}/{SOCKETS_FILE}"
    if limit is None:
        return
    try:
        write(sockets, str(socket_memory(int(limit))))
    except FileNotFoundError:
        return  # a kernel without that account
    except OSError as error:
        raise refused(f"write to {sockets}", error) from error


def _matched(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    match = pattern.search(text)
    return int(match[1]) if match else None


def _wait(event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(event, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _count(event: int) -> int:
    try:
        return os.eventfd_read(event)
    except BlockingIOError:
        return 0
