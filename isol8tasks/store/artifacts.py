"""Logs and outputs of stages: collected apart, then put in place in one step.

A workspace may hold a stranger's files, also at our own folder's name: no link there is followed.
What later stages of a run get is what this run made, whatever another run publishes meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
import shutil
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from isol8tasks.backend.contract import TreeEntry
from isol8tasks.backend.folders import ClaimedFolder, sweep_claims
from isol8tasks.errors import StoreError
from isol8tasks.model.result import OutputFile
from isol8tasks.model.stage import STATE_FOLDER

_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
"""What rename says when something is at the new name."""


class LocalArtifacts:
    """Artifacts below a folder, one folder per stage, replaced by its next run.

    `STAGE/outputs/PATH` are the outputs, `STAGE/stdout.log` and `STAGE/stderr.log` the logs.
    """

    def __init__(self, folder: Path, *, shown: str) -> None:
        self._folder = folder
        self._shown = shown
        self._produced: dict[str, tuple[OutputFile, ...]] = {}
        parent = folder / ".staging"
        try:
            _own_folder(folder)
            _own_folder(parent)
            _ignore_in_git(folder)
        except OSError as error:
            raise StoreError(
                f"cannot write to {folder}: {error.strerror}",
                hint="logs and outputs are kept there: make the folder writable",
            ) from error
        sweep_claims(parent)
        self._staging = ClaimedFolder(parent)
        self._numbers = itertools.count(1)
        self._kept = self._staging.path / "kept"
        self._kept.mkdir()

    @classmethod
    def in_workspace(cls, root: Path) -> LocalArtifacts:
        """Artifacts in our folder of a workspace, which keeps itself out of version control."""
        return cls(root / STATE_FOLDER, shown=STATE_FOLDER)

    @staticmethod
    def sweep(root: Path) -> int:
        """Remove what runs that died left in a workspace; how many runs that was."""
        parent = root / STATE_FOLDER / ".staging"
        links = (root / STATE_FOLDER).is_symlink() or parent.is_symlink()
        return 0 if links else sweep_claims(parent)

    def begin(self, stage: str) -> LocalStageFolder:
        """A fresh folder for one attempt of a stage."""
        staging = self._staging.path / f"{stage}-{next(self._numbers)}"
        staging.mkdir()
        (staging / "outputs").mkdir()
        return LocalStageFolder(
            staging, self._folder / stage, self._kept / stage, partial(self._record, stage)
        )

    def close(self) -> None:
        """Remove what was begun and not published."""
        self._staging.close()

    def tree(self, stage: str) -> tuple[TreeEntry, ...]:
        """What a stage of this run produced, as inputs of another."""
        outputs = self._kept / stage
        return tuple(_entry(outputs, file) for file in self._produced.get(stage, ()))

    def log_path(self, stage: str) -> str:
        """Where a user finds the stage's logs, relative to the workspace root."""
        return f"{self._shown}/{stage}"

    def _record(self, stage: str, produced: tuple[OutputFile, ...]) -> None:
        self._produced[stage] = produced


class LocalStageFolder:
    """One attempt's log and outputs."""

    def __init__(self, staging: Path, final: Path, kept: Path, record: partial[None]) -> None:
        self._staging = staging
        self._final = final
        self._kept = kept
        self._record = record

    @property
    def outputs(self) -> Path:
        """An empty folder for a backend to copy outputs into."""
        return self._staging / "outputs"

    def open_log(self, stream: str) -> IO[bytes]:
        """A file for all that a stream prints."""
        return (self._staging / f"{stream}.log").open("wb")

    def seal(self) -> tuple[OutputFile, ...]:
        """Publish log and outputs, replacing those of an earlier run; what was produced."""
        produced = tuple(_produced(self.outputs))
        if produced:
            shutil.rmtree(self._kept, ignore_errors=True)  # of an earlier attempt
            shutil.copytree(self.outputs, self._kept, copy_function=os.link)
        _replace(self._staging, self._final)
        self._record(produced)
        return produced

    def discard(self) -> None:
        """Forget what this attempt wrote; harmless after `seal`."""
        shutil.rmtree(self._staging, ignore_errors=True)


def _own_folder(folder: Path) -> None:
    """Make a folder, or take one that is there and really is one, of ours."""
    folder.mkdir(exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise StoreError(
            f"{folder} is a link, and may lead anywhere",
            hint="remove it: logs and outputs are kept in a folder of that name",
        )
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise StoreError(
            f"{folder} belongs to another user",
            hint="remove it, or run as that user",
        )


def _ignore_in_git(folder: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(folder / ".gitignore", flags, 0o644)
    except FileExistsError:
        return
    os.write(file, b"*\n")
    os.close(file)


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
            if error.errno not in _TAKEN:
                raise
            _move_away(final, staging.parent)
        else:
            return


def _move_away(final: Path, parent: Path) -> None:
    """What was there goes with our other temporary files, when the run ends."""
    with suppress(FileNotFoundError):  # another run was quicker
        final.rename(parent / f"old-{secrets.token_hex(6)}")
