"""One bwrap process: start it, pump its streams, end it, and know when all of it is gone."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import threading
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

import attrs

from isol8tasks.backend.contract import OutputSink, Stream
from isol8tasks.errors import SandboxError
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.argv import Layout, bwrap_options

_CHUNK = 1 << 16
_KILLED = 128 + signal.SIGKILL
_GRACE = 10.0
"""Seconds for a killed tree to be gone: it takes milliseconds, unless the kernel is stuck."""


@attrs.frozen(kw_only=True)
class Launcher:
    """How to start bwrap here. `user` is the host uid to become first, None to stay who we are.

    bwrap's --die-with-parent fires when the thread that started it ends, so `spawner` has one
    thread that lives as long as the backend.
    """

    bwrap: Path
    spawner: Executor

    def start(self, layout: Layout, *, user: int | None, stdin: bytes) -> BwrapProcess:
        """Start a sandbox; SandboxError when bwrap itself cannot be started."""
        status, status_writer = os.pipe2(os.O_CLOEXEC)
        options = _sealed(bwrap_options(layout))
        words = [str(self.bwrap), "--args", str(options), "--json-status-fd", str(status_writer)]
        try:
            process = self.spawner.submit(
                _spawn, [*words, "--", *layout.argv], (options, status_writer), user, stdin
            ).result()
        except OSError as error:
            os.close(status)
            raise SandboxError(f"cannot start {self.bwrap}: {error.strerror}") from error
        finally:
            os.close(options)
            os.close(status_writer)
        return BwrapProcess(process, status, stdin)


def _sealed(options: list[str]) -> int:
    """The options in memory instead of on a command line that every user of the host can read."""
    file = os.memfd_create("bwrap-options", os.MFD_CLOEXEC)
    with open(os.dup(file), "wb") as writer:
        writer.write(b"".join(os.fsencode(word) + b"\0" for word in options))
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _spawn(
    words: list[str], keep: tuple[int, ...], user: int | None, stdin: bytes
) -> subprocess.Popen[bytes]:
    """A session of its own keeps the terminal's Ctrl-C for us to act on."""
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        words,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd="/",
        env={},
        pass_fds=keep,
        start_new_session=True,
        **identity,
    )


class BwrapProcess:
    """A running sandbox. `finish` is called once; `kill` from any thread at any time."""

    def __init__(self, process: subprocess.Popen[bytes], status: int, stdin: bytes) -> None:
        self._process = process
        self._status = status
        self._stdin = memoryview(stdin)
        self._status_text = b""
        self._lock = threading.Lock()
        self._init: int | None = None
        self._killed = False

    def kill(self) -> None:
        """End every process of the sandbox: its init takes the whole process namespace along."""
        with self._lock:
            self._killed = True
            if self._init is not None:
                _kill(self._init)

    def finish(self, sink: OutputSink) -> Exit:
        """Feed the sink until the end; on return no process of the sandbox is left.

        SandboxError, with what bwrap said, when it could not set the sandbox up.
        """
        tail = _Tail(sink)
        try:
            self._pump(tail)
            self._process.wait()
            self._wait_for_init()
        except BaseException:
            self.kill()
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._close()
        return self._exit(tail)

    def _pump(self, tail: _Tail) -> None:
        with selectors.DefaultSelector() as selector:
            assert self._process.stdout is not None  # noqa: S101 -- both are pipes
            assert self._process.stderr is not None  # noqa: S101
            selector.register(self._process.stdout, selectors.EVENT_READ, Stream.STDOUT)
            selector.register(self._process.stderr, selectors.EVENT_READ, Stream.STDERR)
            selector.register(self._status, selectors.EVENT_READ, None)
            if self._process.stdin is not None:
                os.set_blocking(self._process.stdin.fileno(), False)
                selector.register(self._process.stdin, selectors.EVENT_WRITE, "stdin")
            while len(selector.get_map()):
                for key, _ in selector.select():
                    if not self._step(key, tail):
                        selector.unregister(key.fileobj)

    def _step(self, key: selectors.SelectorKey, tail: _Tail) -> bool:
        """Move some bytes; False at the end of a stream."""
        if key.data == "stdin":
            return self._feed()
        piece = os.read(key.fd, _CHUNK)
        if key.data is None:
            self._note(piece)
        elif piece:
            tail.add(key.data, piece)
        return bool(piece)

    def _feed(self) -> bool:
        assert self._process.stdin is not None  # noqa: S101 -- registered only then
        with suppress(BlockingIOError):
            try:
                written = os.write(self._process.stdin.fileno(), self._stdin[:_CHUNK])
            except BrokenPipeError:
                written = len(self._stdin)
            self._stdin = self._stdin[written:]
        if not self._stdin:
            self._process.stdin.close()
        return bool(self._stdin)

    def _note(self, piece: bytes) -> None:
        """Learn the sandbox's init as soon as bwrap names it, and kill it if that is wanted."""
        self._status_text += piece
        if self._init is None and (pid := self._reported("child-pid")) is not None:
            with self._lock:
                self._init = _open_child(pid, self._process.pid)
                if self._killed and self._init is not None:
                    _kill(self._init)

    def _reported(self, key: str) -> int | None:
        for line in self._status_text.split(b"\n")[:-1]:
            value = json.loads(line).get(key)
            if isinstance(value, int):
                return value
        return None

    def _wait_for_init(self) -> None:
        """Its end is the end of all: the kernel reaps a process namespace before its init."""
        if self._init is None:
            return
        _kill(self._init)
        with selectors.DefaultSelector() as selector:
            selector.register(self._init, selectors.EVENT_READ)
            if not selector.select(_GRACE):
                raise SandboxError(f"a killed sandbox was not gone after {_GRACE:.0f} s")

    def _close(self) -> None:
        with self._lock:
            if self._init is not None:
                os.close(self._init)
            self._init = None
        os.close(self._status)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _exit(self, tail: _Tail) -> Exit:
        code = self._reported("exit-code")
        if self._killed and code == _KILLED:
            return Exit(code=None)  # bwrap reports the end of the init that we killed
        if code is None and not self._killed:
            if self._process.returncode < 0:
                raise SandboxError("the sandbox was killed from outside")
            raise SandboxError(f"bubblewrap could not set up the sandbox: {tail.last_words()}")
        return Exit(code=code, signal=_signal_name(code))


class _Tail:
    """Passes output on and remembers its end, for what bwrap says before a program runs."""

    def __init__(self, sink: OutputSink) -> None:
        self._sink = sink
        self._last = b""

    def add(self, stream: Stream, piece: bytes) -> None:
        self._last = (self._last + piece)[-500:]
        self._sink(stream, piece)

    def last_words(self) -> str:
        lines = self._last.decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("bwrap: ") if lines else "it said nothing"


def _kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _open_child(pid: int, parent: int) -> int | None:
    """A handle on a process that is still this parent's child, so that no reused pid is hit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        stat = b""
    if stat and int(stat.rpartition(b")")[2].split()[1]) == parent:
        return handle
    os.close(handle)
    return None


def _signal_name(code: int | None) -> str | None:
    """The signal behind a code above 128, by the convention of shells, which bwrap follows too."""
    if code is None or code <= 128:
        return None
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return None
