from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.plan.graph import CycleError, longest_paths, topological_order


@pytest.mark.parametrize(
    ("nodes", "prerequisites", "order"),
    [
        ("", {}, ""),
        ("abc", {}, "abc"),
        ("abc", {"b": "a", "c": "b"}, "abc"),
        ("cba", {"b": "a", "c": "b"}, "abc"),
        ("dabc", {"d": "bc", "b": "a", "c": "a"}, "abcd"),
        ("abcd", {"a": "d"}, "dabc"),
        ("aab", {"b": "aa"}, "ab"),
        ("b", {"b": "a"}, "ab"),
    ],
)
def test_order(nodes: Any, prerequisites: Any, order: Any) -> None:
    assert topological_order(nodes, prerequisites) == tuple(order)


@pytest.mark.parametrize(
    ("nodes", "prerequisites", "cycle"),
    [
        ("a", {"a": "a"}, "aa"),
        ("ab", {"a": "b", "b": "a"}, "aba"),
        ("cab", {"c": "b", "b": "a", "a": "b"}, "bab"),
        ("abcd", {"a": "b", "b": "cd", "d": "b"}, "bdb"),
    ],
)
def test_cycle(nodes: Any, prerequisites: Any, cycle: Any) -> None:
    with pytest.raises(CycleError) as caught:
        topological_order(nodes, prerequisites)
    assert caught.value.cycle == tuple(cycle)
    assert str(caught.value) == " → ".join(cycle)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("order", "dependants", "lengths"),
    [
        ("", {}, {}),
        ("ab", {}, {"a": 1, "b": 1}),
        ("abc", {"a": "b", "b": "c"}, {"a": 3, "b": 2, "c": 1}),
        ("abcd", {"a": "bcd", "c": "d"}, {"a": 3, "b": 1, "c": 2, "d": 1}),
    ],
)
def test_longest_paths(order: Any, dependants: Any, lengths: Any) -> None:
    assert longest_paths(order, dependants) == lengths


def test_a_long_chain_without_recursion() -> None:
    nodes = range(10_000)
    order = topological_order(nodes, {node: (node + 1,) for node in nodes[:-1]})
    assert order == tuple(reversed(nodes))
    lengths = longest_paths(order, {node + 1: (node,) for node in nodes[:-1]})
    assert lengths[9_999] == 10_000


@st.composite
def acyclic(draw: Any) -> Any:
    """Nodes in any order, and prerequisites that only point to smaller ones."""
    size = draw(st.integers(0, 20))
    nodes = draw(st.permutations(range(size)))
    below = {node: draw(st.lists(st.integers(0, node - 1))) for node in range(1, size)}
    return nodes, below


@given(acyclic())
def test_prerequisites_come_first(graph: Any) -> None:
    nodes, prerequisites = graph
    order = topological_order(nodes, prerequisites)
    assert sorted(order) == sorted(nodes)
    place = {node: index for index, node in enumerate(order)}
    assert all(
        place[before] < place[node] for node in nodes for before in prerequisites.get(node, ())
    )


@given(acyclic())
def test_an_order_that_works_is_kept(graph: Any) -> None:
    nodes, prerequisites = graph
    assert topological_order(sorted(nodes), prerequisites) == tuple(sorted(nodes))


@given(acyclic(), st.data())
def test_a_cycle_is_a_path(graph: Any, data: Any) -> None:
    nodes, prerequisites = graph
    if not nodes:
        return
    node = data.draw(st.sampled_from(nodes))
    order = topological_order(nodes, prerequisites)
    first = order[0]
    closed = {**prerequisites, first: [*prerequisites.get(first, ()), node]}
    closed[node] = [*closed.get(node, ()), first]
    with pytest.raises(CycleError) as caught:
        topological_order(nodes, closed)
    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert all(after in closed[before] for before, after in pairwise(cycle))
