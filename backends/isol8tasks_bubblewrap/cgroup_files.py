"""What to write into a group, and what its files say, for both versions of control groups."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import attrs

from isol8tasks.model.limits import Limits, socket_memory
from isol8tasks_bubblewrap.cgroup_layout import Branch

_PERIOD = 100_000
_LEAST_QUOTA = 1000
_MOST_PIDS = 1 << 22
"""The kernel's own bound (PID_MAX_LIMIT); it refuses more."""

Read = Callable[[str], str | None]
"""The text of a file of the group, None when the kernel does not offer it."""


@attrs.frozen(kw_only=True)
class Setting:
    """A value to write; an errno in `unless` means that nothing is lost without it."""

    file: str
    value: str
    unless: frozenset[int] = frozenset()


@attrs.frozen(kw_only=True)
class Usage:
    """What a group's processes used; None is what this host does not count.

    `oom_killed`: the kernel killed one of them for want of memory. `peak_memory_bytes` includes
    page cache and memory-backed files. `pids_denied`: a fork failed at the limit.
    """

    oom_killed: bool = False
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    pids_denied: bool = False


def settings(branch: Branch, limits: Limits) -> tuple[Setting, ...]:
    """What makes a group of this branch hold the limits, in the order to write it."""
    cpus = limits.cpus < (os.cpu_count() or 1)
    return tuple(
        setting
        for name, wanted in (("memory", True), ("pids", True), ("cpu", cpus))
        if wanted and name in branch.controllers
        for setting in _SETTINGS[branch.version, name](limits)
    )


def _memory_1(limits: Limits) -> tuple[Setting, ...]:
    """The sum with swap is never below the memory alone, so it comes second.

    Version 1 counts the buffers of TCP and UDP apart, and not at all where nobody sets their limit.
    """
    memory, sockets = str(limits.memory), str(socket_memory(limits.memory))
    return (
        Setting(file="memory.limit_in_bytes", value=memory),
        Setting(file="memory.memsw.limit_in_bytes", value=memory, unless=_NO_SUCH_FILE),
        Setting(file="memory.kmem.tcp.limit_in_bytes", value=sockets, unless=_NO_SUCH_FILE),
    )


def _cpu_1(limits: Limits) -> tuple[Setting, ...]:
    """EINVAL: a group above us has less already, and version 1 takes no more than that."""
    refused = frozenset({errno.EINVAL})
    return (
        Setting(file="cpu.cfs_period_us", value=str(_PERIOD), unless=refused),
        Setting(file="cpu.cfs_quota_us", value=str(_quota(limits)), unless=refused),
    )


def _memory_2(limits: Limits) -> tuple[Setting, ...]:
    return (
        Setting(file="memory.max", value=str(limits.memory)),
        Setting(file="memory.swap.max", value="0", unless=_NO_SUCH_FILE),
    )


def _cpu_2(limits: Limits) -> tuple[Setting, ...]:
    return (Setting(file="cpu.max", value=f"{_quota(limits)} {_PERIOD}"),)


def _pids(limits: Limits) -> tuple[Setting, ...]:
    return (Setting(file="pids.max", value=str(min(limits.pids, _MOST_PIDS))),)


def _quota(limits: Limits) -> int:
    """Microseconds of processor time in each period."""
    return max(_LEAST_QUOTA, int(limits.cpus * _PERIOD))


_NO_SUCH_FILE = frozenset({errno.ENOENT})
_SETTINGS: dict[tuple[int, str], Callable[[Limits], tuple[Setting, ...]]] = {
    (1, "memory"): _memory_1,
    (1, "pids"): _pids,
    (1, "cpu"): _cpu_1,
    (2, "memory"): _memory_2,
    (2, "pids"): _pids,
    (2, "cpu"): _cpu_2,
}


def peak_memory(branch: Branch, read: Read) -> int | None:
    """The most bytes that were in use at a time."""
    if "memory" not in branch.controllers:
        return None
    return _number(read("memory.max_usage_in_bytes" if branch.version == 1 else "memory.peak"))


def cpu_seconds(branch: Branch, read: Read) -> float | None:
    """Processor time; version 2 counts it without its controller, version 1 by cpuacct."""
    if branch.version == 2:
        microseconds = field(read("cpu.stat"), "usage_usec")
        return None if microseconds is None else microseconds / 1e6
    nanoseconds = _number(read("cpuacct.usage")) if "cpuacct" in branch.controllers else None
    return None if nanoseconds is None else nanoseconds / 1e9


def oom_killed(branch: Branch, read: Read) -> bool:
    """Whether a process that was in this very group was killed for want of memory."""
    if "memory" not in branch.controllers:
        return False
    file = "memory.oom_control" if branch.version == 1 else "memory.events"
    return bool(field(read(file), "oom_kill"))


def pids_denied(branch: Branch, read: Read) -> bool:
    """Whether a fork in this very group failed at its limit."""
    return "pids" in branch.controllers and bool(field(read("pids.events"), "max"))


def throttled(branch: Branch, read: Read) -> bool:
    """Whether the processor quota ever stopped the group."""
    return "cpu" in branch.controllers and bool(field(read("cpu.stat"), "nr_throttled"))


def field(text: str | None, name: str) -> int | None:
    """The number behind a name, in a file of one `name number` a line."""
    for line in (text or "").splitlines():
        word, _, number = line.partition(" ")
        if word == name:
            return int(number)
    return None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
