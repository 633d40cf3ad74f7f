"""One sandbox: a folder that becomes /sandbox, and the process whose end is the end of all."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from isol8tasks.backend.contract import Fetched, OutputSink, SandboxSpec, Stream, TreeEntry
from isol8tasks.backend.files import collect, make_folder, place
from isol8tasks.backend.folders import ClaimedFolder
from isol8tasks.backend.uids import UidLease
from isol8tasks.errors import SandboxError
from isol8tasks.model.result import Exit

UNSHARE = "/usr/bin/unshare"
_ENTER = Path(__file__).with_name("enter.sh").read_text()
_NAMESPACES = ("--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts")
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
}


class UnshareSandbox:
    """From root it runs as a uid of its own, else as its caller."""

    def __init__(self, spec: SandboxSpec, *, cache: Path, parent: Path) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        with ExitStack() as undo:
            self._lease = UidLease(cache)
            undo.callback(self._lease.close)
            claim = ClaimedFolder(parent)
            undo.callback(claim.close)
            self._folder = claim.path
            self._root = self._make_root(spec.workdir)
            undo.callback(os.close, self._root)
            self._undo = undo.pop_all()

    def _make_root(self, workdir: str) -> int:
        uid, path = self._lease.host_uid, self._folder / "sandbox"
        path.mkdir()
        path.chmod(0o755)
        if uid is not None:
            os.chown(self._folder, uid, uid)
            os.chown(path, uid, uid)
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if workdir:
            make_folder(root, workdir, owner=uid)
        return root

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Place inputs; nothing runs here yet."""
        try:
            place(tree, self._root, owner=self._lease.host_uid)
        except OSError as error:
            raise SandboxError(f"cannot place the inputs: {error.strerror}") from error

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Run one program to its end."""
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            with self._lock:
                if self._killed:
                    return Exit(code=None)
                self._process = process = self._start(argv, file)
        with process:
            try:
                _pump(process, sink)
            except BaseException:
                self.kill()
                raise
            finally:
                self._reap(process)
        return self._judged(process.returncode)

    def _start(self, argv: tuple[str, ...], stdin: IO[bytes]) -> subprocess.Popen[bytes]:
        """Its end when we die is the kernel's work: this thread waits for it, so it lives on."""
        uid = self._lease.host_uid
        env = _ENVIRONMENT | dict(self._spec.image.image.environment) | dict(self._spec.env)
        with_us = ("/usr/bin/setpriv", "--pdeathsig=KILL", "--")
        namespaces = (UNSHARE, *_NAMESPACES, "--fork", "--kill-child", "--")
        enter = ("/bin/sh", "-euc", _ENTER, UNSHARE, str(self._lease.uid), self._spec.workdir)
        try:
            return subprocess.Popen(
                (*with_us, *namespaces, *enter, *argv),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=env,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else (),
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"cannot start a sandbox: {error}") from error

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Its number is not free before nobody can kill by it any more."""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._process = None
            process.wait()

    def _judged(self, code: int) -> Exit:
        if code < 0 and self._killed:
            return Exit(code=None)
        if code < 0 or not (self._folder / "started").exists():
            raise SandboxError("the sandbox was killed from outside, or could not be set up")
        return Exit(code=code, signal=_signal_name(code))

    def kill(self) -> None:
        """End the first process, by its group; its process namespace goes with it."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        """Copy out what matches."""
        try:
            return collect(self._root, self._spec.workdir, globs, into, max_bytes=max_bytes)
        except OSError as error:
            raise SandboxError(f"cannot copy the outputs: {error.strerror}") from error

    def close(self) -> None:
        """Leave nothing behind; may be repeated."""
        self.kill()
        self._undo.close()


def _pump(process: subprocess.Popen[bytes], sink: OutputSink) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, Stream.STDOUT)
        selector.register(process.stderr, selectors.EVENT_READ, Stream.STDERR)
        while selector.get_map():
            for key, _ in selector.select():
                if piece := os.read(key.fd, 1 << 16):
                    sink(key.data, piece)
                else:
                    selector.unregister(key.fileobj)


def _signal_name(code: int) -> str | None:
    """The signal behind a code above 128, by the convention of shells."""
    try:
        return signal.Signals(code - 128).name if code > 128 else None
    except ValueError:
        return None
