"""Orders of directed graphs, over anything hashable; linear, and without recursion."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

T = TypeVar("T", bound=Hashable)


class CycleError(ValueError, Generic[T]):
    """Nodes that come before themselves; `cycle` is the path, its first node again at the end."""

    def __init__(self, cycle: tuple[T, ...]) -> None:
        super().__init__(" → ".join(str(node) for node in cycle))
        self.cycle = cycle


def topological_order(nodes: Sequence[T], prerequisites: Mapping[T, Sequence[T]]) -> tuple[T, ...]:
    """The nodes, each after its prerequisites, and otherwise in the order given.

    Prerequisites that are not among the nodes join the order. CycleError when there is none.
    """
    done: dict[T, None] = {}
    for node in nodes:
        if node not in done:
            _visit(node, prerequisites, done)
    return tuple(done)


def longest_paths(order: Sequence[T], dependants: Mapping[T, Sequence[T]]) -> dict[T, int]:
    """How many nodes the longest path has that starts at each node, itself included."""
    lengths: dict[T, int] = {}
    for node in reversed(order):
        lengths[node] = 1 + max((lengths[after] for after in dependants.get(node, ())), default=0)
    return lengths


def _visit(start: T, prerequisites: Mapping[T, Sequence[T]], done: dict[T, None]) -> None:
    """Add a node to `done` after everything it needs: depth first, with a stack of our own."""
    path: dict[T, Iterator[T]] = {start: iter(prerequisites.get(start, ()))}
    while path:
        node, pending = next(reversed(path.items()))
        for before in pending:
            if before in path:
                raise CycleError(_cycle(tuple(path), before))
            if before not in done:
                path[before] = iter(prerequisites.get(before, ()))
                break
        else:
            path.popitem()
            done[node] = None


def _cycle(path: tuple[T, ...], again: T) -> tuple[T, ...]:
    return (*path[path.index(again) :], again)
