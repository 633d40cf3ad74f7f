"""Our side of `_guard`, the process that outlives a killed run by a moment."""

from __future__ import annotations

import array
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_PROGRAM = Path(__file__).with_name("_guard.py")


class Guard:
    """Starts with the first container; `close` when all of them are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: set[int] = set()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, handle: int) -> None:
        """Kill this process when we are gone."""
        with self._lock:
            self._handles.add(handle)
            try:
                self._connected().sendmsg(*_message(handle))
            except (BrokenPipeError, ConnectionError):  # it was killed
                self._start_again()

    def drop(self, handle: int) -> None:
        """It ended; call this before the handle is closed."""
        with self._lock, suppress(OSError):
            self._handles.discard(handle)
            if self._socket is not None:
                self._socket.send(b"%d" % handle)

    def _start_again(self) -> None:
        self._end()
        for handle in self._handles:
            self._connected().sendmsg(*_message(handle))

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_PROGRAM), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # the terminal's Ctrl-C is for us to act on
                )
        return self._socket

    def close(self) -> None:
        """End the guard; may be repeated."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.wait()
        self._socket = self._process = None


def _message(handle: int) -> tuple[list[bytes], list[tuple[int, int, array.array[int]]]]:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))
    return [b"%d" % handle], [rights]
