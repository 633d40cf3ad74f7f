"""Connections to the daemon: requests, and answers that go on, over TLS too."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")
_RECORD = 1 << 14
"""Bytes that TLS sends at once."""
_GLANCE = 1000
"""Milliseconds after which one who waits looks again, whatever the other thread did meanwhile."""
_POOL = 64
"""Connections that wait for their next request."""


def client(url: str, tls: Any, *, seconds: float, version: str = "auto") -> Any:
    """One of the SDK's, which waits so long for an answer."""
    from docker import APIClient  # noqa: PLC0415 -- takes 0.2 s

    class Client(APIClient):  # type: ignore[misc]
        def merge_environment_settings(self, *given: Any, **more: Any) -> Any:
            """REQUESTS_CA_BUNDLE must not win over DOCKER_CERT_PATH (docker-py#2433)."""
            merged = super().merge_environment_settings(*given, **more)
            return merged if self.verify is True else {**merged, "verify": self.verify}

    return Client(base_url=url, tls=tls, version=version, timeout=seconds, max_pool_size=_POOL)


class Kept:
    """A connection, and the answer that it came with: collecting that would close it."""

    def __init__(self, connection: Any, response: Any) -> None:
        self._connection = connection
        self._response = response
        connection.settimeout(None)

    def recv(self, size: int) -> bytes:
        """What has arrived; nothing at the end."""
        return bytes(self._connection.recv(size))

    def sendall(self, content: bytes) -> None:
        """Send all of it."""
        self._connection.sendall(content)

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        _shut_down(self._connection, how)

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.close()


class Encrypted(Kept):
    """The same with TLS, for one thread that reads and one that writes.

    OpenSSL takes one thread at a time, so whoever has the lock never waits.
    """

    def __init__(self, connection: ssl.SSLSocket, response: Any) -> None:
        super().__init__(connection, response)
        connection.setblocking(False)
        self._lock = threading.Lock()
        self._over = False

    def recv(self, size: int) -> bytes:
        """What has arrived; nothing at the end."""
        return bytes(self._done(partial(self._connection.recv, size)))

    def sendall(self, content: bytes) -> None:
        """Send all of it."""
        left = memoryview(content)
        while left:
            left = left[self._done(partial(self._connection.send, left[:_RECORD])) :]

    def _done(self, step: Callable[[], _T]) -> _T:
        while True:
            poll = select.poll()
            with self._lock:
                if self._over:
                    raise ConnectionAbortedError
                try:
                    return step()
                except ssl.SSLWantReadError:
                    poll.register(self._connection, select.POLLIN)
                except ssl.SSLWantWriteError:
                    poll.register(self._connection, select.POLLOUT)
            poll.poll(_GLANCE)

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._over = True
            super().close()


def kept(connection: Any, response: Any) -> Kept:
    """Such a connection, with TLS or without."""
    return (Encrypted if isinstance(connection, ssl.SSLSocket) else Kept)(connection, response)


def prefetched(response: Any, connection: Any) -> bytes:
    """What the reader of the answer's head has taken of the streams already."""
    reader = getattr(getattr(response.raw, "_fp", None), "fp", None)
    if reader is None:
        return b""
    before = connection.gettimeout()
    connection.setblocking(False)
    try:
        return bytes(reader.read(len(reader.peek())) or b"")
    except (OSError, ValueError):
        return b""
    finally:
        connection.settimeout(before)


def hang_up(response: Any) -> None:
    """Wake the thread that reads this answer."""
    reader = getattr(getattr(response.raw, "_fp", None), "fp", None)
    connection: Any = getattr(getattr(reader, "raw", None), "_sock", None)
    with suppress(OSError, TypeError):
        _shut_down(connection, socket.SHUT_RDWR)


def _shut_down(connection: Any, how: int) -> None:
    """Below TLS: its own `shutdown` drops the encryption, also while another thread reads."""
    socket.socket.shutdown(connection, how)
