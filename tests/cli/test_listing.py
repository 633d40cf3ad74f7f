"""`list` and `graph`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Program

LIST = """\
Checks for a submitted package.

tasks (* runs by default):
* checks  lint, unit, summary
  all     checks, docs

stages:
  syntax   Every file parses.
  lint     (requires syntax) #fast #style
  unit     (requires syntax)
  summary  (requires unit)
  docs     The manual.
"""

GRAPH = """\
flowchart LR
  s0["syntax"]
  s1["unit"]
  s2["summary"]
  s0 --> s1
  s1 -- outputs --> s2
"""


def test_list(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("listing")
    ran = isol8tasks("list")
    assert (ran.code, ran.stdout, ran.stderr) == (0, LIST, "")


def test_list_finds_the_task_file_upwards_and_by_name(
    isol8tasks: Program, project: Callable[[str], Path], folder: Path
) -> None:
    below = project("listing") / "src" / "deep"
    below.mkdir(parents=True)
    (folder / "isol8file.py").rename(folder / "other.py")
    assert isol8tasks("list", "-f", "other.py").stdout == LIST
    assert isol8tasks("list", env={"ISOL8TASKS_FILE": "other.py"}).stdout == LIST
    (folder / "other.py").rename(folder / "isol8file.py")
    assert attrs.evolve(isol8tasks, folder=below)("list").stdout == LIST


def test_list_as_json(isol8tasks: Program, project: Callable[[str], Path], folder: Path) -> None:
    project("listing")
    ran = isol8tasks("list", "--json")
    found = json.loads(ran.stdout)
    assert (ran.code, ran.stderr) == (0, "")
    assert found["stages"][1] == {
        "name": "lint",
        "folder": "",
        "description": "",
        "image": "python + pip(pytest==8.4.2)",
        "requires": ["syntax"],
        "outputs": [],
        "tags": ["fast", "style"],
        "declared_at": {"path": "isol8file.py", "line": 16},
    }
    assert found["tasks"][0] == {
        "name": "checks",
        "members": ["lint", "unit", "summary"],
        "default": True,
        "declared_at": {"path": "isol8file.py", "line": 21},
    }
    assert {name: found[name] for name in ("schema", "path", "root", "description")} == {
        "schema": 1,
        "path": str(folder / "isol8file.py"),
        "root": str(folder),
        "description": "Checks for a submitted package.",
    }
    assert len(found["stages"]) == 5


def test_what_a_task_file_prints_is_not_the_listing(isol8tasks: Program, folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "print('loading')\n"
        "stage('a', image=Image.bash(), run='true')\n"
    )
    ran = isol8tasks("list")
    assert (ran.stdout, ran.stderr) == ("stages:\n  a\n", "loading\n")


def test_graph(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("listing")
    ran = isol8tasks("graph", "summary")
    assert (ran.code, ran.stdout, ran.stderr) == (0, GRAPH, "")


def test_graph_without_a_target_draws_every_stage(
    isol8tasks: Program, project: Callable[[str], Path]
) -> None:
    project("listing")
    found = json.loads(isol8tasks("graph", "--format", "json").stdout)
    assert [node["name"] for node in found["nodes"]] == [
        "syntax",
        "lint",
        "unit",
        "summary",
        "docs",
    ]


def test_graph_for_graphviz(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("listing")
    ran = isol8tasks("graph", "--format=dot", "lint")
    assert ran.stdout == (
        "digraph isol8tasks {\n  rankdir=LR;\n  node [shape=box];\n"
        '  "syntax";\n  "lint";\n  "syntax" -> "lint";\n}\n'
    )


@pytest.mark.parametrize("command", ["list", "graph"])
def test_no_task_file(isol8tasks: Program, folder: Path, command: str) -> None:
    ran = isol8tasks(command)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"error: no isol8file.py in '{folder}' or above it\n"
        "  hint: run 'isol8tasks init' to write a first one\n"
    )
