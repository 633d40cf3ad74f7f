from __future__ import annotations

import os
from pathlib import Path

import pytest

from isol8tasks.taskfile.root import project_table, root_of

WORKSPACE = "[tool.isol8tasks]\nworkspace = true\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Task files in `a` and `a/b/c`, and the folder `a/b/c/d`."""
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    for name in ("a", "a/b/c"):
        (tmp_path / name / "isol8file.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("start", ["a", "a/b", "a/b/c", "a/b/c/d"])
def test_the_topmost_task_file(tree: Path, start: str) -> None:
    assert root_of(tree / start) == tree / "a"


def test_no_workspace(tmp_path: Path) -> None:
    assert root_of(tmp_path) is None


def test_who_says_so_beats_the_topmost(tree: Path) -> None:
    (tree / "a/b/isol8tasks.toml").write_text("")
    assert root_of(tree / "a/b/c/d") == tree / "a/b"
    assert root_of(tree / "a") == tree / "a"


def test_who_says_so_may_have_no_task_file(tree: Path) -> None:
    (tree / "isol8tasks.toml").write_text("")
    assert root_of(tree / "a/b/c") == tree
    assert root_of(tree) == tree


def test_the_nearest_of_two_that_say_so(tree: Path) -> None:
    (tree / "isol8tasks.toml").write_text("")
    (tree / "a/b/pyproject.toml").write_text(WORKSPACE)
    assert root_of(tree / "a/b/c") == tree / "a/b"


@pytest.mark.parametrize(
    ("text", "says_so"),
    [
        (WORKSPACE, True),
        ("[tool.isol8tasks]\nworkspace = false\n", False),
        ("[tool.isol8tasks]\nworkspace = 'true'\n", False),
        ("[tool.isol8tasks]\njobs = 2\n", False),
        ("[tool.other]\nworkspace = true # isol8tasks\n", False),
        ("[tool.isol8tasks\nworkspace = true\n", False),
        ("tool.isol8tasks = 'workspace'\n", False),
        ("tool = 'isol8tasks workspace'\n", False),
    ],
)
def test_what_a_project_file_says(tree: Path, text: str, says_so: bool) -> None:
    (tree / "a/b/pyproject.toml").write_text(text)
    assert root_of(tree / "a/b/c") == tree / ("a/b" if says_so else "a")


def test_a_repository_ends_the_search(tree: Path) -> None:
    (tree / "a/b/.git").mkdir()
    assert root_of(tree / "a/b/c/d") == tree / "a/b/c"
    (tree / "a/.git").write_text("gitdir: elsewhere\n")
    assert root_of(tree / "a") == tree / "a"


def test_who_says_so_is_believed_across_a_repository(tree: Path) -> None:
    (tree / "a/b/.git").mkdir()
    (tree / "isol8tasks.toml").write_text("")
    assert root_of(tree / "a/b/c") == tree


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o703])
@pytest.mark.parametrize("name", ["isol8tasks.toml", "pyproject.toml", "isol8file.py"])
def test_a_stranger_s_file_in_a_folder_for_everybody_is_not_believed(
    tree: Path, mode: int, name: str
) -> None:
    (tree / name).write_text(WORKSPACE if name == "pyproject.toml" else "")
    tree.chmod(mode)
    assert root_of(tree / "a/b/c") == tree, "it is ours"
    os.chown(tree / name, 64999, 64999)
    assert root_of(tree / "a/b/c") == tree / "a"
    assert root_of(tree) == tree, "who is there means it"
    tree.chmod(0o755)
    assert root_of(tree / "a/b/c") == tree


def test_what_is_no_file_says_nothing(tree: Path) -> None:
    (tree / "a/b/isol8tasks.toml").mkdir()
    (tree / "a/b/pyproject.toml").mkdir()
    assert root_of(tree / "a/b/c") == tree / "a"


@pytest.mark.parametrize(
    ("content", "table"),
    [
        (b"", {}),
        (b"[tool.isol8tasks]\njobs = 2\n", {"jobs": 2}),
        (b"[project]\nname = 'isol8tasks'\n", {}),
        (b"isol8tasks = \n", {}),
        (b"# isol8tasks \xff\n", {}),
        (b"tool.isol8tasks = 3\n", {}),
        (b"tool = 3 # isol8tasks\n", {}),
    ],
)
def test_the_table_of_a_project_file(content: bytes, table: dict[str, object]) -> None:
    assert project_table(content) == table
