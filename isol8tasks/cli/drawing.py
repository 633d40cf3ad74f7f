"""The stage graph in the forms that other tools read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from isol8tasks.report.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from isol8tasks.model.stage import Stage

_PLAIN = re.compile(r"[^\w .,:()/+=-]", re.ASCII)


def mermaid(stages: Sequence[Stage]) -> str:
    """A flowchart; a stage's outputs travel along the labelled arrows."""
    ids = {stage.name: f"s{number}" for number, stage in enumerate(stages)}
    lines = [f'  {ids[stage.name]}["{_entities(stage.name)}"]' for stage in stages]
    for before, after, kind in _edges(stages):
        arrow = "-- outputs -->" if kind == "outputs" else "-->"
        lines.append(f"  {ids[before]} {arrow} {ids[after]}")
    return "\n".join(["flowchart LR", *lines])


def dot(stages: Sequence[Stage]) -> str:
    """A digraph for Graphviz."""
    lines = [f"  {_quoted(stage.name)};" for stage in stages]
    for before, after, kind in _edges(stages):
        label = ' [label="outputs"]' if kind == "outputs" else ""
        lines.append(f"  {_quoted(before)} -> {_quoted(after)}{label};")
    return "\n".join(["digraph isol8tasks {", "  rankdir=LR;", "  node [shape=box];", *lines, "}"])


def as_json(stages: Sequence[Stage]) -> str:
    """Nodes, and edges from a stage to the one that requires it."""
    nodes = [
        {"name": stage.name, "description": stage.description, "tags": list(stage.tags)}
        for stage in stages
    ]
    edges = [{"from": before, "to": after, "kind": kind} for before, after, kind in _edges(stages)]
    return json.dumps({"schema": 1, "nodes": nodes, "edges": edges}, indent=2)


FORMS: Mapping[str, Callable[[Sequence[Stage]], str]] = {
    "mermaid": mermaid,
    "dot": dot,
    "json": as_json,
}


def _edges(stages: Sequence[Stage]) -> Iterator[tuple[str, str, str]]:
    for stage in stages:
        for name in stage.prerequisites:
            yield name, stage.name, "outputs" if name in stage.input_stages else "requires"


def _entities(text: str) -> str:
    """Everything that Mermaid could take for its own, as `#NN;`."""
    return _PLAIN.sub(lambda match: f"#{ord(match[0])};", one_line(text))


def _quoted(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
