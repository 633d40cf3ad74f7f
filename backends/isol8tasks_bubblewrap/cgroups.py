"""Limits for a whole process tree, by control groups of our own."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

from isol8tasks.backend import cgroup_tree as tree
from isol8tasks.backend.owner import Owner
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit, Limits
from isol8tasks_bubblewrap import cgroup_files as files
from isol8tasks_bubblewrap.cgroup_files import Usage
from isol8tasks_bubblewrap.cgroup_layout import Branch, Missing, decide, held

__all__ = ["Group", "Hierarchy", "Missing", "Usage", "find", "look"]

_PREFIX = "isol8tasks-"
_RUNNER = "runner"
_NUMBERS = itertools.count()
_PARENTS = threading.Lock()
"""Both of the whole process, as every `Hierarchy` in it makes groups below the same parent."""

_Figure = TypeVar("_Figure", int, float)

_Places = tuple[tuple[Branch, str], ...]
"""A group's folder in each hierarchy."""


class _Host:
    """This process's own view."""

    @staticmethod
    def read(path: str) -> str | None:
        return tree.read(path)

    @staticmethod
    def writable(path: str) -> bool:
        return os.access(path, os.W_OK, effective_ids=True)


def look() -> Hierarchy | Missing:
    """What this process may use for groups of its own; changes nothing."""
    found = decide(_Host())
    return found if isinstance(found, Missing) else Hierarchy(found)


def find() -> Hierarchy | None:
    """What this process may use for groups of its own, None for nothing."""
    found = look()
    return found if isinstance(found, Hierarchy) else None


class Group:
    """One group in every hierarchy; from any thread."""

    def __init__(self, places: _Places) -> None:
        self._places = places
        self._killed = False
        self._denied = False

    @contextmanager
    def task_lists(self) -> Iterator[tuple[int, ...]]:
        """Open files: a process that writes "0" to each of them is in the group from then on.

        A single-threaded process that moves itself is what the kernel does at once; moving another
        waits for every processor to notice (an RCU grace period), some 12 ms on an idle machine.
        """
        with ExitStack() as stack:
            lists = []
            for branch, folder in self._places:
                path = f"{folder}/{'tasks' if branch.version == 1 else 'cgroup.procs'}"
                lists.append(_open(path))
                stack.callback(os.close, lists[-1])
            yield tuple(lists)

    def usage(self) -> Usage:
        """What was used until now; SandboxError after `close`."""
        if not all(os.path.exists(folder) for _, folder in self._places):
            raise SandboxError("the control group of a sandbox is gone")
        return Usage(
            oom_killed=self._any(files.oom_killed),
            peak_memory_bytes=self._first(files.peak_memory),
            cpu_seconds=self._first(files.cpu_seconds),
            pids_denied=self._denied if self._killed else self._any(files.pids_denied),
        )

    def throttled(self) -> bool:
        """Whether the processor quota ever stopped the group."""
        return self._any(files.throttled)

    def _first(self, figure: Callable[[Branch, files.Read], _Figure | None]) -> _Figure | None:
        figures = (figure(branch, _reader(folder)) for branch, folder in self._places)
        return next((value for value in figures if value is not None), None)

    def _any(self, event: Callable[[Branch, files.Read], bool]) -> bool:
        """Version 1 counts events only where they happened, so groups inside are asked too."""
        return any(
            event(branch, _reader(group))
            for branch, folder in self._places
            for group in tree.groups(folder)
        )

    def kill(self) -> None:
        """End every process of the group; forks that this stops are not counted as denied."""
        if not self._killed:
            self._denied = self._any(files.pids_denied)
            self._killed = True
        tree.kill([folder for _, folder in self._places])

    def close(self) -> None:
        """Kill what is left and remove the group; may be repeated. SandboxError if it stays."""
        left = tree.remove([folder for _, folder in self._places])
        if left:
            raise SandboxError(f"cannot remove the control group {left[0]}: it is in use")


