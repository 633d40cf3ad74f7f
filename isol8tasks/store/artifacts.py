"""Logs and outputs of stages: collected apart, then put in place in one step.

A workspace may hold a stranger's files, also at our own folder's name: no link there is followed.
What later stages of a run get is what this run made, whatever another run publishes meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import posixpath
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO

from isol8tasks.backend.contract import TreeEntry
from isol8tasks.backend.folders import ClaimedFolder, sweep_claims
from isol8tasks.errors import PlanError, StoreError
from isol8tasks.model.address import split
from isol8tasks.model.result import OutputFile
from isol8tasks.model.stage import STATE_FOLDER

_IGNORED = b"*\n"
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
"""What rename says when something is at the new name."""


class LocalArtifacts:
    """Artifacts beside each task file, one folder per stage, replaced by its next run.

    `.isol8tasks/STAGE/outputs/PATH` are the outputs, `stdout.log` and `stderr.log` the logs; that
    path is relative to the task file's folder, like `.isol8tasks`.
    `earlier` are the stages that do not run this time, whose outputs of an earlier run will do.
    """

    def __init__(self, root: Path, *, earlier: Collection[str] = ()) -> None:
        self._root = root
        self._earlier = frozenset(earlier)
        self._produced: dict[str, tuple[Path, tuple[OutputFile, ...]]] = {}
        with _writing(root / STATE_FOLDER) as folder:
            _own_state(folder)
            parent = folder / ".staging"
            _own_folder(parent)
        sweep_claims(parent)
        self._staging = ClaimedFolder(parent)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._states: set[Path] = set()
        self._kept = self._staging.path / "kept"
        self._kept.mkdir()

    @staticmethod
    def sweep(root: Path) -> int:
        """Remove what runs that died left in a workspace; how many runs that was."""
        parent = root / STATE_FOLDER / ".staging"
        links = (root / STATE_FOLDER).is_symlink() or parent.is_symlink()
        return 0 if links else sweep_claims(parent)

    def begin(self, stage: str) -> LocalStageFolder:
        """A fresh folder for one attempt of a stage."""
        folder_name, name = split(stage)
        number = f"{name}-{next(self._numbers)}"
        staging, final = self._staging.path / number, self._root / self.log_path(stage)
        self._open_state(final.parent)
        staging.mkdir()
        return LocalStageFolder(
            staging,
            final,
            self._kept / number,
            folder=folder_name,
            record=partial(self._record, stage),
        )

    def _open_state(self, folder: Path) -> None:
        """Once in a run, as no stage can change it; again when somebody removed it."""
        if folder not in self._states or not folder.is_dir():
            with _writing(folder):
                _own_state(folder)
            self._states.add(folder)

    def close(self) -> None:
        """Remove what was begun and not published."""
        self._staging.close()

    def tree(self, stage: str) -> tuple[TreeEntry, ...]:
        """What a stage of this run produced, or of an earlier one, as inputs of another."""
        with self._lock:
            if stage in self._earlier and stage not in self._produced:
                self._produced[stage] = self._taken_over(stage)
        outputs, produced = self._produced.get(stage, (self._kept, ()))
        return tuple(_entry(outputs, file) for file in produced)

    def _taken_over(self, stage: str) -> tuple[Path, tuple[OutputFile, ...]]:
        """A copy, as another run may replace it; PlanError when there is nothing."""
        published = self._root / self.log_path(stage) / "outputs"
        kept = self._kept / str(next(self._numbers))
        try:
            for folder in (published.parents[1], published.parent, published):
                _check_own(folder)
            shutil.copytree(published, kept / split(stage)[0], ignore=_no_files)
        except FileNotFoundError as error:
            raise PlanError(
                f"there are no outputs of '{stage}' from an earlier run",
                hint=f"run it first: isol8tasks run {stage}",
            ) from error
        return kept, tuple(_produced(kept))

    def log_path(self, stage: str) -> str:
        """Where a user finds the stage's logs, relative to the workspace root."""
        folder, name = split(stage)
        return posixpath.join(folder, STATE_FOLDER, name)

    def _record(self, stage: str, kept: Path, produced: tuple[OutputFile, ...]) -> None:
        self._produced[stage] = kept, produced


