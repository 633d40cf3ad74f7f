"""The streams of a container over FIFOs, so that what a stage prints never passes the engine.

A FIFO holds 64 KiB: a flood waits for us, and our memory stays bounded.
"""

from __future__ import annotations

import os
import selectors
from contextlib import suppress
from pathlib import Path

from isol8tasks.backend.contract import OutputSink, Stream

_CHUNK = 1 << 16
_NAMES = ("command", "stdout", "stderr")


class Pipes:
    """Three FIFOs in a folder of their own, our ends open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(0o755)
        folder.chmod(0o755)
        for name in _NAMES:
            os.mkfifo(folder / name)
            (folder / name).chmod(0o666)  # the folder above lets nobody else through
        # For reading too, as the other side is not there yet; it then never waits for us either.
        self._command = os.open(folder / "command", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._stdout = os.open(folder / "stdout", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._stderr = os.open(folder / "stderr", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def give(self, stdin: bytes) -> None:
        """Have this as the program's standard input."""
        file = self.folder / "input"
        file.write_bytes(stdin)
        file.chmod(0o444)

    def greeted(self, end: int) -> bool:
        """Wait for the first byte of the waiting process; False when it ended before (`end`)."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            selector.select()
            return _read(self._stdout, 1) == b"\n"

    def pump(self, command: bytes, sink: OutputSink, end: int) -> None:
        """Send a command and feed the sink until the end of all processes, and no byte longer."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ, Stream.STDOUT)
            selector.register(self._stderr, selectors.EVENT_READ, Stream.STDERR)
            selector.register(end, selectors.EVENT_READ)
            selector.register(self._command, selectors.EVENT_WRITE)
            left = memoryview(command)
            while end in (map_ := selector.get_map()):
                for key, _ in selector.select():
                    if key.fd == self._command:
                        left = left[self._feed(left) :]
                        if not left:
                            selector.unregister(self._command)
                            self._close_command()
                    elif key.fd == end:
                        selector.unregister(end)
                    elif piece := _read(key.fd, _CHUNK):
                        sink(key.data, piece)
                    elif piece is not None:
                        selector.unregister(key.fd)
            for key in list(map_.values()):
                if key.data is not None:
                    _drain(key.fd, key.data, sink)

    def _feed(self, left: memoryview) -> int:
        with suppress(BlockingIOError):
            return os.write(self._command, left[:_CHUNK])
        return 0

    def _close_command(self) -> None:
        if self._command >= 0:
            os.close(self._command)
            self._command = -1

    def close(self) -> None:
        """Close our ends; may be repeated."""
        self._close_command()
        for file in (self._stdout, self._stderr):
            if file >= 0:
                os.close(file)
        self._stdout = self._stderr = -1


def _read(file: int, size: int) -> bytes | None:
    """Some bytes, none at the end; None when somebody else took them, by the FIFO's name."""
    try:
        return os.read(file, size)
    except BlockingIOError:
        return None


def _drain(file: int, stream: Stream, sink: OutputSink) -> None:
    """What is left in a pipe that nobody writes to any more."""
    while piece := _read(file, _CHUNK):
        sink(stream, piece)
