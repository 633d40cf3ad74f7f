"""A connection that an engine took over for the streams of a program.

Engines send frames: one byte for the stream, three that mean nothing, four with the length of what
follows (Docker's API, "Attach to a container", stream format).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from isol8tasks.backend.contract import Stream
from isol8tasks_oci.client import EngineError

_HEAD = struct.Struct(">BxxxI")
_STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR}
_CHUNK = 1 << 16


class Socket(Protocol):
    """What a connection has to offer; sockets, TLS sockets and the SDKs' own objects do."""

    def recv(self, size: int, /) -> bytes: ...  # noqa: D102
    def sendall(self, content: bytes, /) -> None: ...  # noqa: D102
    def shutdown(self, how: int, /) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Hijacked:
    """The streams of a program over such a connection; `rest` was read from it already."""

    def __init__(self, connection: Socket, rest: bytes = b"") -> None:
        self._connection = connection
        self._buffer = rest
        self._lock = threading.Lock()
        self._closed = False

    def send(self, content: bytes) -> None:
        """Write to its standard input; what it does not read any more is dropped."""
        with suppress(OSError, ValueError):  # `pieces` tells of a connection that broke
            self._connection.sendall(content)

    def pieces(self) -> Iterator[tuple[Stream, bytes]]:
        """What it prints, piece by piece, with memory for one piece only."""
        while head := self._exactly(_HEAD.size):
            number, left = _HEAD.unpack(head)
            stream = _STREAMS.get(number)
            if stream is None:
                raise EngineError(f"the engine sent a frame of an unknown stream: {number}")
            while left:
                piece = self._some(left)
                if not piece:
                    raise EngineError("the engine hung up in the middle of a stream")
                left -= len(piece)
                yield stream, piece

    def _exactly(self, size: int) -> bytes:
        """So many bytes, or none at the end."""
        found = b""
        while len(found) < size:
            piece = self._some(size - len(found))
            if not piece:
                if found:
                    raise EngineError("the engine hung up in the middle of a frame")
                return b""
            found += piece
        return found

    def _some(self, most: int) -> bytes:
        if not self._buffer:
            try:
                self._buffer = self._connection.recv(_CHUNK)
            except (OSError, ValueError) as error:  # closed by us, or broken
                if self._closed:
                    return b""
                raise EngineError(f"the connection to the engine broke: {error}") from error
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def close(self) -> None:
        """Hang up, also while another thread reads; may be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._connection.close()
