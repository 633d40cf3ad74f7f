"""`init --from-noxfile` and what can be done with the file that it writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from isol8tasks.model.stage import STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.cli.conftest import Program

SIMPLE = """\
wrote isol8file.py: 3 of 3 sessions carried over, 1 remark
  noxfile.py:4: it uses the programs of this machine: choose an image that has them
now try: isol8tasks list, isol8tasks run --dry-run
"""

SIMPLE_LIST = """\
The sessions of noxfile.py, as `isol8tasks init --from-noxfile` read them.

tasks (* runs by default):
* default  unit, words

stages:
  unit   Run what needs no packages.
  words  (requires unit)
  fails
"""


@pytest.mark.parametrize(
    ("name", "carried", "stages"),
    [("library", "6 of 6", 8), ("matrix", "6 of 6", 19), ("service", "6 of 7", 7)],
)
def test_list_accepts_what_real_noxfiles_become(
    isol8tasks: Program, project: Callable[[str], Path], name: str, carried: str, stages: int
) -> None:
    project(f"noxfiles/{name}")
    ran = isol8tasks("init", "--from-noxfile")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"wrote isol8file.py: {carried} sessions carried over, ")
    listed = isol8tasks("list", "--json")
    assert (listed.code, listed.stderr) == (0, "")
    assert len(json.loads(listed.stdout)["stages"]) == stages
    assert isol8tasks("graph").code == 0  # which plans all of it


def test_a_simple_noxfile(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("noxfiles/simple")
    ran = isol8tasks("init", "--from-noxfile")
    assert (ran.code, ran.stdout, ran.stderr) == (0, SIMPLE, "")
    assert isol8tasks("list").stdout == SIMPLE_LIST


@pytest.mark.bubblewrap
def test_its_stages_do_what_its_sessions_did(
    isol8tasks: Program, project: Callable[[str], Path]
) -> None:
    folder = project("noxfiles/simple")
    isol8tasks("init", "--from-noxfile")
    ran = isol8tasks("run", "--backend", "bubblewrap", "--report", "r.json", "--", "-v")
    assert ran.code == 0, ran.stdout + ran.stderr
    stages = {
        stage["name"]: stage for stage in json.loads((folder / "r.json").read_text())["stages"]
    }
    assert list(stages) == ["unit", "words"]
    assert "test_that_the_variable_came_through" in ran.stdout + stages["unit"]["stderr"]
    assert stages["words"]["stdout"] == "['a b', '$HOME', \"'*'\", '~']\n"
    assert isol8tasks("run", "--backend", "bubblewrap", "fails").code == 1
    assert (folder / STATE_FOLDER).is_dir()


@pytest.mark.bubblewrap
def test_a_dry_run_of_it(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("noxfiles/library")
    isol8tasks("init", "--from-noxfile")
    ran = isol8tasks("run", "--dry-run", "--backend", "bubblewrap", "tests")
    assert (ran.code, ran.err) == (0, "")
    assert "tests-3.12  python:3.12 + pip(attrs>=24.2, " in ran.stdout


PLACES = {
    ("--from-noxfile",): "isol8file.py",
    ("--from-noxfile", "noxfile.py"): "isol8file.py",
    ("--from-noxfile", "sub/noxfile.py"): "sub/isol8file.py",
    ("tasks.py", "--from-noxfile"): "tasks.py",
    ("--from-noxfile", "sub/noxfile.py", "sub/tasks.py"): "sub/tasks.py",
    ("--from-noxfile=sub/noxfile.py", "sub/tasks.py"): "sub/tasks.py",
}


@pytest.mark.parametrize(("words", "place"), PLACES.items())
def test_where_it_is_written(
    isol8tasks: Program, folder: Path, words: Sequence[str], place: str
) -> None:
    (folder / "sub").mkdir()
    for path in (folder / "noxfile.py", folder / "sub/noxfile.py"):
        path.write_text("import nox\n\n@nox.session\ndef unit(session):\n    session.run('x')\n")
    ran = isol8tasks("init", *words)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == (
        f"wrote {place}: 1 of 1 session carried over, 0 remarks\n"
        "now try: isol8tasks list, isol8tasks run --dry-run\n"
    )
    assert [path for path in folder.rglob("*.py") if path.name != "noxfile.py"] == [folder / place]
    assert isol8tasks("list", "--file", place).code == 0


def test_another_folder_than_that_of_the_noxfile_is_remarked(
    isol8tasks: Program, project: Callable[[str], Path], folder: Path
) -> None:
    project("noxfiles/simple")
    (folder / "ci").mkdir()
    ran = isol8tasks("init", "--from-noxfile", "noxfile.py", "ci/isol8file.py")
    assert "  noxfile.py:1: paths are meant from the folder of the noxfile, not" in ran.stdout
    assert isol8tasks("list", "--file", "ci/isol8file.py").code == 0


def test_a_task_file_is_never_overwritten(
    isol8tasks: Program, project: Callable[[str], Path], folder: Path
) -> None:
    project("noxfiles/simple")
    (folder / "isol8file.py").write_text("mine")
    ran = isol8tasks("init", "--from-noxfile")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: 'isol8file.py' exists already\n  --> isol8file.py\n")
    assert (folder / "isol8file.py").read_text() == "mine"


def test_a_noxfile_with_a_mistake(isol8tasks: Program, folder: Path) -> None:
    (folder / "noxfile.py").write_text("import nox\n\ndef (:\n")
    ran = isol8tasks("init", "--from-noxfile")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == (
        "error: the noxfile is not Python: invalid syntax\n  --> noxfile.py:3\n"
        "  hint: nox itself must be able to read it: try nox -l\n"
    )
    assert not (folder / "isol8file.py").exists()


def test_no_noxfile(isol8tasks: Program) -> None:
    ran = isol8tasks("init", "--from-noxfile")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == (
        "error: there is no such noxfile\n  --> noxfile.py\n"
        "  hint: name it: isol8tasks init --from-noxfile path/to/noxfile.py\n"
    )


def test_warnings_of_the_noxfile_itself_are_not_ours(isol8tasks: Program, folder: Path) -> None:
    (folder / "noxfile.py").write_text(
        "import nox\nPATTERN = '\\d'\n@nox.session\ndef unit(session):\n    session.run('x')\n"
    )
    ran = isol8tasks("init", "--from-noxfile")
    assert (ran.code, ran.stderr) == (0, "")


def test_the_help_names_the_mark(isol8tasks: Program) -> None:
    ran = isol8tasks("init", "--help")
    assert "--from-noxfile [NOXFILE]" in ran.stdout
    assert "TODO(nox)" in ran.stdout
