from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from isol8tasks.errors import OperationError, UsageError
from isol8tasks.git import changes, content_at, task_files

IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@invalid",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@invalid",
    "GIT_AUTHOR_DATE": "2030-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2030-01-01T00:00:00Z",
}


@attrs.frozen
class Repository:
    path: Path

    def git(self, *words: str) -> str:
        ran = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-C", self.path, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout.strip()

    def write(self, path: str, text: str = "") -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_text(text or path)

    def commit(self, *paths: str) -> str:
        for path in paths:
            self.write(path)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", " ".join(paths) or "empty")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def unborn(tmp_path: Path) -> Repository:
    """A repository without a commit."""
    found = Repository(tmp_path / "repository")
    found.path.mkdir()
    found.git("init", "--quiet", "--initial-branch", "main")
    return found


@pytest.fixture
def repository(unborn: Repository) -> Repository:
    """One with three committed files and an ignored one, on main."""
    unborn.write(".gitignore", "*.log\n")
    unborn.write("ignored.log")
    unborn.commit("a", "lib/b", "app/c")
    return unborn


def cloned(origin: Repository, *options: str) -> Repository:
    target = Repository(origin.path.parent / "clone")
    origin.git("clone", "--quiet", *options, origin.path.as_uri(), str(target.path))
    return target


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


def test_what_main_got_meanwhile_is_no_change_of_ours(repository: Repository) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.git("switch", "--quiet", "--create", "topic")
    repository.commit("ours")
    repository.git("switch", "--quiet", "main")
    repository.commit("theirs")
    repository.git("switch", "--quiet", "topic")
    assert changes(repository.path).base == base
    assert changes(repository.path).paths == {"ours"}
    assert changes(repository.path, "main").paths == {"ours"}


def test_on_main_itself_only_what_is_not_committed(repository: Repository) -> None:
    head = repository.commit("d")
    repository.write("a", "other")
    found = changes(repository.path)
    assert (found.base, found.since, set(found.paths)) == (head, "HEAD", {"a"})


def test_on_master_and_without_main(unborn: Repository) -> None:
    unborn.git("symbolic-ref", "HEAD", "refs/heads/master")
    unborn.commit("a")
    assert changes(unborn.path).since == "HEAD"
    unborn.git("switch", "--quiet", "--create", "topic")
    unborn.commit("b")
    assert changes(unborn.path).since == "the merge base with master"
    assert changes(unborn.path).paths == {"b"}


def test_on_main_with_a_remote_what_is_not_pushed(repository: Repository) -> None:
    clone = cloned(repository)
    clone.commit("unpushed")
    assert changes(clone.path).since == "the merge base with origin/main"
    assert changes(clone.path).paths == {"unpushed"}


def test_the_main_branch_is_the_one_that_origin_calls_so(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "trunk")
    repository.commit("on-trunk")
    clone = cloned(repository)
    assert changes(clone.path).since == "the merge base with origin/trunk"
    assert changes(clone.path).paths == set()
    clone.git("remote", "set-head", "origin", "--delete")
    assert changes(clone.path).since == "the merge base with origin/main"
    assert changes(clone.path).paths == {"on-trunk"}


def test_a_main_branch_that_origin_no_longer_has_is_passed_over(repository: Repository) -> None:
    clone = cloned(repository)
    clone.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone")
    assert changes(clone.path).since == "the merge base with origin/main"


