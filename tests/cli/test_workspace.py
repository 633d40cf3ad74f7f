"""Task files all over a workspace, as somebody meets them who types the commands."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.cli.conftest import Program, Ran

    Write = Callable[..., None]
    At = Callable[[str], Program]

HEAD = "from isol8tasks import Image, stage, task\n"
SEE_ALL = "  hint: run 'isol8tasks list' in the workspace's root to see what is declared\n"
SEE_LIST = "  hint: run 'isol8tasks list' to see what is declared\n"
FORMS = "  hint: write unit, path/to/package:unit or //path/from/the/root:unit\n"
NAMES = (
    "  hint: a name has up to 100 of the characters A-Z a-z 0-9 . _ + - and starts with a letter "
    "or a digit\n"
)


def declared(name: str, words: str = "", run: str = "true") -> str:
    """A line that declares a stage."""
    return f"stage('{name}', image=Image.bash(), run={run!r}{words and ', ' + words})\n"


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes task files by their folders, "root" for the root, in a folder that is a workspace."""
    (folder / "isol8tasks.toml").touch()

    def put(files: Mapping[str, str] | None = None, **packages: str) -> None:
        for name, text in packages.items():
            put({f"{name}/isol8file.py" if name != "root" else "isol8file.py": HEAD + text})
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)

    return put


@pytest.fixture
def at(isol8tasks: Program, folder: Path) -> At:
    """The program in a folder below."""

    def go(name: str) -> Program:
        (folder / name).mkdir(parents=True, exist_ok=True)
        return attrs.evolve(isol8tasks, folder=folder / name)

    return go


@pytest.fixture
def services(write: Write) -> None:
    """A root and three packages."""
    write(
        root="__doc__ = 'Everything.'\n"
        + declared("unit", "tags=['quick']")
        + "task('checks', 'unit', '//services/api:checks', default=True)\n",
        **{
            "libs/core": declared("wheel", "outputs=['dist/*']", "mkdir dist; echo w > dist/w")
            + declared("unit"),
            "services/api": "__doc__ = 'The API.'\n"
            + declared("unit", "inputs=['//libs/core:wheel'], description='Tests.'")
            + declared("lint", "requires=[':unit', '//:unit']")
            + "task('checks', 'unit', ':lint', default=True)\n",
            "services/web": declared("unit", "requires=['//services/api:checks']"),
        },
    )


def failed(ran: Ran, err: str) -> None:
    """It is a mistake of the user's: said in full, and nothing else."""
    assert (ran.code, ran.stdout, ran.stderr) == (2, "", err)


def stages(ran: Ran) -> list[str]:
    assert (ran.code, ran.stderr) == (0, "")
    return [stage["name"] for stage in json.loads(ran.stdout)["stages"]]


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


ADDRESSES = [
    ("", "unit", "unit"),
    ("", ":unit", "unit"),
    ("", "//:unit", "unit"),
    ("", "services/api:lint", "//services/api:lint"),
    ("", "./services/api/:lint", "//services/api:lint"),
    ("", "//libs/core:unit", "//libs/core:unit"),
    ("", "services/...:lint", "//services/api:lint"),
    ("", "//...:wheel", "//libs/core:wheel"),
    ("", "//services/...:checks", "//services/api:unit //services/api:lint"),
    ("", "...:unit", "unit //libs/core:unit //services/api:unit //services/web:unit"),
    ("services", "api:lint", "//services/api:lint"),
    ("services", "...:unit", "//services/api:unit //services/web:unit"),
    ("services", "unit", "unit"),
    ("services", ".:unit", None),
    ("services/api", "lint", "//services/api:lint"),
    ("services/api", ":checks", "//services/api:unit //services/api:lint"),
    ("services/api", "//:unit", "unit"),
    ("services/api", "//services/web:unit", "//services/web:unit"),
    ("services/api", "...", "//services/api:unit //services/api:lint"),
    ("services/api/src/deep", "lint", "//services/api:lint"),
    ("services/api/src/deep", ":lint", "//services/api:lint"),
    ("services/api/src/deep", "api:lint", None),
]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("start", "target", "names"), ADDRESSES)
def test_an_address(at: At, start: str, target: str, names: str | None) -> None:
    ran = at(start)("list", "--json", target)
    if names is None:
        assert ran.code == 2
        assert ran.stderr.startswith(f"error: there is no '{target}': there is no ")
    else:
        assert stages(ran) == names.split()