class LocalStageFolder:
    """One attempt's log and outputs."""

    def __init__(
        self,
        staging: Path,
        final: Path,
        kept: Path,
        *,
        folder: str,
        record: Callable[[Path, tuple[OutputFile, ...]], None],
    ) -> None:
        self._staging = staging
        self._outputs = staging / "outputs"
        self._final = final
        self._kept = kept
        self._folder = folder
        self._record = record

    @cached_property
    def outputs(self) -> Path:
        """An empty folder for a backend to copy outputs into, made when it is asked for."""
        self._outputs.mkdir()
        return self._outputs

    def open_log(self, stream: str) -> IO[bytes]:
        """A file for all that a stream prints."""
        return (self._staging / f"{stream}.log").open("wb")

    def seal(self) -> tuple[OutputFile, ...]:
        """Publish log and outputs, replacing those of an earlier run; what was produced."""
        produced = tuple(_produced(self._outputs))
        if produced:
            shutil.copytree(self._outputs, self._kept, copy_function=os.link)
        if self._folder:
            self._lift()
        _replace(self._staging, self._final)
        self._record(self._kept, produced)
        return produced

    def _lift(self) -> None:
        """Beside a task file its outputs are relative to it, and not to the root."""
        inner, lifted = self._outputs / self._folder, self._staging / "lifted"
        if inner.is_dir():
            inner.rename(lifted)
            shutil.rmtree(self._outputs)
            lifted.rename(self._outputs)

    def discard(self) -> None:
        """Forget what this attempt wrote; harmless after `seal`."""
        shutil.rmtree(self._staging, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    try:
        yield folder
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder}: {error.strerror}",
            hint="logs and outputs are kept there: make the folder writable",
        ) from error


def _own_state(folder: Path) -> None:
    _own_folder(folder)
    _ignore_in_git(folder)


def _own_folder(folder: Path) -> None:
    """Make a folder, or take one that is there and really is one, of ours."""
    folder.mkdir(exist_ok=True)
    _check_own(folder)


def _check_own(folder: Path) -> None:
    found = folder.lstat()
    if not S_ISDIR(found.st_mode):
        raise StoreError(
            f"{folder} is a link, and may lead anywhere"
            if folder.is_symlink()
            else f"{folder} is no folder",
            hint="remove it: logs and outputs are kept in a folder of that name",
        )
    _check_owner(folder)


def _check_owner(folder: Path) -> None:
    if os.geteuid() not in {0, folder.lstat().st_uid}:
        raise StoreError(
            f"{folder} belongs to another user",
            hint="remove it, or run as that user",
        )


def _ignore_in_git(folder: Path) -> None:
    """Whatever a file of that name said: what stages made must not look like the workspace's."""
    path = folder / ".gitignore"
    if not path.is_symlink() and path.is_file() and path.read_bytes() == _IGNORED:
        return
    draft = folder / f".gitignore-{secrets.token_hex(6)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(draft, flags, 0o644)
    os.write(file, _IGNORED)
    os.close(file)
    draft.replace(path)


def _no_files(folder: str, names: list[str]) -> list[str]:
    """What is neither a file nor a folder, and so not of ours."""
    kinds = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    return [name for name in names if not (S_ISREG(kinds[name]) or S_ISDIR(kinds[name]))]


def _entry(outputs: Path, file: OutputFile) -> TreeEntry:
    path = outputs / file.path
    executable = os.access(path, os.X_OK)
    return TreeEntry(path=file.path, executable=executable, source=lambda: path.open("rb"))


def _produced(outputs: Path) -> list[OutputFile]:
    found = []
    for folder, _, names in os.walk(outputs):
        for name in names:
            path = Path(folder, name)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            relative = path.relative_to(outputs).as_posix()
            found.append(OutputFile(path=relative, sha256=digest, size=path.stat().st_size))
    return sorted(found, key=lambda file: file.path)


def _replace(staging: Path, final: Path) -> None:
    """Put a folder in the place of another; of two runs at a time one's stays, whole."""
    while True:
        try:
            staging.rename(final)
        except OSError as error:
            if error.errno == errno.EXDEV:  # a package that is a mount of its own
                target = final.parent / f".new-{secrets.token_hex(6)}"
                staging = Path(shutil.copytree(staging, target, symlinks=True))
                shutil.rmtree(final, ignore_errors=True)
                continue
            if error.errno not in _TAKEN:
                raise
            _move_away(final, staging.parent)
        else:
            return


def _move_away(final: Path, parent: Path) -> None:
    """What was there goes with our other temporary files, when the run ends."""
    with suppress(FileNotFoundError):  # another run was quicker
        _check_owner(final)
        final.rename(parent / f"old-{secrets.token_hex(6)}")
