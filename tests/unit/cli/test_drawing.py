"""Graphs for other tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isol8tasks.cli.drawing import as_json, dot, mermaid
from isol8tasks.errors import Location
from isol8tasks.model.image import Image
from isol8tasks.model.stage import Shell, Stage


def stage(name: str, **words: Any) -> Stage:
    return Stage(
        name=name,
        image=Image.bash(),
        command=Shell(("true",)),
        declared_at=Location("isol8file.py", 1),
        **words,
    )


STAGES = (
    stage("syntax", description="Parses.", tags=("fast",)),
    stage("unit", requires=("syntax",), outputs=("report.xml",)),
    stage("summary", input_stages=("unit",), requires=("syntax",)),
)

MERMAID = """\
flowchart LR
  s0["syntax"]
  s1["unit"]
  s2["summary"]
  s0 --> s1
  s0 --> s2
  s1 -- outputs --> s2"""

DOT = """\
digraph isol8tasks {
  rankdir=LR;
  node [shape=box];
  "syntax";
  "unit";
  "summary";
  "syntax" -> "unit";
  "syntax" -> "summary";
  "unit" -> "summary" [label="outputs"];
}"""


def test_mermaid() -> None:
    assert mermaid(STAGES) == MERMAID


def test_dot() -> None:
    assert dot(STAGES) == DOT


def test_json() -> None:
    assert json.loads(as_json(STAGES)) == {
        "schema": 1,
        "nodes": [
            {"name": "syntax", "description": "Parses.", "tags": ["fast"]},
            {"name": "unit", "description": "", "tags": []},
            {"name": "summary", "description": "", "tags": []},
        ],
        "edges": [
            {"from": "syntax", "to": "unit", "kind": "requires"},
            {"from": "syntax", "to": "summary", "kind": "requires"},
            {"from": "unit", "to": "summary", "kind": "outputs"},
        ],
    }


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("unit-3.11", "unit-3.11"),
        ('a"] --> b', "a#34;#93; --#62; b"),
        ("#quot;", "#35;quot#59;"),
        ("<b>`x`", "#60;b#62;#96;x#96;"),
        ("two\nlines", "two#92;nlines"),
        ("ä", "#228;"),
    ],
)
def test_mermaid_takes_nothing_in_a_name_for_its_own(name: str, label: str) -> None:
    assert mermaid((stage(name),)) == f'flowchart LR\n  s0["{label}"]'


@pytest.mark.parametrize(
    ("name", "label"),
    [('a";b', r"a\";b"), ("a\\N", r"a\\N"), ("two\nlines", r"two\\nlines"), ("ä", "ä")],
)
def test_dot_takes_nothing_in_a_name_for_its_own(name: str, label: str) -> None:
    assert f'  "{label}";\n' in dot((stage(name),))
