"""The task files of one workspace: which there are, and which of them a request needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from isol8tasks import git
from isol8tasks.errors import Location, PlanError, TaskFileError, UsageError
from isol8tasks.model.address import is_below, local, split
from isol8tasks.model.stage import STATE_FOLDER, Task, TaskFile
from isol8tasks.plan.suggest import did_you_mean
from isol8tasks.taskfile.address import DEEP, Address, is_pattern, parse
from isol8tasks.taskfile.collect import shown
from isol8tasks.taskfile.load import INIT, load, nearest, no_task_file
from isol8tasks.taskfile.root import FILE_NAME, root_of, says_so
from isol8tasks.taskfile.wrong import Wrong

_NOT_SEARCHED = frozenset({"node_modules", "__pycache__", "site-packages", STATE_FOLDER})
"""Also where git looks: in the last are files that stages made."""


class Problems(UsageError):
    """Several task files that are wrong, each with an error of its own."""

    def __init__(self, message: str, *, errors: Sequence[UsageError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)

    @classmethod
    def of(cls, errors: Sequence[UsageError]) -> UsageError:
        """The only error, or all of them."""
        count = f"{len(errors)} task files are wrong"
        return errors[0] if len(errors) == 1 else cls(count, errors=errors)


@attrs.frozen
class Request:
    """What was asked for: the task files that it takes, and names in them, tasks included."""

    files: tuple[TaskFile, ...]
    taskfile: TaskFile
    targets: tuple[str, ...]
    skip: tuple[str, ...] = ()


class Workspace:
    """Task files below a root, each run when it is needed, once.

    `folder` is where the user is, `package` the folder of the task file that is meant there, both
    relative to the root; `package` is None where no task file is. `file` is the path of that one
    when it is not `isol8file.py`. `elsewhere` are folders that were found, of other workspaces.
    """

    def __init__(
        self, root: Path, *, folder: str = "", package: str | None = "", file: Path | None = None
    ) -> None:
        self.root = root
        self.folder = folder
        self.package = package
        self._file = file
        self.elsewhere: set[str] = set()
        self._loaded: dict[str, TaskFile | UsageError] = {}
        self._needs: dict[str, _Needs] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self._ours = {"": True}
        self._found: dict[str, tuple[str, ...]] = {}
        self._matched: dict[Address, list[str]] = {}

    @classmethod
    def around(cls, start: Path, file: Path | None = None) -> Workspace:
        """The workspace of a folder, or of the task file that is named. TaskFileError for none."""
        start = Path(os.path.abspath(start))
        path = Path(os.path.abspath(file)) if file else nearest(start)
        root = root_of(path.parent if file and path else start)
        if path and not file and root and not path.is_relative_to(root):
            path = None  # what is above the root is another workspace's
        if path is None and root is None:
            raise no_task_file(start)
        root = root or (path.parent if path else start)
        folder = _relative(start, root)
        package = _relative(path.parent, root) if path else None
        return cls(
            root, folder=package or "" if folder is None else folder, package=package, file=file
        )

    def everything(self, below: str | None = None) -> tuple[str, ...]:
        """The folders of all task files at and below a folder, the root's first.

        What is in another workspace, below this one, is not of ours.
        """
        start = self.folder if below is None else below
        if start not in self._found:
            self._found[start] = self._find(start)
        folders = set(self._found[start])
        if self.package is not None and (below is None or is_below(self.package, start)):
            folders.add(self.package)
        return tuple(sorted(folders))

    def _find(self, start: str) -> tuple[str, ...]:
        names = git.task_files(self.root / start, FILE_NAME) or _walked(self.root / start)
        paths = [os.path.join(start, name).rstrip("/") if name else start for name in names]
        searched = [path for path in paths if not _NOT_SEARCHED.intersection(path.split("/"))]
        ours = tuple(path for path in searched if self._is_ours(path))
        self.elsewhere.update(set(searched) - set(ours))
        return ours

    def _is_ours(self, folder: str) -> bool:
        if folder not in self._ours:
            path = self.root / folder
            self._ours[folder] = not says_so(path) and self._is_ours(os.path.dirname(folder))
        return self._ours[folder]

    def load_all(self, folders: Iterable[str]) -> tuple[list[TaskFile], list[UsageError]]:
        """What task files declare, and the errors of those that are wrong."""
        loaded, errors = [], []
        for folder in folders:
            try:
                loaded.append(self.load(folder))
            except UsageError as error:
                errors.append(error)
        return loaded, errors

    def load(self, folder: str) -> TaskFile:
        """What the task file in a folder declares; TaskFileError when it is wrong or not there."""
        found = self._loaded.get(folder)
        if found is None:
            found = self._loaded[folder] = self._run(folder)
        if isinstance(found, UsageError):
            raise found
        return found

    def _run(self, folder: str) -> TaskFile | UsageError:
        named = self._file is not None and folder == self.package
        path = self._file if named and self._file else self.root / folder / FILE_NAME
        try:
            if not named:
                self._check(path, folder)
            found = load(path, root=self.root)
        except UsageError as error:
            return error
        self._needs.update((needs.name, needs) for needs in _needs(found))
        return found

    def _check(self, path: Path, folder: str) -> None:
        """No file of a stranger's is run, and none is found by two names."""
        where = Location(shown(str(path)), 0)
        if folder and os.path.realpath(path.parent) != f"{os.path.realpath(self.root)}/{folder}":
            raise TaskFileError(
                "this folder is reached by a link",
                where=where,
                hint="name it by its own path from the workspace's root",
            )
        try:
            owner, trusted = path.lstat().st_uid, {0, os.geteuid(), self.root.stat().st_uid}
        except OSError:
            return  # which `load` says better
        if owner not in trusted:
            raise TaskFileError(
                "the task file belongs to another user, so it is not run",
                where=where,
                hint="look at it, and name it with --file, or make it yours",
            )

    def together(self, files: Sequence[TaskFile]) -> TaskFile:
        """Several task files as one."""
        here = next((file for file in files if file.folder == self.package), None)
        return TaskFile(
            path=here.path if here else str(self.root / self.folder / FILE_NAME),
            root=str(self.root),
            folder=self.folder if self.package is None else self.package,
            folders=frozenset(file.folder for file in files),
            sources=frozenset().union(*(file.sources for file in files)),
            description=here.description if here else "",
            stages=tuple(stage for file in files for stage in file.stages),
            tasks=tuple(self._task(task) for file in files for task in file.tasks),
        )

    def request(
        self, targets: Sequence[str], *, skip: Sequence[str] = (), below: str | None = None
    ) -> Request:
        """The task files for some targets and all that they require.

        Without targets those for what runs by default here, or for everything `below` a folder,
        whose task files are all read. Problems, TaskFileError and PlanError say what is wrong.
        """
        wanted, left = (
            tuple(dict.fromkeys(name for target in words for name in self._names(target)))
            for words in (targets, skip)
        )
        files = [] if below is None else self._good(self.everything(below))
        names = [*wanted, *(name for file in files for name in file.names)]
        if not names:
            files = [self.current()]
            names = _by_default(files[0]) if below is None else list(files[0].names)
        names += left
        folders = {*(file.folder for file in files), *self._closure(names)}
        files = [self.load(folder) for folder in sorted(folders)]
        return Request(tuple(files), self.together(files), wanted, left)

    def _good(self, folders: Iterable[str]) -> list[TaskFile]:
        files, errors = self.load_all(folders)
        if errors:
            raise Problems.of(errors)
        return files

    def current(self) -> TaskFile:
        """What the nearest task file declares; TaskFileError when there is none."""
        return self.load(self._current())

    def _current(self) -> str:
        if self.package is None:
            raise TaskFileError(
                f"no {FILE_NAME} in '{self.root / self.folder}' or above it, up to the workspace's "
                "root",
                hint=f"name a target, such as //{DEEP} for everything; {INIT}",
            )
        return self.package

    def _names(self, target: str) -> list[str]:
        """The names that an address of a user's stands for."""
        try:
            address = parse(target, package=self.package or "", folder=self.folder)
        except Wrong as error:
            raise PlanError(error.message, hint=error.hint) from error
        if address.deep:
            return self._matching(target, address)
        if self.package is None and ":" not in target:
            self._current()
        self._require(address.folder, f"there is no '{target}'", None)
        return [address.canonical]

    def _matching(self, target: str, address: Address, where: Location | None = None) -> list[str]:
        if address not in self._matched:
            self._matched[address] = self._all_matching(target, address, where)
        return self._matched[address]

    def _all_matching(self, target: str, address: Address, where: Location | None) -> list[str]:
        files = self._good(self.everything(address.folder))
        if not files:
            raise PlanError(f"'{target}' matches no task file", where=where, hint=_see_all())
        if not address.name:
            return [name for file in files for name in _by_default(file)]
        found = [name for file in files for name in file.names if local(name) == address.name]
        if not found:
            known = sorted({local(name) for file in files for name in file.names})
            guess = did_you_mean(address.name, known)
            message = f"'{target}' matches no stage and no task{guess}"
            raise PlanError(message, where=where, hint=_see_all())
        return found

    def _closure(self, names: Iterable[str]) -> dict[str, None]:
        """The folders of everything that these names require, each task file run."""
        folders: dict[str, None] = {}
        seen: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            folder = split(name)[0]
            folders[folder] = None
            self.load(folder)
            if needs := self._needs.get(name):
                pending += self._before(needs)
        return folders

    def _before(self, needs: _Needs) -> tuple[str, ...]:
        """What a stage or a task needs, every pattern replaced by what it matches but itself."""
        found: dict[str, None] = {}
        for each in needs.before:
            if is_pattern(each):
                address = parse(each, package="", folder="")
                found |= dict.fromkeys(self._matching(each, address, needs.where))
                found.pop(needs.name, None)
            else:
                self._require(split(each)[0], f"{needs.what} '{each}'", needs.where)
                found[each] = None
        if any(map(is_pattern, needs.before)):
            self._members[needs.name] = tuple(found)
        return tuple(found)

    def _task(self, task: Task) -> Task:
        members = self._members.get(task.name)
        return task if members is None else attrs.evolve(task, members=members)

    def _require(self, folder: str, message: str, where: Location | None) -> None:
        path = self.root / folder / FILE_NAME
        if folder in self._loaded or folder == self.package or os.path.isfile(path):
            return
        shown_path = shown(str(path))
        raise PlanError(f"{message}: there is no {shown_path}", where=where, hint=_see_all())


