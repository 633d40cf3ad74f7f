"""Our side of `_near_helper`: places among the mounts of a rootless engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from isol8tasks.backend.contract import EntryKind, Fetched, OutputRefused, TreeEntry
from isol8tasks.errors import SandboxError
from isol8tasks_oci._near_helper import LENGTH

_CHUNK = 1 << 16
_GRACE = 10.0


class UnsharedPlaces:
    """Starts the helper by the engine's own command with its first use; one request at a time.

    `grace` is how many seconds it has to end.
    """

    def __init__(self, enter: tuple[str, ...], *, grace: float = _GRACE) -> None:
        self._enter = enter
        self._grace = grace
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, folder: Path, *, uid: int, size: int, workdir: str) -> None:
        """Make the places and the working directory."""
        self._ask("make", folder, uid=uid, size=size, workdir=workdir)

    def put(self, folder: Path, tree: Iterable[TreeEntry], *, uid: int) -> None:
        """Place inputs before anything runs."""
        entries = sorted(tree, key=lambda entry: entry.kind is EntryKind.SYMLINK)
        self._ask("put", folder, tree=entries, uid=uid)

    def fetch(
        self, folder: Path, workdir: str, globs: tuple[str, ...], into: Path, *, max_bytes: int
    ) -> Fetched:
        """Copy outputs when nothing runs any more."""
        found = self._ask(
            "fetch", folder, workdir=workdir, globs=globs, into=str(into), max_bytes=max_bytes
        )
        if "refused" in found:
            raise OutputRefused(found["refused"])
        return Fetched(paths=tuple(found["paths"]), unmatched=tuple(found["unmatched"]))

    def full(self, folder: Path) -> bool:
        """Whether no block or no inode is left."""
        return bool(self._ask("full", folder)["full"])

    def unmake(self, folder: Path) -> None:
        """Let go of the places."""
        self._ask("unmake", folder)

    def close(self) -> None:
        """End the helper; it lets go of what is left. One that is stuck is killed."""
        process = self._process
        if process is None:
            return
        timer = threading.Timer(self._grace, _kill, (process,))
        timer.start()
        try:
            with self._lock:  # which a thread has that waits for an answer
                if self._process is process:
                    process.communicate()
                    self._process = None
        finally:
            timer.cancel()

    def _ask(
        self, what: str, folder: Path, *, tree: list[TreeEntry] | None = None, **words: Any
    ) -> dict[str, Any]:
        request = {"do": what, "folder": str(folder), **words}
        if tree is not None:
            request["tree"] = [_described(entry) for entry in tree]
        with self._lock:
            process = self._started()
            assert process.stdin is not None  # noqa: S101 -- both are pipes
            assert process.stdout is not None  # noqa: S101
            trouble: Exception | None = None
            with suppress(BrokenPipeError):  # then there is no answer either
                process.stdin.write(json.dumps(request).encode() + b"\n")
                trouble = _send(tree or (), process.stdin)
                process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                process.communicate()
                self._process = None
                raise SandboxError("the helper that works on the sandboxes' files is gone")
        reply: dict[str, Any] = json.loads(line)
        if trouble is not None:
            raise trouble
        if "error" in reply:
            raise OSError(reply["errno"], reply["error"])
        return reply

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [*self._enter, sys.executable, "-I", "-m", "isol8tasks_oci._near_helper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,  # for `_kill`; the terminal's Ctrl-C is for us to act on
            )
        return self._process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With what the engine's own command started; the number is theirs until we wait for it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _described(entry: TreeEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "kind": entry.kind.value,
        "executable": entry.executable,
        "target": entry.target,
    }


def _send(tree: Iterable[TreeEntry], stream: IO[bytes]) -> Exception | None:
    """Send all contents; after trouble with one the rest are empty, so that the stream is whole."""
    trouble: Exception | None = None
    for entry in tree:
        if entry.source is None:
            continue
        if trouble is None:
            try:
                with entry.source() as source:
                    while piece := source.read(_CHUNK):
                        stream.write(LENGTH.pack(len(piece)) + piece)
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 -- raised when the stream is whole
                trouble = error
        stream.write(LENGTH.pack(0))
    return trouble
