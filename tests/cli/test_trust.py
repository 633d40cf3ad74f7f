"""Nothing is left out silently, and no file of a stranger's decides what is run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Program

HEAD = "from isol8tasks import Image, stage, task\n"
RAN = "raise SystemExit('a stranger was run')\n"


def declared(name: str, words: str = "") -> str:
    return f"stage('{name}', image=Image.bash(), inputs=[], run='true'{words and ', ' + words})\n"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / ("" if name == "root" else name.replace("__", "/")) / "isol8file.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + text)


def planned(program: Program, *words: str) -> list[str]:
    ran = program("run", "--dry-run", "--backend", "bubblewrap", *words)
    assert ran.code == 0, ran
    return [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ")]


def at(program: Program, folder: Path) -> Program:
    folder.mkdir(parents=True, exist_ok=True)
    return attrs.evolve(program, folder=folder)


@pytest.fixture
def packages(folder: Path) -> Path:
    write(
        folder,
        root=declared("lint")
        + declared("slow", "tags=['slow'], requires=['//lib:gate']")
        + "task('checks', 'lint', 'slow', '//...:checks', default=True)\n",
        lib=declared("gate") + declared("unit", "requires=['gate']") + "task('checks', 'unit')\n",
    )
    (folder / "src").mkdir()
    return folder


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--skip", "lint"], ["//lib:gate", "//lib:unit", "slow"]),
        (["--skip", "//lib:unit"], ["//lib:gate", "lint", "slow"]),
        (["--skip", "//lib:gate"], ["lint"]),
        (["--skip", "//lib:checks"], ["//lib:gate", "lint", "slow"]),
    ],
)
def test_skipping_leaves_out_no_more_than_what_needs_it(
    isol8tasks: Program, packages: Path, words: list[str], left: list[str]
) -> None:
    assert sorted(planned(isol8tasks, *words)) == left


@pytest.mark.bubblewrap
def test_a_folder_without_task_files_means_the_nearest_one(
    isol8tasks: Program, packages: Path
) -> None:
    below = at(isol8tasks, packages / "src")
    assert planned(below, "-t", "slow") == ["//lib:gate", "slow"]


@pytest.mark.bubblewrap
def test_last_failed_in_a_folder_without_task_files(isol8tasks: Program, folder: Path) -> None:
    bad = "stage('n', image=Image.bash(), inputs=[], run='false')\n"
    write(folder, root=declared("a") + bad + "task('most', 'a', default=True)\n")
    assert isol8tasks("run", "n", "--backend", "bubblewrap").code == 1
    assert planned(at(isol8tasks, folder / "src"), "--last-failed") == ["n"]


@pytest.mark.bubblewrap
def test_a_report_that_cannot_be_written_makes_no_failure_forgotten(
    isol8tasks: Program, folder: Path
) -> None:
    text = "stage('n', image=Image.bash(), inputs=[], run='{}')\n"
    run = ("run", "--backend", "bubblewrap")
    write(folder, root=text.format("true"))
    assert isol8tasks(*run).code == 0
    write(folder, root=text.format("rmdir r 2>/dev/null; exit 1"))
    (folder / "r").mkdir()
    process = isol8tasks.start(*run, "--report", "r/x.json")
    (folder / "r").chmod(0o755)
    process.communicate(timeout=60)
    assert planned(isol8tasks, "--last-failed") == ["n"]


@pytest.mark.bubblewrap
def test_what_a_stage_made_is_no_task_file(isol8tasks: Program, folder: Path) -> None:
    """Whatever the .gitignore in our folder says, and before we wrote one too."""
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    words = "outputs=['x/isol8file.py'], files={'x/isol8file.py': " + repr(RAN) + "}"
    write(folder, root=declared("a"), p=declared("unit", words))
    (folder / "p/.isol8tasks").mkdir()
    (folder / "p/.isol8tasks/.gitignore").write_text("")
    assert isol8tasks("run", "//p:unit", "--backend", "bubblewrap").code == 0
    made = folder / "p/.isol8tasks/unit/outputs/x/isol8file.py"
    assert made.read_text() == RAN
    assert (folder / "p/.isol8tasks/.gitignore").read_text() == "*\n"
    (folder / "p/.isol8tasks/.gitignore").write_text("")
    for words_ in (["list"], ["list", "//..."], ["list", "--affected"]):
        ran = isol8tasks(*words_)
        assert (ran.code, "stranger" in ran.stdout + ran.stderr) == (0, False), ran


@pytest.mark.root
def test_a_task_file_of_another_user_is_not_run(isol8tasks: Program, folder: Path) -> None:
    write(folder, root=declared("a"), p=RAN)
    os.chown(folder / "p/isol8file.py", 64999, 64999)
    for words in (["list"], ["list", "//...:a"], ["list", "//p:a"]):
        ran = isol8tasks(*words)
        assert ran.code == 2
        assert "error: the task file belongs to another user, so it is not run\n" in ran.stderr
        assert "a stranger was run" not in ran.stderr
    os.chown(folder, 64999, 64999)
    assert "a stranger was run" in isol8tasks("list").stderr, "it is their workspace"


def test_a_folder_that_is_a_link_has_one_name(
    isol8tasks: Program, folder: Path, tmp_path: Path
) -> None:
    write(folder, root=declared("a"), real=declared("b"))
    write(tmp_path, elsewhere=RAN)
    (folder / "link").symlink_to("real")
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "out"):
        ran = isol8tasks("list", f"//{name}:b")
        assert (ran.code, ran.stderr) == (
            2,
            (
                f"error: this folder is reached by a link\n  --> {name}/isol8file.py\n"
                "  hint: name it by its own path from the workspace's root\n"
            ),
        )
    assert isol8tasks("list", "--json").code == 0


def test_the_root_s_ceilings_hold_in_a_package_with_settings_of_its_own(
    isol8tasks: Program, folder: Path
) -> None:
    """Also where nothing says that the root is one."""
    write(folder, root=declared("a"), p=declared("b", "memory='1g'"))
    table = "[tool.isol8tasks]\njobs = 2\n"
    (folder / "pyproject.toml").write_text(f"{table}ceilings = {{ memory = '64m' }}\n")
    (folder / "p/pyproject.toml").write_text(table)
    below = at(isol8tasks, folder / "p")
    shown = below("run", "--show-settings").stdout
    assert "memory=64m" in shown
    (folder / "p/pyproject.toml").write_text(f"{table}ceilings = {{ memory = '8g' }}\n")
    ran = below("run", "--show-settings")
    assert ran.code == 2
    assert ran.stderr.startswith("error: ceilings are for the whole workspace\n")


def test_what_is_of_another_workspace_is_said(isol8tasks: Program, packages: Path) -> None:
    (packages / "lib/isol8tasks.toml").write_text("")
    ran = isol8tasks("list", "//...:lint")
    assert (ran.code, ran.stderr) == (0, "1 task file is of another workspace: lib\n")


def test_files_by_name_need_no_workspace(isol8tasks: Program, folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    (folder / "a/tasks.py").write_text(HEAD + declared("x"))
    ran = at(isol8tasks, folder / "b")("list", "--json", "-f", "../a/tasks.py")
    assert [stage["name"] for stage in json.loads(ran.stdout)["stages"]] == ["x"]


def test_a_module_beside_a_task_file_hides_what_others_imported(
    isol8tasks: Program, folder: Path
) -> None:
    write(
        folder,
        a="import colorsys\ncolorsys.rgb_to_hls\n" + declared("a"),
        b="import colorsys\n" + declared("b-{}").replace("'b-{}'", "f'b-{colorsys.OURS}'"),
    )
    (folder / "isol8tasks.toml").write_text("")
    (folder / "b/colorsys.py").write_text("OURS = 1\n")
    ran = isol8tasks("list", "--json")
    assert [stage["name"] for stage in json.loads(ran.stdout)["stages"]] == ["//a:a", "//b:b-1"]
