"""A workspace: where its root is, which task files are of it, and what is run in it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import HEAD, declared, failed, stages

if TYPE_CHECKING:
    from tests.cli.conftest import At, Program, Write


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