class Hierarchy:
    """Where this process makes groups: each below a parent that carries its `Owner` as a name."""

    def __init__(self, branches: Iterable[Branch]) -> None:
        self.branches = tuple(branches)
        self._name = f"{_PREFIX}{Owner.current()}"

    @property
    def holds(self) -> frozenset[Limit]:
        """Which of memory, pids and cpus the groups hold."""
        return held(self.branches)

    def create(self, limits: Limits) -> Group:
        """Make a group that holds these limits; SandboxError says what was refused."""
        number = next(_NUMBERS)
        places = tuple((branch, f"{self._parent(branch)}/{number}") for branch in self.branches)
        try:
            for branch, folder in places:
                self._make(branch, folder)
                _set(branch, folder, limits)
        except BaseException:
            tree.remove([folder for _, folder in places])
            raise
        return Group(places)

    def _parent(self, branch: Branch) -> str:
        return f"{branch.folder}/{self._name}"

    def _make(self, branch: Branch, folder: str) -> None:
        """The parent is made when it is missing: on first use, or when another one removed it."""
        try:
            with _PARENTS:  # nobody takes the controllers away from a group that is just made
                try:
                    os.mkdir(folder)
                except FileNotFoundError:
                    self._open_parent(branch)
                    os.mkdir(folder)
        except OSError as error:
            raise tree.refused(f"make the control group {folder}", error) from error

    def _open_parent(self, branch: Branch) -> None:
        parent = self._parent(branch)
        try:
            os.mkdir(parent)
        except FileExistsError:
            return
        try:
            if branch.version == 2:
                _pass_on(branch, parent)
        except BaseException:
            _close_parent(branch, parent)
            raise

    def sweep(self, older_than: float | None = None, *, everywhere: bool = False) -> int:
        """Remove the groups of runs that died, with all that is in them; how many runs that was.

        Looks beside our own groups, or `everywhere` in the hierarchies. What belongs to another pid
        namespace goes only when it is older than `older_than` seconds.
        """
        swept = set()
        for branch in self.branches:
            tops = tree.groups(branch.top) if everywhere else (branch.folder,)
            for parent in [path for top in tops for path in tree.children(top)]:
                if _is_left(parent, older_than) and not tree.remove([parent]):
                    swept.add(os.path.basename(parent))
        return len(swept)

    def close(self) -> None:
        """Remove the parent, unless another `Hierarchy` of this process uses it; repeatable."""
        with _PARENTS:
            for branch in self.branches:
                _close_parent(branch, self._parent(branch))


def _is_left(parent: str, older_than: float | None) -> bool:
    name = os.path.basename(parent)
    owner = Owner.parse(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
    if owner is None or (alive := owner.alive()):
        return False
    if os.getpid() in tree.processes([parent]):  # the dead one started us
        return False
    if alive is False:
        return True
    with suppress(OSError):
        return older_than is not None and time.time() - os.stat(parent).st_mtime > older_than
    return False


def _pass_on(branch: Branch, parent: str) -> None:
    """Only a group without processes may pass controllers on: so we step aside where we are one."""
    if branch.vacate:
        os.mkdir(f"{parent}/{_RUNNER}")
        _move_all(branch.folder, f"{parent}/{_RUNNER}")
    if branch.enable:
        _write(f"{branch.folder}/cgroup.subtree_control", _words("+", branch.enable))
    if branch.controllers:
        _write(f"{parent}/cgroup.subtree_control", _words("+", branch.controllers))


def _move_all(source: str, target: str) -> None:
    """Move all processes of one group to another: ourselves, and the holder that we started."""
    for pid in (tree.read(f"{source}/cgroup.procs") or "").split():
        with suppress(ProcessLookupError):
            tree.write(f"{target}/cgroup.procs", pid)


def _close_parent(branch: Branch, parent: str) -> None:
    """Take back what `_pass_on` did, as far as nobody else needs it, and remove the parent."""
    if branch.vacate and tree.children(parent) == [f"{parent}/{_RUNNER}"]:
        for path, value in (
            (f"{parent}/cgroup.subtree_control", _words("-", branch.controllers)),
            (f"{branch.folder}/cgroup.subtree_control", _words("-", branch.enable)),
        ):
            with suppress(OSError):
                tree.write(path, value)
        with suppress(OSError):
            _move_all(f"{parent}/{_RUNNER}", branch.folder)
        with suppress(OSError):
            os.rmdir(f"{parent}/{_RUNNER}")
    with suppress(OSError):
        os.rmdir(parent)


def _words(sign: str, controllers: Iterable[str]) -> str:
    return " ".join(sign + name for name in sorted(controllers))


def _set(branch: Branch, folder: str, limits: Limits) -> None:
    for setting in files.settings(branch, limits):
        try:
            tree.write(f"{folder}/{setting.file}", setting.value)
        except OSError as error:
            if error.errno not in setting.unless:
                what = f"write {setting.value} to {folder}/{setting.file}"
                raise tree.refused(what, error) from error


def _write(path: str, value: str) -> None:
    try:
        tree.write(path, value)
    except OSError as error:
        raise tree.refused(f"write {value} to {path}", error) from error


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise tree.refused(f"open {path}", error) from error


def _reader(folder: str) -> files.Read:
    return lambda file: tree.read(f"{folder}/{file}")
