"""What changed in a git repository, as its own `git` program tells it."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import Isol8Error, OperationError, UsageError

if TYPE_CHECKING:
    from subprocess import Popen

# Filters stay on: without git-lfs's, each of its files would count as changed.
_OPTIONS = ("--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")

# A hook of git's finds these set for the repository and the index of its commit. The question is
# about `root`, wherever that is; and the files are looked at as they are now, in any index.
_OF_ANOTHER_REPOSITORY = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NAMESPACE",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)

_QUIET = {
    "GIT_ALLOW_PROTOCOL": "",  # no protocol at all, whatever protocol.NAME.allow says
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",  # what it says is looked at
}

_MAIN_BRANCHES = (
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
    "refs/heads/main",
    "refs/heads/master",
)

_UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard")
_DIFF = (
    *("-c", "diff.autoRefreshIndex=true"),  # else a file that was only touched counts
    *("diff", "--raw", "-z", "--relative", "--no-renames", "--no-ext-diff", "--no-textconv"),
    "--ignore-submodules=dirty",  # another commit of a submodule counts, edits in it do not
)
_SUBMODULE = b"160000"

_FETCH_MORE = (
    "fetch more of the history: 'git fetch --unshallow', or fetch-depth: 0 where CI checks out"
)


@attrs.frozen(kw_only=True)
class Changes:
    """What is different from a commit, in the working tree as it is now.

    `base` is the full id of that commit, "" when there is none and everything is new; `since` says
    to a person which it is. `paths` are relative to the root and of everything that was added,
    changed or deleted, staged or not, and of what is untracked but not ignored. One that ends with
    a slash is a repository of its own, which git does not look into.
    """

    base: str
    since: str
    paths: frozenset[str]


def changes(root: Path, since: str | None = None) -> Changes:
    """Compare a folder with the commit where its branch left the main branch, or `since`.

    The main branch is origin's, else the local main or master; on that one itself, only what is not
    committed yet counts. UsageError and OperationError say why there is nothing to compare with.
    """
    if since is not None and (not since or since[0] in "-^" or "\0" in since):
        raise UsageError(f"--since '{since}' is not the name of a commit", hint=_NAME_ONE)
    with _start(root, *_UNTRACKED) as untracked:
        base, shown = _base(root, since)
        if base:
            paths = _changed(_output(root, *_DIFF, base, "--"))
        else:
            paths = _names(_output(root, "ls-files", "-z"))
        paths |= _names(_output_of(untracked, root))
    return Changes(base=base, since=shown, paths=frozenset(paths))


def content_at(root: Path, base: str, path: str) -> bytes | None:
    """A file, relative to the root, as it was in a commit; None when it was not there."""
    if not base:
        return None
    # Asked for by name, git would say in words only whether the file or something else is missing.
    found = _output(root, "ls-tree", "-z", base, "--", f"./{path}")
    mode, _, rest = found.partition(b" ")
    if not mode.startswith(b"100"):
        return None
    blob = rest.split(b"\t")[0].split()[1].decode()
    return _output(root, "cat-file", "blob", blob)


def task_files(root: Path, name: str) -> tuple[str, ...] | None:
    """The folders, "" for the root, with a file of this name that git tracks or would track.

    None when git cannot say: it is not installed, does not trust the folder, or that is in no
    working tree.
    """
    if "GIT_DIR" not in os.environ and not _has_repository(root):
        return None
    try:
        found = _output(root, *_UNTRACKED, "--cached", "--", f":(glob)**/{name}")
    except (UsageError, OperationError):
        return None
    there = (path for path in _names(found) if os.path.isfile(os.path.join(root, path)))
    return tuple(sorted(posixpath.dirname(path) for path in there))


def _has_repository(folder: Path) -> bool:
    """Whether it is worth to ask: to start git takes longer than all else of a listing."""
    path = folder.resolve()
    return any((above / ".git").exists() for above in (path, *path.parents))


def _base(root: Path, since: str | None) -> tuple[str, str]:
    """The id of the commit to compare with, "" for none yet, and what to call it."""
    ref, shown = (since, since) if since else _main_branch(root)
    if ref is None:
        if _is_unborn(root):
            return "", _NO_COMMIT
        raise _no_main_branch(root)
    answer = _ask(root, "merge-base", "HEAD", ref)
    if answer.status == 0:
        return answer.output.decode().strip(), shown
    if answer.status == 1:
        raise _nothing_common(root, since or shown.removeprefix(_MERGE_BASE))
    if known := _known(answer, root):
        raise known
    if _is_unborn(root):
        return "", _NO_COMMIT
    if since and not _is_commit(root, since):
        raise _no_commit(root, since)
    raise _failed(answer, root)


_MERGE_BASE = "the merge base with "
_NO_COMMIT = "nothing: there is no commit yet"
_NAME_ONE = "name a branch, a tag or a commit that 'git log' knows, such as --since origin/main"


def _main_branch(root: Path) -> tuple[str | None, str]:
    """The main branch's full name and what to call the commit; HEAD when that is the branch."""
    form = "--format=%(refname) %(HEAD) %(symref:short)"
    found = _output(root, "for-each-ref", form, *_MAIN_BRANCHES).decode(errors="surrogateescape")
    refs = {line.split(" ")[0]: line for line in found.splitlines()}
    for ref in _MAIN_BRANCHES:
        if ref in refs:
            _, *rest = refs[ref].split(" ")
            if rest[0] == "*":
                return "HEAD", "HEAD"
            short = ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")
            return ref, f"{_MERGE_BASE}{rest[-1] or short}"
    return None, ""


