"""The machine as a budget: limits are ceilings, and running stages never add up to more than it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import attrs

from isol8tasks.model.limits import Limits


@attrs.frozen(kw_only=True)
class Capacity:
    """What may be in use at once: processors, bytes of memory, and stages."""

    cpus: float
    memory: int
    jobs: int


class Slots:
    """Who uses what of a capacity: stages that run. A sandbox that waits for its stage is idle."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._held: dict[str, Limits] = {}
        self._cpus = 0.0
        self._memory = 0

    @property
    def holders(self) -> AbstractSet[str]:
        """The names of those that hold a slot."""
        return self._held.keys()

    @property
    def full(self) -> bool:
        """Whether not even the smallest stage fits."""
        return len(self._held) >= self._capacity.jobs

    def oversized(self, limits: Limits) -> bool:
        """Whether a stage exceeds the machine and so can only run alone."""
        return limits.cpus > self._capacity.cpus or limits.memory > self._capacity.memory

    def fits(self, limits: Limits) -> bool:
        """Whether a stage may start now; anything may start on an idle machine."""
        if not self._held:
            return True
        return (
            not self.full
            and self._cpus + limits.cpus <= self._capacity.cpus + 1e-9
            and self._memory + limits.memory <= self._capacity.memory
        )

    def take(self, name: str, limits: Limits) -> None:
        """Hold a slot."""
        self._held[name] = limits
        self._cpus += limits.cpus
        self._memory += limits.memory

    def give_back(self, name: str) -> None:
        """Free a slot."""
        limits = self._held.pop(name)
        self._cpus -= limits.cpus
        self._memory -= limits.memory
