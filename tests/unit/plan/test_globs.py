from __future__ import annotations

import pytest

from isol8tasks.errors import PlanError
from isol8tasks.plan.globs import compile_glob, literal_folder


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("src", "src", True),
        ("src", "src/deep/a.py", True),
        ("src", "src2/a.py", False),
        ("src", "lib/src", False),
        ("src/", "src", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/**/*.py", "src/deep/er/a.py", True),
        ("src/**/*.py", "src/a.py", True),
        ("**", "a/b", True),
        ("*.toml", "a/b.toml", False),
        ("[ab].py", "b.py", True),
        ("!a", "!a", True),
        ("#a", "#a", True),
        ("**/*.py", "l\udcff.py", True),
        ("../a", "a", False),
    ],
)
def test_globs_are_anchored_and_follow_gitignore(glob: str, path: str, matches: bool) -> None:
    assert compile_glob(glob)(path) is matches


def test_a_glob_that_cannot_be_understood() -> None:
    with pytest.raises(PlanError, match="the glob 'a\\\\' cannot be understood"):
        compile_glob("a\\")


@pytest.mark.parametrize(
    ("glob", "folder"),
    [
        ("src", "src"),
        ("src/deep/*.py", "src/deep"),
        ("src/d?ep/a.py", "src"),
        ("src/[d]eep/a.py", "src"),
        ("src/d\\eep/a.py", "src"),
        ("**/a", ""),
        ("src/", "src"),
        ("src/a.py", "src/a.py"),
    ],
)
def test_the_part_that_needs_no_search(glob: str, folder: str) -> None:
    assert literal_folder(glob) == folder