def _is_unborn(root: Path) -> bool:
    return _ask(root, "rev-parse", "-q", "--verify", "HEAD").status == 1


def _is_commit(root: Path, ref: str) -> bool:
    return _ask(root, "rev-parse", "-q", "--verify", f"{ref}^{{commit}}").status == 0


def _is_shallow(root: Path) -> bool:
    return _output(root, "rev-parse", "--is-shallow-repository").strip() == b"true"


def _no_main_branch(root: Path) -> Isol8Error:
    tried = "origin/HEAD, origin/main, origin/master, main or master"
    hint = "say what to compare with: --since REF; --since HEAD is what is not committed yet"
    if _is_shallow(root):
        hint = f"{_FETCH_MORE}; or say what to compare with: --since REF"
    return UsageError(f"there is no branch to compare with: no {tried}", hint=hint)


def _nothing_common(root: Path, ref: str) -> Isol8Error:
    if _is_shallow(root):
        message = f"this shallow clone does not reach back to a common commit of HEAD and {ref}"
        return OperationError(message, hint=_FETCH_MORE)
    return UsageError(
        f"HEAD and {ref} have no commit in common",
        hint="say what else to compare with: --since REF",
    )


def _no_commit(root: Path, since: str) -> Isol8Error:
    """The error for a REF that is no commit, with the reason if it is a step too far back."""
    older = re.fullmatch(r"(.+?)(~\d*|\^)+", since)
    if _is_shallow(root):
        return OperationError(f"'{since}' is not in this shallow clone", hint=_FETCH_MORE)
    if older and _is_commit(root, older[1]):
        return UsageError(
            f"'{since}' would be before the first commit",
            hint="without --affected everything runs; --since HEAD is what is not committed yet",
        )
    return UsageError(
        f"there is no commit '{since}'",
        hint=f"{_NAME_ONE}; one of another repository needs 'git fetch' first",
    )


def _changed(raw: bytes) -> set[str]:
    """The paths of `git diff --raw -z`: by turns two modes and more, and a path."""
    parts = raw.split(b"\0")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return {os.fsdecode(path) + "/" * (_SUBMODULE in facts[:14]) for facts, path in pairs}


def _names(listed: bytes) -> set[str]:
    return {os.fsdecode(path) for path in listed.split(b"\0") if path}


@attrs.frozen
class _Answer:
    """How a git ended, what it wrote and what it complained about."""

    status: int
    output: bytes
    complaint: str


def _start(root: Path, *words: str) -> Popen[bytes]:
    from subprocess import DEVNULL, PIPE, Popen  # noqa: PLC0415 -- most runs ask git nothing

    kept = {key: word for key, word in os.environ.items() if key not in _OF_ANOTHER_REPOSITORY}
    try:
        return Popen(
            ["git", *_OPTIONS, "-C", str(root), *words],  # noqa: S607 -- the user's own git
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=kept | _QUIET,
        )
    except OSError as error:
        raise OperationError(
            f"git cannot be started: {error.strerror}",
            hint="install git, or run without --affected",
        ) from error


def _finish(process: Popen[bytes]) -> _Answer:
    output, complaint = process.communicate()
    return _Answer(process.returncode, output, complaint.decode(errors="replace"))


def _ask(root: Path, *words: str) -> _Answer:
    with _start(root, *words) as process:
        return _finish(process)


def _output_of(process: Popen[bytes], root: Path) -> bytes:
    answer = _finish(process)
    if answer.status:
        raise _known(answer, root) or _failed(answer, root)
    return answer.output


def _output(root: Path, *words: str) -> bytes:
    with _start(root, *words) as process:
        return _output_of(process, root)


def _known(answer: _Answer, root: Path) -> Isol8Error | None:
    """The error for what a user can mend, whatever git was asked."""
    said = answer.complaint
    if "not a git repository" in said or "must be run in a work tree" in said:
        return UsageError(
            f"'{root}' is in no working tree of git, so nothing tells what changed",
            hint="run without --affected, or make it a repository: git init",
        )
    if "dubious ownership" in said:
        remedy = re.search(r"git config --global --add safe\.directory .+", said)
        return OperationError(
            f"git does not read '{root}': the repository belongs to somebody else",
            hint=f"if you trust it: {remedy[0]}"
            if remedy
            else "see safe.directory in git's manual",
        )
    if "promisor remote" in said:
        return OperationError(
            "this partial clone lacks files of the commit to compare with, and nothing is fetched",
            hint="fetch them: 'git fetch --refetch --no-filter', or clone without --filter",
        )
    return None


def _failed(answer: _Answer, root: Path) -> Isol8Error:
    lines = [line.strip() for line in answer.complaint.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    said = next(iter(fatal or lines), f"it ended with status {answer.status}")
    return OperationError(
        f"git failed: {said}", hint=f"see what 'git status' says in '{root}', and 'git fsck'"
    )
