"""Stores that keep everything in memory."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import IO

from isol8tasks.backend.contract import TreeEntry
from isol8tasks.model.result import OutputFile
from isol8tasks.model.stage import Stage


class MemoryInputs:
    """Input trees by stage name; a stage that is not listed has no inputs."""

    def __init__(self, trees: dict[str, dict[str, bytes]] | None = None) -> None:
        self._trees = trees or {}

    def declared(self, stage: Stage) -> tuple[TreeEntry, ...]:
        """The files given for the stage."""
        return tree_of(self._trees.get(stage.name, {}))


class MemoryArtifacts:
    """Logs and outputs in dictionaries: `logs[stage, stream]` and `outputs[stage][path]`."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, str], bytes] = {}
        self.outputs: dict[str, dict[str, bytes]] = {}

    def begin(self, stage: str) -> MemoryStageFolder:
        """A fresh folder for one attempt of a stage."""
        return MemoryStageFolder(self, stage)

    def tree(self, stage: str) -> tuple[TreeEntry, ...]:
        """What a stage produced, as inputs of another."""
        return tree_of(self.outputs.get(stage, {}))

    def log_path(self, stage: str) -> str:
        """A name for the stage's log."""
        return f"memory:{stage}"


class MemoryStageFolder:
    """One attempt's log and outputs. Backends write files, so a real folder is made on demand."""

    def __init__(self, store: MemoryArtifacts, stage: str) -> None:
        self._store = store
        self._stage = stage
        self._folder: Path | None = None
        self._logs: dict[str, _Log] = {}

    @property
    def outputs(self) -> Path:
        """An empty folder for a backend to copy outputs into."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="isol8tasks-"))
        return self._folder

    def open_log(self, stream: str) -> IO[bytes]:
        """A buffer for all that a stream prints."""
        self._logs[stream] = _Log()
        return self._logs[stream]

    def seal(self) -> tuple[OutputFile, ...]:
        """Take over log and outputs; what was produced."""
        for stream, log in self._logs.items():
            self._store.logs[self._stage, stream] = log.content
        files = dict(_read(self._folder)) if self._folder else {}
        self._store.outputs[self._stage] = files
        return tuple(
            OutputFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            for path, content in sorted(files.items())
        )

    def discard(self) -> None:
        """Remove the folder, if there is one."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def tree_of(files: dict[str, bytes]) -> tuple[TreeEntry, ...]:
    """An input tree from paths and contents."""
    return tuple(
        TreeEntry(path=path, source=partial(io.BytesIO, content))
        for path, content in sorted(files.items())
    )


class _Log(io.BytesIO):
    content = b""

    def close(self) -> None:
        self.content = self.getvalue()
        super().close()


def _read(folder: Path) -> list[tuple[str, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files]
