"""Repositories as they are found: absent, broken, of somebody else, in a hook, of several trees."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from isol8tasks.errors import OperationError, UsageError
from isol8tasks.git import changes, content_at, task_files
from tests.unit.git.conftest import Repository, cloned


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError) as caught:
        changes(tmp_path / "x")
    assert caught.value.message.startswith(f"'{tmp_path / 'x'}' is in no working tree of git")
    assert caught.value.hint == "run without --affected, or make it a repository: git init"
    assert task_files(tmp_path / "x", "isol8file.py") is None


@pytest.mark.parametrize("since", [None, "HEAD"])
def test_a_repository_without_a_working_tree(repository: Repository, since: str | None) -> None:
    clone = cloned(repository, "--bare")
    for folder in (clone.path, repository.path / ".git"):
        with pytest.raises(UsageError, match="is in no working tree of git"):
            changes(folder, since)
        assert task_files(folder, "a") is None


def test_git_is_not_installed(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OperationError) as caught:
        changes(repository.path)
    assert caught.value.message == "git cannot be started: No such file or directory"
    assert caught.value.hint == "install git, or run without --affected"
    assert task_files(repository.path, "a") is None


@pytest.mark.parametrize("since", [None, "HEAD"])
def test_a_repository_of_somebody_else(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, since: str | None
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(OperationError) as caught:
        changes(repository.path, since)
    assert caught.value.message == (
        f"git does not read '{repository.path}': the repository belongs to somebody else"
    )
    assert caught.value.hint == (
        f"if you trust it: git config --global --add safe.directory {repository.path}"
    )
    assert task_files(repository.path, "a") is None


def test_a_broken_repository(repository: Repository) -> None:
    (repository.path / ".git/index").write_bytes(b"nonsense")
    with pytest.raises(OperationError) as caught:
        changes(repository.path)
    assert caught.value.message.startswith("git failed: ")
    assert "\n" not in caught.value.message


def test_called_from_a_hook(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Repository(repository.path.parent / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    repository.write("a", "other")
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/next-index-7.lock")
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert changes(repository.path / "lib").paths == set()
    assert changes(repository.path).paths == {"a"}
    assert task_files(repository.path, "b") == ("lib",)


def test_a_commit_that_a_hook_is_part_of(repository: Repository) -> None:
    seen = repository.path.parent / "seen"
    hook = repository.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    code = (
        "import sys, pathlib, isol8tasks.git as git; print(git.changes(pathlib.Path.cwd()).paths)"
    )
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' >'{seen}'\n")
    hook.chmod(0o755)
    repository.write("a", "other")
    repository.git("commit", "--quiet", "--all", "--message", "with a hook")
    assert seen.read_text() == "frozenset({'a'})\n"


def test_programs_that_a_repository_names_are_not_run(repository: Repository) -> None:
    """No file system monitor, no hook, no external diff and no conversion to text."""
    witness = repository.path.parent / "ran"
    program = repository.path.parent / "program"
    program.write_text(f"#!/bin/sh\necho ran >>'{witness}'\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "diff.odd.textconv", "diff.odd.command"):
        repository.git("config", key, str(program))
    hooks = repository.path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(program)
    repository.write(".gitattributes", "* diff=odd\n")
    repository.write("a", "other")
    os.utime(repository.path / "lib/b", (1, 1))
    witness.unlink(missing_ok=True)
    assert changes(repository.path).paths == {".gitattributes", "a"}
    assert content_at(repository.path, "HEAD", "a") == b"a"
    assert not witness.exists()


def test_an_index_that_somebody_else_has_locked(repository: Repository) -> None:
    (repository.path / ".git/index.lock").touch()
    os.utime(repository.path / "a", (1, 1))
    repository.write("lib/b", "other")
    assert changes(repository.path).paths == {"lib/b"}


def test_a_submodule_counts_when_another_commit_of_it_is_meant(repository: Repository) -> None:
    other = Repository(repository.path.parent / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    other.commit("x")
    repository.git("submodule", "--quiet", "add", str(other.path), "libs/sub")
    repository.commit()
    repository.git("switch", "--quiet", "--create", "topic")
    sub = Repository(repository.path / "libs/sub")
    sub.write("x", "dirty")
    sub.write("untracked")
    assert changes(repository.path).paths == set()
    sub.commit()
    assert changes(repository.path).paths == {"libs/sub/"}
    repository.commit()
    assert changes(repository.path).paths == {"libs/sub/"}


def test_a_sparse_checkout(repository: Repository) -> None:
    repository.git("sparse-checkout", "set", "--cone", "lib")
    assert not (repository.path / "app").exists()
    assert changes(repository.path).paths == set()
    repository.write("lib/b", "other")
    assert changes(repository.path).paths == {"lib/b"}


def test_another_working_tree_of_the_repository(repository: Repository) -> None:
    tree = Repository(repository.path.parent / "tree")
    repository.git("worktree", "add", "--quiet", "-b", "topic", str(tree.path))
    tree.write("a", "other")
    assert changes(tree.path).paths == {"a"}
    assert changes(repository.path).paths == set()


def test_task_files(repository: Repository) -> None:
    name = "isol8file.py"
    repository.write(".gitignore", "/build/\n")
    repository.commit(name, f"libs/core/{name}", f"gone/{name}", f"odd {name}", f"x/{name}.txt")
    (repository.path / "gone" / name).unlink()
    repository.write(f"libs/new one/{name}")
    repository.write(f"build/{name}")
    assert task_files(repository.path, name) == ("", "libs/core", "libs/new one")
    assert task_files(repository.path / "libs", name) == ("core", "new one")
    assert task_files(repository.path / "app", name) == ()
    assert task_files(repository.path / "nowhere", name) is None