BAD_ADDRESSES = [
    (
        "//a",
        (
            "error: '//a' names no stage and no task\n"
            "  hint: write //a:NAME, or //a/... for all below it\n"
        ),
    ),
    ("//a/../b:x", f"error: '//a/../b:x' is not the address of a stage or a task\n{FORMS}"),
    ("../b:x", f"error: '../b:x' is not the address of a stage or a task\n{FORMS}"),
    ("a//b", f"error: 'a//b' is not the address of a stage or a task\n{FORMS}"),
    ("/a:b", f"error: '/a:b' is not the address of a stage or a task\n{FORMS}"),
    ("", f"error: '' is not the address of a stage or a task\n{NAMES}"),
    ("services/api:", f"error: 'services/api:' is not the address of a stage or a task\n{NAMES}"),
    (
        "//:x",
        f"error: there is no stage or task 'x'\n{SEE_LIST}",
    ),
    (
        "services/api:unt",
        (
            "error: there is no stage or task '//services/api:unt'; "
            f"did you mean '//services/api:unit'?\n{SEE_LIST}"
        ),
    ),
    ("wheel", f"error: there is no stage or task 'wheel'\n{SEE_LIST}"),
    ("nope:x", f"error: there is no 'nope:x': there is no nope/isol8file.py\n{SEE_ALL}"),
    (
        "services:unit",
        f"error: there is no 'services:unit': there is no services/isol8file.py\n{SEE_ALL}",
    ),
    ("//nope/...", f"error: '//nope/...' matches no task file\n{SEE_ALL}"),
    (
        "//...:whel",
        f"error: '//...:whel' matches no stage and no task; did you mean 'wheel'?\n{SEE_ALL}",
    ),
    (
        "//services/...:wheel",
        f"error: '//services/...:wheel' matches no stage and no task\n{SEE_ALL}",
    ),
    (
        "//" + "x" * 300 + ":a",
        f"error: there is no '//{'x' * 300}:a': there is no {'x' * 300}/isol8file.py\n{SEE_ALL}",
    ),
]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("target", "err"), BAD_ADDRESSES)
def test_a_bad_address(isol8tasks: Program, target: str, err: str) -> None:
    failed(isol8tasks("list", target), err)
    failed(isol8tasks("graph", target), err)


