"""Which part of the stages one of several machines runs."""

from __future__ import annotations

import heapq
import math
import re
from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import UsageError
from isol8tasks.model.digest import Digest, digest_of_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST = 10_000
_CHOICES = 4
_SHORTEST = 0.125  # seconds: below, a stage costs what starting it costs
_ROOT_OF_HALF = 0.7071067811865476


@attrs.frozen
class Shard:
    """One of `count` parts of a run; `number` counts from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that is written `2/5`; UsageError for anything else."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if not match:
            raise UsageError(
                f"{text!r} is not a shard",
                hint="write which one, of how many: 2/5 is the second of five",
            )
        number, count = int(match[1]), int(match[2])
        if not 1 <= count <= _MOST:
            raise UsageError(
                f"{text!r} is not a shard: there cannot be {count} of them",
                hint=f"split a run into 1 to {_MOST} shards, such as 2/5",
            )
        if not 1 <= number <= count:
            raise UsageError(
                f"{text!r} is not a shard: there is no number {number}",
                hint=f"the shards of {count} are 1/{count} to {count}/{count}",
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def share(names: Sequence[str], durations: Mapping[str, float], shard: Shard) -> tuple[str, ...]:
    """The names that are this shard's, in the order given; `durations` are seconds.

    Every name is in exactly one shard. Who gets what depends on nothing but the names, the count
    and the durations of these names, rounded to powers of √2: noise within such a step changes
    nothing, and noise across one moves few others. A name whose duration is not known takes the
    median of those that are. In rounded durations, the fullest shard has at most the longest stage
    more than the emptiest.
    """
    numbers = _numbers(names, durations, shard.count)
    return tuple(name for name, number in numbers.items() if number == shard.number)


def partition_id(names: Sequence[str], durations: Mapping[str, float], count: int) -> str:
    """8 hexadecimal digits, the same on two machines exactly when they partition alike."""
    parts: list[list[str]] = [[] for _ in range(count)]
    for name, number in sorted(_numbers(names, durations, count).items()):
        parts[number - 1].append(name)
    return digest_of_value(parts).hash[:8]


def _numbers(names: Sequence[str], durations: Mapping[str, float], count: int) -> dict[str, int]:
    """The number of each name's shard, in the order of the names."""
    weights = _weights(names, durations)
    marks = {name: _mark(name) for name in weights}
    shards = _Shards(count, sum(weights.values()))
    longest_first = sorted(weights, key=lambda name: (-weights[name], marks[name]))
    numbers = {name: shards.take(weights[name], marks[name]) + 1 for name in longest_first}
    return {name: numbers[name] for name in weights}


class _Shards:
    """How full the shards are.

    The least loaded shard for each stage would be the best balance, but then one stage that is
    added or slower moves nearly all that come after it. So a stage goes where its name leads it
    while there is room below the mean, and to the least loaded shard otherwise: only that takes a
    shard above the mean, and by no more than the stage's weight above the emptiest.
    """

    def __init__(self, count: int, total: int) -> None:
        self._loads = [0] * count
        self._total = total
        self._by_load = [(0, shard) for shard in range(count)]

    def take(self, weight: int, mark: int) -> int:
        """The shard of the next stage, from 0."""
        shard = self._preferred(weight, mark)
        self._loads[shard] += weight
        heapq.heappush(self._by_load, (self._loads[shard], shard))
        return shard

    def _preferred(self, weight: int, mark: int) -> int:
        for _ in range(_CHOICES):
            mark, shard = divmod(mark, len(self._loads))
            if (self._loads[shard] + weight) * len(self._loads) <= self._total:
                return shard
        return self._least_loaded()

    def _least_loaded(self) -> int:
        while True:
            load, shard = self._by_load[0]
            if load == self._loads[shard]:
                return shard
            heapq.heappop(self._by_load)  # it was so before the shard took more


def _weights(names: Sequence[str], durations: Mapping[str, float]) -> dict[str, int]:
    known = {name: durations[name] for name in names if _is_duration(durations.get(name))}
    usual = _median(sorted(known.values()))
    return {name: _rounded(known.get(name, usual)) for name in names}


def _is_duration(seconds: float | None) -> bool:
    return seconds is not None and math.isfinite(seconds) and seconds >= 0


def _median(ordered: Sequence[float]) -> float:
    """The lower one of two in the middle; `statistics` would load the decimal numbers."""
    return ordered[(len(ordered) - 1) // 2] if ordered else 1.0


def _rounded(seconds: float) -> int:
    """Down to a power of √2, as a whole number: sums and comparisons are exact everywhere."""
    fraction, exponent = math.frexp(max(seconds, _SHORTEST))
    return (181 if fraction >= _ROOT_OF_HALF else 128) << (exponent + 2)


def _mark(name: str) -> int:
    """A number that no two names share, and no seed of this process changes."""
    return int(Digest.of(name.encode("utf-8", "surrogatepass")).hash, 16)
