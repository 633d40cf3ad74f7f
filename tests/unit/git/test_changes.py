"""Which paths have changed since a commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from isol8tasks.git import changes
from tests.unit.git.conftest import Repository


def add(repository: Repository) -> None:
    repository.commit("new")


def edit(repository: Repository) -> None:
    repository.write("lib/b", "other")
    repository.commit()


def delete(repository: Repository) -> None:
    (repository.path / "a").unlink()
    repository.commit()


def delete_and_not_commit(repository: Repository) -> None:
    (repository.path / "a").unlink()


def rename(repository: Repository) -> None:
    repository.git("mv", "a", "z")
    repository.commit()


def move_between_folders(repository: Repository) -> None:
    repository.git("mv", "lib/b", "app/b")


def stage(repository: Repository) -> None:
    repository.write("staged")
    repository.git("add", "staged")


def change_and_not_stage(repository: Repository) -> None:
    repository.write("app/c", "other")


def leave_untracked(repository: Repository) -> None:
    repository.write("deep/er/untracked")


def ignore(repository: Repository) -> None:
    repository.write("deep/er/x.log")


def force_ignored(repository: Repository) -> None:
    repository.git("add", "--force", "ignored.log")


def stage_and_revert(repository: Repository) -> None:
    repository.write("a", "other")
    repository.git("add", "a")
    repository.write("a", "a")


def stage_and_delete(repository: Repository) -> None:
    stage(repository)
    (repository.path / "staged").unlink()


def change_mode(repository: Repository) -> None:
    (repository.path / "a").chmod(0o755)


def only_touch(repository: Repository) -> None:
    repository.git("config", "diff.autoRefreshIndex", "false")
    os.utime(repository.path / "a", (1, 1))


def commit_and_revert(repository: Repository) -> None:
    edit(repository)
    repository.git("revert", "--no-edit", "HEAD")


def file_to_folder(repository: Repository) -> None:
    (repository.path / "a").unlink()
    repository.write("a/inner")


def file_to_link(repository: Repository) -> None:
    (repository.path / "a").unlink()
    (repository.path / "a").symlink_to("lib")


def conflict(repository: Repository) -> None:
    edit(repository)
    repository.git("switch", "--quiet", "--create", "other", "HEAD~1")
    repository.write("lib/b", "third")
    repository.commit()
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "--quiet", "topic")


def odd_names(repository: Repository) -> None:
    for name in (b"sp ace", b"new\nline", b"quo\"te'", b":(top)x", b"t\tab", b"-dash", b"l\xff"):
        Path(os.fsdecode(os.path.join(os.fsencode(repository.path), name))).touch()
    repository.git("add", "sp ace", "t\tab")


def nest_a_repository(repository: Repository) -> None:
    inner = Repository(repository.path / "vendor/inner")
    inner.path.mkdir(parents=True)
    inner.git("init", "--quiet")
    inner.commit("x")


ODD = ["sp ace", "new\nline", "quo\"te'", ":(top)x", "t\tab", "-dash", "l\udcff"]


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (add, ["new"]),
        (edit, ["lib/b"]),
        (delete, ["a"]),
        (delete_and_not_commit, ["a"]),
        (rename, ["a", "z"]),
        (move_between_folders, ["lib/b", "app/b"]),
        (stage, ["staged"]),
        (change_and_not_stage, ["app/c"]),
        (leave_untracked, ["deep/er/untracked"]),
        (ignore, []),
        (force_ignored, ["ignored.log"]),
        (stage_and_revert, []),
        (stage_and_delete, []),
        (change_mode, ["a"]),
        (only_touch, []),
        (commit_and_revert, []),
        (file_to_folder, ["a", "a/inner"]),
        (file_to_link, ["a"]),
        (conflict, ["lib/b"]),
        (odd_names, ODD),
        (nest_a_repository, ["vendor/inner/"]),
    ],
)
@pytest.mark.parametrize("since", [None, "main"])
def test_a_change(
    repository: Repository,
    change: Callable[[Repository], None],
    paths: list[str],
    since: str | None,
) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.git("switch", "--quiet", "--create", "topic")
    change(repository)
    found = changes(repository.path, since)
    assert found.paths == set(paths)
    assert found.base == base
    assert found.since == (since or "the merge base with main")


def test_everything_at_once_from_below_the_top(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "topic")
    repository.commit("lib/committed", "outside")
    repository.git("mv", "lib/b", "app/b")
    repository.write("lib/sub/untracked")
    repository.write("untracked")
    assert changes(repository.path / "lib").paths == {"committed", "b", "sub/untracked"}
    assert changes(repository.path / "app").paths == {"b"}
