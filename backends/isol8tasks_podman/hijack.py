"""Taking over a connection for the streams of a program."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from isol8tasks_oci.channel import Hijacked
from isol8tasks_oci.client import EngineError, NoAnswer

from isol8tasks_podman.complaint import refusal
from isol8tasks_podman.connection import LONG, gone

_VERSION = "/v4.0.0/libpod"
_MOST_HEAD = 1 << 16
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")


class Streams(Hijacked):
    """Such streams, which know whether their end was seen."""

    ended = False

    def pieces(self) -> Any:
        """What the program prints, piece by piece."""
        yield from super().pieces()
        self.ended = True


def hijack(
    url: str, path: str, *, params: dict[str, str] | None = None, body: Any = None
) -> Streams:
    """Post, and take the connection over.

    The SDK has no attach, and what its exec gives is not taken apart by stream and takes no input
    (podman-py 5.8); requests hides the connection. So this one request is written by hand.
    """
    connection = _connect(url)
    try:
        connection.sendall(_request(f"{_VERSION}{path}?{urlencode(params or {})}", body))
        status, rest = _answer(connection)
        connection.settimeout(None)
    except TimeoutError as error:
        connection.close()
        raise NoAnswer(f"podman did not answer within {LONG:g} s") from error
    except OSError as error:
        connection.close()
        raise NoAnswer(f"podman hung up: {error.strerror}") from error
    except EngineError:
        connection.close()
        raise
    if status not in {101, 200}:
        connection.close()
        raise refusal(status, rest.decode(errors="replace"))
    return Streams(connection, rest)


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(LONG)
        try:
            connection.connect(parts.path)
        except OSError as error:
            connection.close()
            raise gone(error.strerror) from error
        return connection
    if parts.scheme == "tcp" and parts.hostname:
        try:
            return socket.create_connection((parts.hostname, parts.port or 80), timeout=LONG)
        except OSError as error:
            raise gone(error.strerror or error) from error
    raise EngineError(
        f"the streams of a container cannot be had from {url}",
        hint="use a unix socket; ssh can forward one",
    )


def _request(target: str, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"POST {target} HTTP/1.1",
        "Host: podman",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    )
    return "\r\n".join((*head, "", "")).encode() + content


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    """The status, and what came after the head: streams, or all of a refusal's text."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(1 << 12)
        if not piece or len(found) > _MOST_HEAD:
            raise NoAnswer("podman hung up before it answered")
        found += piece
    head, _, rest = found.partition(b"\r\n\r\n")
    status = int(head.split(maxsplit=2)[1])
    if status >= 400:
        length = _LENGTH.search(head)
        with suppress(OSError):
            while length and len(rest) < min(int(length[1]), _MOST_HEAD):
                piece = connection.recv(1 << 12)
                if not piece:
                    break
                rest += piece
    return status, rest
