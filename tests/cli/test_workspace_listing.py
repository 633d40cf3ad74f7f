"""`list`, `graph` and completion over many task files, some of them broken."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import completed, declared, failed, stages

if TYPE_CHECKING:
    from tests.cli.conftest import At, Program, Write

LIST = """\
Everything.

tasks (* runs by default):
* checks                 unit, //services/api:checks
* //services/api:checks  unit, lint

stages:
  unit                 #quick
  //libs/core:wheel
  //libs/core:unit
  //services/api:unit  Tests. (requires //libs/core:wheel)
  //services/api:lint  (requires unit, //:unit)
  //services/web:unit  (requires //services/api:checks)
"""

LIST_OF_THE_API = """\
The API.

tasks (* runs by default):
* checks  unit, lint

stages:
  unit  Tests. (requires //libs/core:wheel)
  lint  (requires unit, //:unit)
"""


@pytest.mark.usefixtures("services")
def test_list(isol8tasks: Program, at: At) -> None:
    for where, text in ((isol8tasks, LIST), (at("services/api"), LIST_OF_THE_API)):
        ran = where("list")
        assert (ran.code, ran.stdout, ran.stderr) == (0, text, "")


@pytest.mark.usefixtures("services")
def test_list_below_a_folder_without_a_task_file(at: At) -> None:
    found = stages(at("services")("list", "--json"))
    assert [name for name in found if name.startswith("//services/")] == [
        "//services/api:unit",
        "//services/api:lint",
        "//services/web:unit",
    ]
    assert "//libs/core:unit" not in found


@pytest.mark.usefixtures("services")
def test_list_as_json(isol8tasks: Program, folder: Path) -> None:
    found = json.loads(isol8tasks("list", "--json", "//services/...").stdout)
    assert (found["root"], found["path"]) == (str(folder), str(folder / "isol8file.py"))
    assert found["stages"][0] == {
        "name": "//services/api:unit",
        "folder": "services/api",
        "description": "Tests.",
        "image": "bash",
        "requires": ["//libs/core:wheel"],
        "outputs": [],
        "tags": [],
        "declared_at": {"path": "services/api/isol8file.py", "line": 3},
    }


BROKEN = """\
error: ZeroDivisionError: division by zero
  --> broken/isol8file.py:3
  hint: run 'PYTHONPATH=. python broken/isol8file.py' to see the whole traceback
error: stage '//deep/twice:x' has the name of the stage declared at deep/twice/isol8file.py:2
  --> deep/twice/isol8file.py:3
  hint: give each stage and each task a name of its own
error: syntax error: invalid syntax near 'x ='
  --> none/isol8file.py:2
  hint: correct the line
"""


@pytest.fixture
def broken(write: Write, services: None) -> None:
    """The same with three task files that are wrong, each in its own way."""
    write(broken="\n1 / 0\n", none="x =\n", **{"deep/twice": declared("x") + declared("x")})


@pytest.mark.usefixtures("broken")
def test_list_tells_of_every_broken_file(isol8tasks: Program) -> None:
    ran = isol8tasks("list")
    assert (ran.code, ran.stdout, ran.stderr) == (2, LIST, BROKEN)
    ran = isol8tasks("list", "--json")
    assert (ran.code, ran.stderr) == (2, BROKEN)
    assert len(json.loads(ran.stdout)["stages"]) == 6


@pytest.mark.usefixtures("broken")
def test_a_broken_file_elsewhere_stops_nothing(isol8tasks: Program, at: At) -> None:
    assert isol8tasks("graph").code == 0
    assert isol8tasks("list", "//services/...").code == 0
    assert at("services/api")("list").stderr == ""
    assert isol8tasks("list", "--file", "libs/core/isol8file.py", "unit").code == 0


@pytest.mark.usefixtures("broken")
def test_a_pattern_over_broken_files(isol8tasks: Program, at: At) -> None:
    failed(isol8tasks("graph", "//...:unit"), BROKEN)
    failed(
        at("deep")("graph", "...:unit"),
        "error: stage '//deep/twice:x' has the name of the stage declared at twice/isol8file.py:2\n"
        "  --> twice/isol8file.py:3\n"
        "  hint: give each stage and each task a name of its own\n",
    )


def test_only_broken_files(isol8tasks: Program, write: Write) -> None:
    write(p="1 / 0\n")
    failed(
        isol8tasks("list"),
        "error: ZeroDivisionError: division by zero\n"
        "  --> p/isol8file.py:2\n"
        "  hint: run 'PYTHONPATH=. python p/isol8file.py' to see the whole traceback\n",
    )


GRAPH = """\
flowchart LR
  s0["unit"]
  s1["//libs/core:wheel"]
  s2["//services/api:unit"]
  s3["//services/api:lint"]
  s1 -- outputs --> s2
  s2 --> s3
  s0 --> s3
"""


@pytest.mark.usefixtures("services")
def test_graph_over_files(isol8tasks: Program, at: At) -> None:
    for ran in (isol8tasks("graph", "//services/api:checks"), at("services/api")("graph")):
        assert (ran.code, ran.stderr) == (0, "")
        assert sorted(re.findall(r'"(.+?)"', ran.stdout)) == sorted(re.findall(r'"(.+?)"', GRAPH))
        assert len(ran.stdout.splitlines()) == len(GRAPH.splitlines())


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("start", "line", "items"),
    [
        ("", "isol8tasks run ", {"checks", "unit"}),
        ("services/api", "isol8tasks run ", {"checks", "unit", "lint"}),
        ("", "isol8tasks run //s", {"api:checks", "api:unit", "api:lint", "web:unit"}),
        ("libs/core", "isol8tasks graph //services/w", {"web:unit"}),
        ("libs", "isol8tasks run ", {"checks", "unit"}),
        ("", "isol8tasks run //nope", set()),
    ],
)
def test_completion(at: At, start: str, line: str, items: set[str]) -> None:
    below = "//services/" if "//" in line else ""
    assert completed(at(start), line) == {f"{below}{item}" for item in items}