def test_a_detached_head(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--detach")
    repository.commit("d")
    assert changes(repository.path).paths == {"d"}
    assert changes(repository.path, "HEAD~1").paths == {"d"}
    assert changes(repository.path, "HEAD").paths == set()


@pytest.mark.parametrize("ref", ["v1", "v1^{commit}", "HEAD~2", "@~2", "HEAD^^"])
def test_since_a_commit(repository: Repository, ref: str) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.git("tag", "--annotate", "--message", "one", "v1")
    repository.commit("d")
    repository.commit("e")
    found = changes(repository.path, ref)
    assert (found.base, found.since, set(found.paths)) == (base, ref, {"d", "e"})


def test_no_branch_to_compare_with(repository: Repository) -> None:
    repository.git("branch", "--move", "trunk")
    with pytest.raises(UsageError) as caught:
        changes(repository.path)
    assert caught.value.message == (
        "there is no branch to compare with: no origin/HEAD, origin/main, origin/master, main or "
        "master"
    )
    assert "--since HEAD" in caught.value.hint
    assert changes(repository.path, "HEAD").paths == set()


@pytest.mark.parametrize("since", [None, "HEAD~1", "nonsense"])
def test_before_the_first_commit_everything_is_new(unborn: Repository, since: str | None) -> None:
    unborn.write(".gitignore", "*.log\n")
    unborn.write("x.log")
    unborn.write("staged")
    unborn.git("add", "staged")
    unborn.write("deep/untracked")
    found = changes(unborn.path, since)
    assert (found.base, found.since) == ("", "nothing: there is no commit yet")
    assert found.paths == {".gitignore", "staged", "deep/untracked"}


def test_an_unborn_branch_beside_others(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--orphan", "fresh")
    repository.write("new")
    assert changes(repository.path).base == ""
    assert "new" in changes(repository.path).paths


def test_the_first_commit(repository: Repository) -> None:
    assert changes(repository.path).paths == set()
    with pytest.raises(UsageError) as caught:
        changes(repository.path, "HEAD~1")
    assert caught.value.message == "'HEAD~1' would be before the first commit"
    assert caught.value.hint.startswith("without --affected everything runs")


@pytest.mark.parametrize(
    "ref", ["nonsense", "origin/main", "HEAD^{tree}", "main..HEAD", "HEAD^2", "HEAD:a"]
)
def test_no_such_commit(repository: Repository, ref: str) -> None:
    with pytest.raises(UsageError) as caught:
        changes(repository.path, ref)
    assert caught.value.message == f"there is no commit '{ref}'"
    assert "git fetch" in caught.value.hint


@pytest.mark.parametrize("ref", ["", "-h", "--output=x", "--all", "^main", "a\0b"])
def test_what_is_no_name_does_not_reach_git(repository: Repository, ref: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a commit"):
        changes(repository.path, ref)
    assert not (repository.path / "x").exists()


def test_branches_that_have_nothing_in_common(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--orphan", "other")
    repository.commit("x")
    with pytest.raises(UsageError) as caught:
        changes(repository.path)
    assert caught.value.message == "HEAD and main have no commit in common"


def test_a_shallow_clone_without_the_merge_base(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "topic")
    repository.commit("ours")
    repository.git("switch", "--quiet", "main")
    repository.commit("theirs")
    clone = cloned(repository, "--depth", "1", "--no-single-branch", "--branch", "topic")
    with pytest.raises(OperationError) as caught:
        changes(clone.path)
    assert caught.value.message == (
        "this shallow clone does not reach back to a common commit of HEAD and origin/main"
    )
    assert "fetch-depth: 0" in caught.value.hint
    clone.git("fetch", "--quiet", "--unshallow")
    assert changes(clone.path).paths == {"ours"}


def test_a_shallow_clone_without_the_commit_asked_for(repository: Repository) -> None:
    repository.commit("d")
    clone = cloned(repository, "--depth", "1")
    for ref in ("HEAD~1", "v1"):
        with pytest.raises(OperationError) as caught:
            changes(clone.path, ref)
        assert caught.value.message == f"'{ref}' is not in this shallow clone"
        assert "git fetch --unshallow" in caught.value.hint


def test_a_shallow_clone_of_one_commit_only(repository: Repository) -> None:
    repository.commit("d")
    clone = cloned(repository, "--depth", "1")
    assert changes(clone.path).paths == set()
    clone.git("switch", "--quiet", "--detach")
    for ref in ("refs/heads/main", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"):
        clone.git("update-ref", "--no-deref", "-d", ref)
    with pytest.raises(UsageError, match="there is no branch to compare with") as caught:
        changes(clone.path)
    assert "fetch-depth: 0" in caught.value.hint


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


def test_content_at_a_commit(repository: Repository) -> None:
    repository.write("lib/b", "other")
    (repository.path / "link").symlink_to("a")
    base = repository.commit(":(top)odd")
    repository.write("lib/b", "third")
    assert content_at(repository.path, base, "lib/b") == b"other"
    assert content_at(repository.path, f"{base}~1", "lib/b") == b"lib/b"
    assert content_at(repository.path / "lib", base, "b") == b"other"
    assert content_at(repository.path, base, ":(top)odd") == b":(top)odd"
    for absent in ("gone", "lib", "lib/*", "link", "a/b"):
        assert content_at(repository.path, base, absent) is None
    assert content_at(repository.path, "", "a") is None


def test_a_partial_clone_fetches_nothing(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    repository.write("a", "other")
    repository.commit()
    clone = cloned(repository, "--filter=blob:none")
    clone.git("config", "protocol.file.allow", "always")
    assert changes(clone.path, "HEAD~1").paths == {"a"}
    with pytest.raises(OperationError, match="this partial clone lacks files"):
        content_at(clone.path, first, "a")
    clone.git("fetch", "--quiet", "--refetch", "--no-filter")
    assert content_at(clone.path, first, "a") == b"a"


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