@attrs.frozen
class _Needs:
    """What a stage or a task needs; `what` begins a sentence about it."""

    name: str
    before: tuple[str, ...]
    where: Location
    what: str


def _needs(file: TaskFile) -> Iterator[_Needs]:
    for stage in file.stages:
        what = f"stage '{stage.name}' requires"
        yield _Needs(stage.name, stage.prerequisites, stage.declared_at, what)
    for task in file.tasks:
        yield _Needs(
            task.name, task.members, task.declared_at, f"task '{task.name}' has the member"
        )


def _by_default(file: TaskFile) -> list[str]:
    tasks = [task.name for task in file.tasks if task.default]
    return tasks or [stage.name for stage in file.stages]


def _relative(folder: Path, root: Path) -> str | None:
    if not folder.is_relative_to(root):
        return None
    relative = folder.relative_to(root).as_posix()
    return "" if relative == "." else relative


def _see_all() -> str:
    return "run 'isol8tasks list' in the workspace's root to see what is declared"


def _walked(top: Path) -> list[str]:
    """The folders with a task file below a folder; links, hidden folders and the like left out."""
    found = []
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if _is_searched(folder, name)]
        if FILE_NAME in files:
            relative = os.path.relpath(folder, top)
            found.append("" if relative == "." else relative)
    return found


def _is_searched(folder: str, name: str) -> bool:
    hidden = name.startswith(".") or name in _NOT_SEARCHED
    return not hidden and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