BAD_REQUIRES = {
    "a pattern": (
        "requires=['//...:unit']",
        (
            "error: stage 'a': requires: '//...:unit' is a pattern, which only a task takes\n"
            "  --> p/isol8file.py:2\n"
            "  hint: name one stage or task: '//path:unit'\n"
        ),
    ),
    "a path without a name": (
        "requires=['//q']",
        (
            "error: stage 'a': requires: '//q' names no stage and no task\n"
            "  --> p/isol8file.py:2\n"
            "  hint: write //q:NAME, or //q/... for all below it\n"
        ),
    ),
    "a path that leaves": (
        "requires=['//p/../q:b']",
        (
            "error: stage 'a': requires: '//p/../q:b' is not the address of a stage or a task\n"
            f"  --> p/isol8file.py:2\n{FORMS}"
        ),
    ),
    "nothing": (
        "requires=['']",
        f"error: stage 'a': requires: '' is not a name\n  --> p/isol8file.py:2\n{NAMES}",
    ),
    "a name in this file": (
        "requires=['nope']",
        (
            "error: stage '//p:a' requires '//p:nope', which is not declared\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "a name in another file": (
        "requires=['//q:bb']",
        (
            "error: stage '//p:a' requires '//q:bb', which is not declared; did you mean '//q:b'?\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "a name that only another file has": (
        "requires=['b']",
        (
            "error: stage '//p:a' requires '//p:b', which is not declared\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "a folder without a task file": (
        "requires=['//zz:b']",
        (
            "error: stage '//p:a' requires '//zz:b': there is no zz/isol8file.py\n"
            f"  --> p/isol8file.py:2\n{SEE_ALL}"
        ),
    ),
    "a path from the root that is not": (
        "requires=['q:b']",
        (
            "error: stage '//p:a' requires '//p/q:b': there is no p/q/isol8file.py\n"
            f"  --> p/isol8file.py:2\n{SEE_ALL}"
        ),
    ),
    "a pattern as an input": (
        "inputs=['//...:b']",
        (
            "error: stage 'a': inputs: '//...:b' is a pattern, which only a task takes\n"
            "  --> p/isol8file.py:2\n"
            "  hint: name one stage or task: '//path:unit'\n"
        ),
    ),
    "an input that is not declared": (
        "inputs=[':zz']",
        (
            "error: stage '//p:a' has the input '//p:zz', which is not declared\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "an input without outputs": (
        "inputs=['//q:b']",
        (
            "error: stage '//p:a' has the input '//q:b', a stage without outputs\n"
            "  --> p/isol8file.py:2\n"
            "  hint: declare outputs= of '//q:b', or use requires=['//q:b']\n"
        ),
    ),
    "a task as an input": (
        "inputs=['//q:t']",
        (
            "error: stage '//p:a' has the task '//q:t' among its inputs\n"
            "  --> p/isol8file.py:2\n"
            "  hint: only a stage has outputs: name the stages, or use requires=\n"
        ),
    ),
    "itself over another file": (
        "requires=['//q:back']",
        (
            "error: stages wait for each other: //p:a → //q:back → //p:a\n"
            "  --> p/isol8file.py:2\n"
            "  hint: take one of them out of requires= or inputs=\n"
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_REQUIRES)
def test_a_bad_prerequisite(isol8tasks: Program, write: Write, name: str) -> None:
    words, err = BAD_REQUIRES[name]
    back = declared("back", "requires=['//p:a']")
    write(p=declared("a", words), q=declared("b") + "task('t', 'b')\n" + back)
    failed(isol8tasks("graph", "//p:a"), err)


def test_a_bad_member(isol8tasks: Program, write: Write) -> None:
    write(p=declared("a") + "task('t', 'a', '//q:bb')\n", q=declared("b"))
    failed(
        isol8tasks("graph", "p:t"),
        "error: task '//p:t' has the member '//q:bb', which is not declared; "
        f"did you mean '//q:b'?\n  --> p/isol8file.py:3\n{SEE_LIST}",
    )


def test_a_cycle_over_three_files(isol8tasks: Program, write: Write, at: At) -> None:
    write(
        root=declared("unit", "requires=['//p:t']"),
        p=declared("a", "requires=['//q:b']") + "task('t', 'a')\n",
        q=declared("b", "requires=['//:unit']"),
    )
    err = (
        "error: stages wait for each other: unit → //p:t → //p:a → //q:b → unit\n"
        "  --> {}isol8file.py:2\n"
        "  hint: take one of them out of requires= or inputs=\n"
    )
    failed(isol8tasks("graph"), err.format(""))
    ran = at("q")("graph")
    assert (ran.code, "stages wait for each other: " in ran.stderr) == (2, True)


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


def completed(program: Program, line: str) -> set[str]:
    env = {
        "_ISOL8TASKS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    ran = program(env=env)
    assert ran.stderr == ""
    return {item.split(",", 1)[1] for item in ran.stdout.split()}


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


def test_no_task_file_anywhere(isol8tasks: Program, folder: Path, at: At) -> None:
    hint = "run 'isol8tasks init' to write a first one\n"
    failed(isol8tasks("list"), f"error: no isol8file.py in '{folder}' or above it\n  hint: {hint}")
    (folder / "isol8tasks.toml").touch()
    (folder / "p").mkdir()
    failed(
        at("p")("graph"),
        f"error: no isol8file.py in '{folder / 'p'}' or above it, up to the workspace's root\n"
        f"  hint: name a target, such as //... for everything; {hint}",
    )


ROOTS = [
    ("isol8tasks.toml", "", "services/api"),
    ("pyproject.toml", "[tool.isol8tasks]\nworkspace = true\n", "services/api"),
    ("pyproject.toml", "[tool.isol8tasks]\nworkspace = false\n", ""),
    ("pyproject.toml", "[project]\nname = 'workspace-of-isol8tasks'\n", ""),
    (".git/HEAD", "", "services/api"),
    ("README", "", ""),
]


@pytest.mark.parametrize(("path", "text", "root"), ROOTS)
def test_where_the_root_is(
    at: At, write: Write, folder: Path, path: str, text: str, root: str
) -> None:
    (folder / "isol8tasks.toml").unlink()
    write({f"services/api/{path}": text}, root=declared("a"), **{"services/api": declared("b")})
    ran = at("services/api")("list", "--json")
    assert json.loads(ran.stdout)["root"] == str(folder / root)
    assert stages(ran) == ["b" if root else "//services/api:b"]


@pytest.mark.root
def test_a_stranger_s_files_in_a_folder_for_everybody_are_not_read(
    at: At, write: Write, folder: Path
) -> None:
    (folder / "isol8tasks.toml").write_text("jobs = 'not read'\n")
    write(root="raise SystemExit('not run')\n", p=declared("a"))
    folder.chmod(0o1777)
    for name in ("isol8tasks.toml", "isol8file.py"):
        os.chown(folder / name, 64999, 64999)
    ran = at("p")("list", "--json")
    assert json.loads(ran.stdout)["root"] == str(folder / "p")
    failed(
        at("q")("list"),
        f"error: no isol8file.py in '{folder / 'q'}' or above it\n"
        "  hint: run 'isol8tasks init' to write a first one\n",
    )


def test_images_and_limits_can_be_shared(isol8tasks: Program, write: Write) -> None:
    shared = "from isol8tasks import Image\nbash = Image.bash()\nMINUTE = {'timeout': '1m'}\n"
    text = "from tools.common import bash, MINUTE\nstage('a', image=bash, run='x', **MINUTE)\n"
    write({"tools/common.py": shared}, root=text, p=text, **{"q/r": text})
    assert stages(isol8tasks("list", "--json")) == ["a", "//p:a", "//q/r:a"]


@pytest.mark.usefixtures("services")
def test_a_file_by_name(isol8tasks: Program, folder: Path, at: At) -> None:
    other = folder / "services/api/other.py"
    other.write_text(HEAD + declared("special", "requires=['//libs/core:unit']"))
    for program, name in (
        (isol8tasks, "services/api/other.py"),
        (at("services/api"), "other.py"),
        (at("libs"), "../services/api/other.py"),
    ):
        assert stages(program("list", "--json", "-f", name, "special")) == [
            "//services/api:special"
        ]
        ran = program("graph", "-f", name)
        assert (ran.code, '["//libs/core:unit"]' in ran.stdout) == (0, True)


def test_a_file_by_name_that_is_not_there(isol8tasks: Program, write: Write) -> None:
    write(root=declared("a"))
    failed(
        isol8tasks("graph", "-f", "p/nope.py"),
        "error: there is no such task file\n"
        "  --> p/nope.py\n"
        "  hint: run 'isol8tasks init' to write a first one\n",
    )


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("services")
class TestRun:
    """What comes of it in sandboxes."""

    def test_outputs_arrive_at_their_own_paths(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        write(
            {"apps/x/src/main": "m", "libs/core/lib": "l"},
            **{
                "apps/x": declared(
                    "test",
                    "inputs=['src/**', '//libs/core:wheel'], workdir='src'",
                    "pwd; cat main ../../../libs/core/dist/w; ls /sandbox/libs/core > names",
                )[:-2]
                + ", outputs=['names'])\n"
            },
        )
        ran = isol8tasks("run", "//apps/x:test", "--report", "report.json")
        assert (ran.code, ran.stderr) == (0, ""), ran
        assert "  │ /sandbox/apps/x/src\n  │ mw\n" in ran.out
        state = folder / "apps/x/.isol8tasks/test"
        assert (state / "outputs/src/names").read_text() == "dist\n"
        assert (state / "stdout.log").read_text() == "/sandbox/apps/x/src\nmw\n"
        wheel = folder / "libs/core/.isol8tasks/wheel/outputs/dist/w"
        assert wheel.read_text() == "w\n"
        assert (folder / "libs/core/.isol8tasks/.gitignore").read_text() == "*\n"
        assert os.listdir(folder / ".isol8tasks/.staging") == []
        names = [
            stage["name"] for stage in json.loads((folder / "report.json").read_text())["stages"]
        ]
        assert names == ["//libs/core:wheel", "//apps/x:test"]

    def test_inputs_are_those_of_the_package(self, at: At, write: Write) -> None:
        write(
            {"p/mine": "", "q/theirs": "", "top": ""}, p=declared("a", run="find /sandbox -type f")
        )
        ran = at("p")("run")
        assert ran.code == 0, ran
        shown = sorted(line[4:] for line in ran.out.splitlines() if line.startswith("  │ "))
        assert shown == ["/sandbox/p/isol8file.py", "/sandbox/p/mine"]

    def test_the_default_of_the_package(self, at: At) -> None:
        ran = at("services/api/src")("run", "--dry-run")
        assert (ran.code, ran.stderr) == (0, "")
        assert re.findall(r"^  (\S+)", ran.stdout, re.MULTILINE) == [
            "unit",
            "//libs/core:wheel",
            "//services/api:unit",
            "//services/api:lint",
        ]

    def test_a_failure_over_packages(self, isol8tasks: Program, write: Write) -> None:
        write(p=declared("a", run="echo no; exit 3"), q=declared("b", "requires=['//p:a']"))
        ran = isol8tasks("run", "q:b")
        assert ran.code == 1
        assert "✗ //p:a  failed  TIME  exit code 3\n  log: p/.isol8tasks/a\n  │ no\n" in ran.out
        assert "- //q:b  skipped  requires '//p:a', which failed\n" in ran.out

    def test_a_planted_state_folder_is_not_followed(
        self, isol8tasks: Program, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "victim").mkdir()
        (folder / "libs/core/.isol8tasks").symlink_to(tmp_path / "victim")
        ran = isol8tasks("run", "//libs/core:wheel")
        assert ran.code == 3
        assert "libs/core/.isol8tasks is a link, and may lead anywhere" in ran.out + ran.err
        assert list((tmp_path / "victim").iterdir()) == []

    def test_a_broken_file_elsewhere(self, isol8tasks: Program, write: Write) -> None:
        write(broken="1 / 0\n")
        ran = isol8tasks("run", "-q", "//services/web:unit")
        assert (ran.code, ran.stderr) == (0, "")


def test_a_task_of_a_pattern(isol8tasks: Program, write: Write) -> None:
    """It stands for all of that name but itself, and is no pattern of stages."""
    write(
        root=declared("own") + "task('checks', '//...:checks', default=True)\n",
        **{name: declared("one") + "task('checks', 'one')\n" for name in ("p", "q/r")},
    )
    assert stages(isol8tasks("list", "--json", "checks")) == ["//p:one", "//q/r:one"]
    assert "* checks        //...:checks\n" in isol8tasks("list").stdout
    write(root=declared("own", "requires=['//...:checks']"))
    failed(
        isol8tasks("list", ":own"),
        "error: stage 'own': requires: '//...:checks' is a pattern, which only a task takes\n"
        "  --> isol8file.py:2\n"
        "  hint: name one stage or task: '//path:unit'\n",
    )


def test_a_pattern_that_contains_itself(isol8tasks: Program, write: Write) -> None:
    text = declared("one") + "task('checks', '//...:checks')\n"
    write(root=text, p=text)
    failed(
        isol8tasks("graph", "checks"),
        "error: tasks contain each other: checks → //p:checks → checks\n"
        "  --> isol8file.py:3\n"
        "  hint: take one of them out of the members\n",
    )


def test_a_workspace_in_a_workspace(
    isol8tasks: Program, write: Write, at: At, folder: Path
) -> None:
    write(root=declared("a"), p=declared("b"), **{"p/q": declared("c"), "p/q/r": declared("d")})
    (folder / "p/q/isol8tasks.toml").write_text("")
    ran = isol8tasks("list", "--json")
    assert [stage["name"] for stage in json.loads(ran.stdout)["stages"]] == ["a", "//p:b"]
    assert ran.stderr == "2 task files are of another workspace: p/q, p/q/r\n"
    assert stages(at("p/q")("list", "--json")) == ["c", "//r:d"]


def test_a_task_file_with_tasks_only(isol8tasks: Program, write: Write) -> None:
    write(root="task('all', '//p:b', default=True)\n", p=declared("b"))
    assert stages(isol8tasks("list", "--json", "all")) == ["//p:b"]


@pytest.mark.bubblewrap
def test_tags_and_keywords_are_of_all_below(isol8tasks: Program, write: Write, at: At) -> None:
    tagged = declared("b", "inputs=[], tags=['quick']")
    write(root=declared("a", "inputs=[]"), p=tagged, z=tagged)
    write(**{"p/q": declared("quicker", "inputs=[]")})
    words = ("run", "-t", "quick", "--dry-run", "--backend", "bubblewrap")
    assert {"//p:b", "//z:b"} <= set(isol8tasks(*words).stdout.split())
    ran = at("p")("run", "-k", "quick and not b", "--dry-run", "--backend", "bubblewrap")
    assert "//p/q:quicker" in ran.stdout.split()
    assert "//z:b" not in at("p")(*words).stdout.split()
