"""What a stage may use, and how firmly a host can hold it to that."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from isol8tasks.model.units import parse_count, parse_cpus, parse_duration, parse_size

_LEAST_MEMORY = 1 << 20
"""Bytes; no program starts with less, so that it is a mistake."""


class Limit(enum.StrEnum):
    """A limit by the name that a task file uses."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPUS = "cpus"
    PIDS = "pids"
    DISK = "disk"
    OUTPUT = "output_limit"


class Enforcement(enum.StrEnum):
    """How a host holds a limit.

    `enforced`: the kernel accounts for the whole process tree. `approximate`: per process, or by
    looking at the tree now and then.
    `none`: not at all. `unverified`: it is claimed, but did not trip when it was tried.
    """

    ENFORCED = "enforced"
    APPROXIMATE = "approximate"
    UNVERIFIED = "unverified"
    NONE = "none"


@attrs.frozen(kw_only=True)
class Limits:
    """Ceilings of one stage; `stated` names those that the task file wrote down itself.

    Units: `timeout` in seconds of wall time, `memory`, `disk` and `output_limit` in bytes,
    `cpus` in processors, `pids` in processes and threads.
    """

    timeout: float = attrs.field(default=30.0, converter=parse_duration)
    memory: int = attrs.field(default=512 << 20, converter=parse_size)
    cpus: float = attrs.field(default=1.0, converter=parse_cpus)
    pids: int = attrs.field(default=256, converter=parse_count)
    disk: int = attrs.field(default=256 << 20, converter=parse_size)
    output_limit: int = attrs.field(default=64 << 20, converter=parse_size)
    stated: frozenset[Limit] = frozenset()

    @classmethod
    def of(cls, **stated: Any) -> Limits:
        """Limits from the words of a task file, None for the default. ValueError names the word."""
        given = {name: value for name, value in stated.items() if value is not None}
        converters = {field.name: field.converter for field in attrs.fields(cls)}
        for name, value in given.items():
            try:
                converters[name](value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        limits = cls(**given, stated=frozenset(Limit(name) for name in given))
        if limits.memory < _LEAST_MEMORY:
            raise ValueError(
                f"memory: {given['memory']!r} is less than 1m: write 512m; "
                "a number without a unit is bytes"
            )
        if Limit.DISK not in limits.stated and limits.disk >= limits.memory:
            limits = attrs.evolve(limits, disk=max(1, limits.memory // 2))
        return limits


def socket_memory(memory: int) -> int:
    """Bytes of buffers of TCP and UDP beside so many bytes of memory.

    For version 1 of control groups, where they are an account of their own.
    """
    return max(1, memory // 8)
