"""Answers of the daemon that go on: their connections, and how to end them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Kept:
    """A connection, and the answer that it came with: collecting that would close it."""

    def __init__(self, connection: Any, response: Any) -> None:
        self._connection = connection
        self._response = response
        with suppress(AttributeError):
            connection.settimeout(None)
        self.recv: Callable[[int], bytes] = connection.recv
        self.sendall: Callable[[bytes], None] = connection.sendall

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        self._connection.shutdown(how)

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.close()


def prefetched(response: Any, connection: Any) -> bytes:
    """What the reader of the answer's head has taken of the streams already."""
    reader = getattr(getattr(response.raw, "_fp", None), "fp", None)
    if not isinstance(connection, socket.socket) or reader is None:
        return b""
    connection.setblocking(False)
    try:
        return bytes(reader.read(len(reader.peek())) or b"")
    except (BlockingIOError, OSError, ValueError):
        return b""
    finally:
        connection.settimeout(None)


def hang_up(response: Any) -> None:
    """Wake the thread that reads this answer."""
    reader = getattr(getattr(response.raw, "_fp", None), "fp", None)
    connection: Any = getattr(getattr(reader, "raw", None), "_sock", None)
    with suppress(OSError, AttributeError):
        connection.shutdown(socket.SHUT_RDWR)
