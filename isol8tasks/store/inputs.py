"""Globs to input trees. Links are never followed, so a tree cannot reach out of its root."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from isol8tasks.backend.contract import EntryKind, TreeEntry
from isol8tasks.errors import PlanError, StoreError
from isol8tasks.model.stage import STATE_FOLDER, Stage
from isol8tasks.plan.globs import compile_glob, literal_folder
from isol8tasks.plan.suggest import did_you_mean

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_NEVER = frozenset({".git", STATE_FOLDER})


class WorkspaceInputs:
    """Finds the files of a workspace; what was found once stays for the run.

    A glob is anchored at the task file's folder and follows gitignore's rules: `*` stays within a
    folder, `**` crosses folders, and a folder stands for everything below it. `.git` and our own
    folder are never inputs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trees: dict[tuple[str, tuple[str, ...] | None], tuple[TreeEntry, ...]] = {}

    def declared(self, stage: Stage) -> tuple[TreeEntry, ...]:
        """The files that the stage's globs match.

        PlanError for a glob that matches none, and for a working directory that would be empty.
        """
        found = self._found(stage)
        if stage.workdir and found and not stage.input_stages:
            self._check_workdir(stage, (*(entry.path for entry in found), *_given(stage)))
        return found

    @staticmethod
    def _check_workdir(stage: Stage, paths: tuple[str, ...]) -> None:
        """A linter that looks at an empty folder has nothing to say."""
        if not any(path.startswith(f"{stage.working_directory}/") for path in paths):
            below = len(stage.folder) + bool(stage.folder)
            tops = {path[below:].partition("/")[0] for path in paths if "/" in path[below:]}
            raise PlanError(
                f"'{stage.name}' works in '{stage.workdir}', where none of its inputs is"
                + did_you_mean(stage.workdir, sorted(tops)),
                where=stage.declared_at,
                hint="workdir= is relative to the task file; a folder to write to is made by mkdir",
            )

    def _found(self, stage: Stage) -> tuple[TreeEntry, ...]:
        key = (stage.folder, stage.inputs)
        if key not in self._trees:
            if stage.inputs is None:
                self._trees[key] = tuple(self._trackable(stage))
            else:
                self._trees[key] = self._matching(stage, stage.inputs)
        return self._trees[key]

    def _matching(self, stage: Stage, globs: tuple[str, ...]) -> tuple[TreeEntry, ...]:
        found: dict[str, TreeEntry] = {}
        for glob in globs:
            entries = list(self._glob(stage, glob))
            if not entries:
                raise PlanError(
                    f"the input '{glob}' of '{stage.name}' matches no file",
                    where=stage.declared_at,
                    hint=f"globs are relative to {self._folder(stage)}; a stage among the inputs "
                    "is the value that stage() returned, not its name",
                )
            found.update((entry.path, entry) for entry in entries)
        return tuple(found[path] for path in sorted(found))

    def _glob(self, stage: Stage, glob: str) -> Iterator[TreeEntry]:
        matches = compile_glob(glob)
        start = literal_folder(glob)
        if _NEVER.intersection(start.split("/")):
            return
        if self._is_real_folder(stage.folder, start):
            for path in self._walk(stage, start, lambda _: False):
                if matches(path):
                    yield self._entry(stage, path)
        elif (
            matches(start)
            and self._is_real_folder(stage.folder, posixpath.dirname(start))
            and os.path.lexists(self._folder(stage) / start)
        ):
            yield self._entry(stage, start)

    def _is_real_folder(self, folder: str, relative: str) -> bool:
        """Whether every step down to it is a folder and none of them a link."""
        path = self._root / folder
        for part in relative.split("/") if relative else ():
            path /= part
            if path.is_symlink() or not path.is_dir():
                return False
        return path.is_dir()

    def _trackable(self, stage: Stage) -> Iterator[TreeEntry]:
        ignored = GitIgnored(self._folder(stage))
        for path in sorted(self._walk(stage, "", ignored)):
            yield self._entry(stage, path)

    def _walk(self, stage: Stage, start: str, ignored: Callable[[str], bool]) -> Iterator[str]:
        """Paths of files and links below a folder, relative to the task file's folder."""
        folders = [start]
        base = self._folder(stage)
        while folders:
            folder = folders.pop()
            for item in self._scan(base / folder):
                path = posixpath.join(folder, item.name)
                is_folder = item.is_dir(follow_symlinks=False)
                if item.name in _NEVER or ignored(path + "/" * is_folder):
                    continue
                if is_folder:
                    folders.append(path)
                else:
                    yield path

    @staticmethod
    def _scan(folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as items:
                return list(items)
        except OSError as error:
            raise StoreError(f"cannot read the folder {folder}: {error.strerror}") from error

    def _folder(self, stage: Stage) -> Path:
        return self._root / stage.folder if stage.folder else self._root

    def _entry(self, stage: Stage, relative: str) -> TreeEntry:
        path = posixpath.join(stage.folder, relative)
        source = self._root / path
        try:
            found = source.lstat()
            target = str(source.readlink()) if stat.S_ISLNK(found.st_mode) else ""
        except OSError as error:
            raise StoreError(f"cannot read the input {path}: {error.strerror}") from error
        if target:
            return self._link(stage, path, target)
        if not stat.S_ISREG(found.st_mode):
            raise PlanError(
                f"the input '{relative}' of '{stage.name}' is not a regular file",
                where=stage.declared_at,
                hint="sockets, pipes and devices cannot be inputs: leave it out",
            )
        executable = bool(found.st_mode & stat.S_IXUSR)
        return TreeEntry(path=path, executable=executable, source=partial(_open_regular, source))

    def _link(self, stage: Stage, path: str, target: str) -> TreeEntry:
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if target.startswith("/") or joined.startswith("../") or joined == "..":
            raise PlanError(
                f"the input '{path}' of '{stage.name}' is a link that leaves the workspace root: "
                f"it points to '{target}'",
                where=stage.declared_at,
                hint="leave it out of the inputs, or put a copy in its place",
            )
        return TreeEntry(path=path, kind=EntryKind.SYMLINK, target=target)


class GitIgnored:
    """What .gitignore files leave out, each for its own folder, as git reads them.

    Those above the folder count too, up to the root of the repository, and its info/exclude.
    """

    def __init__(self, folder: Path) -> None:
        self._base = _repository(folder)
        self._prefix = "" if folder == self._base else f"{folder.relative_to(self._base)}/"
        self._exclude = _read_gitignore(self._base / ".git/info/exclude")
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def __call__(self, path: str) -> bool:
        """Whether a path below the folder is ignored; a folder ends with a slash."""
        path = self._prefix + path
        verdict = bool(self._exclude and self._exclude.match_file(path))
        parts = path.rstrip("/").split("/")
        for depth in range(len(parts)):
            folder = "/".join(parts[:depth])
            spec = self._spec(folder)
            if spec is not None:
                include = spec.check_file(path[len(folder) + bool(folder) :]).include
                verdict = verdict if include is None else include
        return verdict

    def _spec(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = _read_gitignore(self._base / folder / ".gitignore")
        return self._specs[folder]


def _given(stage: Stage) -> list[str]:
    """The paths of files=, relative to the root."""
    return [posixpath.join(stage.folder, path) for path, _ in stage.files]


def _repository(folder: Path) -> Path:
    """The root of the repository that a folder is in, else the folder itself."""
    above = (parent for parent in (folder, *folder.parents) if (parent / ".git").exists())
    return next(above, folder)


def _read_gitignore(path: Path) -> GitIgnoreSpec | None:
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 -- `list` needs no globs

    try:
        with _open_regular(path) as file:
            return GitIgnoreSpec.from_lines(file.read().decode(errors="replace").splitlines())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error


def _open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading, not through a link in its last step and never waiting for a FIFO."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(os.open(path, flags), "rb")
