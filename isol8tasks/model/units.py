"""Durations and sizes as people write them."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class _Quantity(NamedTuple):
    what: str
    how: str
    largest: int

    def malformed(self, written: object) -> ValueError:
        return ValueError(f"{written!r} is not {self.what}: write {self.how}")

    def within(self, value: object, written: object) -> float | int:
        """The value, when it is a number above zero that a machine takes; ValueError otherwise."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.malformed(written)
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{written!r} is not {self.what} above zero: write {self.how}")
        if value > self.largest:
            raise ValueError(f"{written!r} is too large for {self.what}: write {self.how}")
        return value


_KERNEL_MAX = (1 << 63) - 1
_YEAR = 366 * 24 * 3600  # a timer takes no more than some centuries: threading.TIMEOUT_MAX
_DURATION = _Quantity("a duration", "500ms, 30s, 2m, 1h or seconds", _YEAR)
_SIZE = _Quantity("a size", "64k, 512m, 1g or bytes", _KERNEL_MAX)
_COUNT = _Quantity("a whole number", "1, 2, 3 …", _KERNEL_MAX)
_CPUS = _Quantity("a number of cpus", "0.5, 1, 2 …", _KERNEL_MAX)


def parse_duration(value: str | float) -> float:
    """Seconds from `500ms`, `30s`, `2m`, `1h` or a number, also as text; ValueError otherwise."""
    number: object = value
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|s|m|h|)", value)
        if not match:
            raise _DURATION.malformed(value)
        number = float(match[1]) * _SECONDS[match[2]]
    return float(_DURATION.within(number, value))


def parse_size(value: str | int) -> int:
    """Bytes from `64k`, `512m`, `1g` (powers of 1024) or a number; ValueError otherwise."""
    number: object = value
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,19})([kmgtKMGT]?)", value)
        if not match:
            raise _SIZE.malformed(value)
        number = int(match[1]) * _BYTES[match[2].lower()]
    if isinstance(value, float):
        raise _SIZE.malformed(value)
    return int(_SIZE.within(number, value))


def parse_count(value: int) -> int:
    """A whole number above zero; ValueError otherwise."""
    if isinstance(value, float):
        raise _COUNT.malformed(value)
    return int(_COUNT.within(value, value))


def parse_cpus(value: float) -> float:
    """A number of processors above zero, such as 0.5 or 2; ValueError otherwise."""
    return float(_CPUS.within(value, value))


def format_duration(seconds: float) -> str:
    """Seconds for a person: `0.42s`, `12.3s`, `2m05s`, `1h02m`."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


def format_size(size: int) -> str:
    """Bytes in the largest unit that divides them evenly: `512m`, `1g`, `1000`."""
    for unit in ("t", "g", "m", "k"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)
