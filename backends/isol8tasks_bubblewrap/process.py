"""One bwrap process: start it, pump its streams, end it, and know when all of it is gone."""

from __future__ import annotations

import json
import os
import selectors
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from isol8tasks.backend.contract import OutputSink, Stream
from isol8tasks.backend.watch import MemoryWatch
from isol8tasks.errors import SandboxError
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.argv import Layout, bwrap_options
from isol8tasks_bubblewrap.holder import Holder

_CHUNK = 1 << 16
_KILLED = 128 + signal.SIGKILL
_GRACE = 10.0
"""Seconds for a killed tree to be gone: it takes milliseconds, unless the kernel is stuck."""

_OPTIONS, _STATUS, _FILTER = 3, 4, 5
"""The numbers that bwrap's files have, after its standard streams."""


@attrs.frozen(kw_only=True)
class Launcher:
    """How to start bwrap here. `system_calls` is the filter for seccomp, in the kernel's form."""

    bwrap: Path
    holder: Holder
    system_calls: bytes

    def start(
        self,
        layout: Layout,
        *,
        user: int | None,
        stdin: bytes = b"",
        groups: Sequence[int] = (),
        cpus: Sequence[int] = (),
        watch: MemoryWatch | None = None,
        memory: int = 0,
    ) -> BwrapProcess:
        """Start a sandbox as this host uid; SandboxError when bwrap cannot be started.

        `memory` is what the whole tree may have, in bytes, for the watch, if there is one.
        """
        words = [str(self.bwrap), "--args", str(_OPTIONS), "--json-status-fd", str(_STATUS)]
        words += ["--seccomp", str(_FILTER), "--", *layout.argv]
        given = bwrap_options(layout)
        if any("\0" in word for word in (*words, *given)):
            raise SandboxError("a NUL in a word for bwrap would begin another word")
        ends = _Ends(bool(stdin))
        options = _in_memory("\0".join((*given, "")).encode(errors="surrogateescape"))
        system_calls = _in_memory(self.system_calls)
        try:
            files = (*ends.theirs, options, ends.status_writer, system_calls)
            self.holder.spawn(words, files, uid=user, groups=groups, cpus=cpus)
        except BaseException:
            ends.close_ours()
            raise
        finally:
            ends.close_theirs()
            os.close(options)
            os.close(system_calls)
        return BwrapProcess(self.holder, ends, stdin, watch=watch, memory=memory)


class _Ends:
    """Both ends of the streams of a process that is about to start."""

    def __init__(self, has_stdin: bool) -> None:
        if has_stdin:
            stdin, self.stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.stdin, False)
        else:
            stdin, self.stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), -1
        self.stdout, stdout = os.pipe2(os.O_CLOEXEC)
        self.stderr, stderr = os.pipe2(os.O_CLOEXEC)
        self.status, self.status_writer = os.pipe2(os.O_CLOEXEC)
        self.theirs = (stdin, stdout, stderr)

    def close_theirs(self) -> None:
        for file in (*self.theirs, self.status_writer):
            os.close(file)

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close_ours(self) -> None:
        self.close_stdin()
        for file in (self.stdout, self.stderr, self.status):
            os.close(file)


def _in_memory(content: bytes) -> int:
    """An open file, for what does not belong on a command line that every user can read."""
    file = os.memfd_create("isol8tasks", os.MFD_CLOEXEC)
    with open(os.dup(file), "wb") as writer:
        writer.write(content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


class BwrapProcess:
    """A running sandbox. `finish` is called once; `kill` from any thread at any time.

    With a watch it is killed when all of it has more than `memory` bytes, and `overgrown` then.
    """

    def __init__(
        self,
        holder: Holder,
        ends: _Ends,
        stdin: bytes,
        *,
        watch: MemoryWatch | None = None,
        memory: int = 0,
    ) -> None:
        self._holder = holder
        self._watch = watch
        self._memory = memory
        self._namespace: int | None = None
        self.overgrown = False
        self._ends = ends
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

    def _overgrow(self) -> None:
        self.overgrown = True
        self.kill()

    def finish(self, sink: OutputSink) -> Exit:
        """Feed the sink until the end; on return no process of the sandbox is left.

        SandboxError, with what bwrap said, when it could not set the sandbox up.
        """
        tail = _Tail(sink)
        try:
            self._pump(tail)
            self._wait_for_init()
        except BaseException:
            self.kill()
            with suppress(SandboxError):
                self._wait_for_init()
            raise
        finally:
            self._close()
        return self._exit(tail)

    def _pump(self, tail: _Tail) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._ends.stdout, selectors.EVENT_READ, Stream.STDOUT)
            selector.register(self._ends.stderr, selectors.EVENT_READ, Stream.STDERR)
            selector.register(self._ends.status, selectors.EVENT_READ, None)
            if self._stdin:
                selector.register(self._ends.stdin, selectors.EVENT_WRITE, "stdin")
            while len(selector.get_map()):
                for key, _ in selector.select():
                    if not self._step(key, tail):
                        selector.unregister(key.fileobj)
                        if key.data == "stdin":
                            self._ends.close_stdin()

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
        with suppress(BlockingIOError):
            try:
                written = os.write(self._ends.stdin, self._stdin[:_CHUNK])
            except BrokenPipeError:
                written = len(self._stdin)
            self._stdin = self._stdin[written:]
        return bool(self._stdin)

    def _note(self, piece: bytes) -> None:
        """Learn the sandbox's init as soon as bwrap names it, and kill it if that is wanted.

        The end of the status is the end of bwrap, and whatever ended that, the rest goes too.
        """
        self._status_text += piece
        if self._init is None and (pid := self._reported("child-pid")) is not None:
            with suppress(SandboxError):  # it may be gone already
                self._init = self._holder.pidfd(pid)
            self._namespace = self._reported("pid-namespace")
            if self._watch is not None and self._namespace is not None:
                self._watch.add(self._namespace, self._memory, self._overgrow)
        with self._lock:
            if self._init is not None and (self._killed or not piece):
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
        if self._watch is not None and self._namespace is not None:
            self._watch.drop(self._namespace)
        with self._lock:
            if self._init is not None:
                os.close(self._init)
            self._init = None
        self._ends.close_ours()

    def _exit(self, tail: _Tail) -> Exit:
        code = self._reported("exit-code")
        if self._killed and code in {None, _KILLED}:
            return Exit(code=None)  # bwrap may still report the end of the init that we killed
        if code is None and not tail.words().startswith("bwrap: "):
            raise SandboxError("the sandbox was killed from outside")
        if code is None:
            raise SandboxError(f"bubblewrap could not set up the sandbox: {tail.words()[7:]}")
        return Exit(code=code, signal=_signal_name(code))


class _Tail:
    """Passes output on and remembers its end, for what bwrap says before a program runs."""

    def __init__(self, sink: OutputSink) -> None:
        self._sink = sink
        self._last = b""

    def add(self, stream: Stream, piece: bytes) -> None:
        self._last = (self._last + piece)[-500:]
        self._sink(stream, piece)

    def words(self) -> str:
        lines = self._last.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _signal_name(code: int) -> str | None:
    """The signal behind a code above 128, by the convention of shells, which bwrap follows too."""
    try:
        return signal.Signals(code - 128).name if code > 128 else None
    except ValueError:
        return None
