"""Which stages come next: those that are ready, and those that soon will be."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from isol8tasks.engine.slots import Slots
from isol8tasks.model.stage import Stage
from isol8tasks.plan.plan import Plan

_Rank = tuple[int, int, str]
"""The longest path behind a stage comes first, then the order of the plan; the name is the key."""


def _ranks(plan: Plan) -> dict[str, _Rank]:
    return {
        stage.name: (-plan.weight(stage.name), index, stage.name)
        for index, stage in enumerate(plan.stages)
    }


class ReadyStages:
    """Ready stages, the longest path behind them first, without a scan of those that do not fit.

    Stages with equal needs share a heap, so that a look at the heads is enough.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ranks = _ranks(plan)
        self._heaps: dict[tuple[float, int], list[_Rank]] = {}

    def add(self, stage: Stage) -> None:
        """A stage that may start as soon as it fits."""
        key = (stage.limits.cpus, stage.limits.memory)
        heapq.heappush(self._heaps.setdefault(key, []), self._ranks[stage.name])

    def take(self, slots: Slots) -> Stage | None:
        """The best stage that fits into the free slots, no longer ready then."""
        if slots.full:
            return None
        heads = [
            (heap[0], key)
            for key, heap in self._heaps.items()
            if slots.fits(self._plan.stage(heap[0][2]).limits)
        ]
        if not heads:
            return None
        (_, _, name), key = min(heads)
        heapq.heappop(self._heaps[key])
        if not self._heaps[key]:
            del self._heaps[key]
        return self._plan.stage(name)


class SoonStages:
    """Stages that have not started, once their image is prepared and all they require has started.

    Each is counted down once per event and named once, so that nothing is ever scanned. Not more
    than `most` are named and still waiting at a time.
    """

    def __init__(self, plan: Plan, *, most: int) -> None:
        self._plan = plan
        self._most = most
        self._ranks = _ranks(plan)
        self._lacking = {
            stage.name: 1 + len(plan.prerequisites(stage.name)) for stage in plan.stages
        }
        self._candidates: list[_Rank] = []
        self._named: set[str] = set()
        self._settled: set[str] = set()

    def image_prepared(self, name: str) -> None:
        """The image of a stage is there."""
        self._count_down(name)

    def started(self, name: str) -> None:
        """A stage runs: it waits no more, and those that require it come closer."""
        self.settle(name)
        for dependant in self._plan.dependants(name):
            self._count_down(dependant)

    def settle(self, name: str) -> None:
        """A stage has started, or never will; may be repeated."""
        self._settled.add(name)
        self._named.discard(name)

    def take(self) -> Iterator[Stage]:
        """Name those that come next, the longest path behind them first."""
        while self._candidates and len(self._named) < self._most:
            name = heapq.heappop(self._candidates)[2]
            if name not in self._settled:
                self._named.add(name)
                yield self._plan.stage(name)

    def _count_down(self, name: str) -> None:
        self._lacking[name] -= 1
        if not self._lacking[name]:
            heapq.heappush(self._candidates, self._ranks[name])
