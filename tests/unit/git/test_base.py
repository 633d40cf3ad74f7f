"""The commit that changes are counted from: which it is, what it held, and what is said without."""

from __future__ import annotations

import pytest

from isol8tasks.errors import OperationError, UsageError
from isol8tasks.git import changes, content_at
from tests.unit.git.conftest import Repository, cloned


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
