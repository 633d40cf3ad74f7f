"""Taking over a connection, from a service that is not podman's."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_oci.client import EngineError, NoAnswer
from isol8tasks_podman.hijack import hijack

from isol8tasks.backend.contract import Stream

if TYPE_CHECKING:
    from tests.unit.podman.conftest import FakeService

UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text


def test_what_came_with_the_head_is_not_lost(fake: FakeService) -> None:
    def answer(handler: Any) -> None:
        handler.wfile.write(UPGRADED + frame(1, b"early") + frame(2, b"half")[:6])
        handler.wfile.write(frame(2, b"half")[6:])
        handler.wfile.write(frame(1, handler.rfile.read(5)))
        handler.close_connection = True

    fake.answer = answer
    streams = hijack(fake.url, "/containers/1/attach", params={"detachKeys": ""}, body={"a": 1})
    streams.send(b"input")
    assert list(streams.pieces()) == [
        (Stream.STDOUT, b"early"),
        (Stream.STDERR, b"half"),
        (Stream.STDOUT, b"input"),
    ]
    assert streams.ended
    streams.close()
    (asked,) = fake.asked
    assert asked.path == "/v4.0.0/libpod/containers/1/attach?detachKeys="
    assert asked.body == b'{"a": 1}'
    assert (asked.headers["Connection"], asked.headers["Upgrade"]) == ("Upgrade", "tcp")


def test_a_refusal(fake: FakeService) -> None:
    fake.answer = (404, {"message": "no such container"})
    with pytest.raises(EngineError, match="no such container") as caught:
        hijack(fake.url, "/containers/1/attach")
    assert caught.value.missing


def test_hanging_up_instead_of_an_answer(fake: FakeService) -> None:
    def answer(handler: Any) -> None:
        handler.close_connection = True

    fake.answer = answer
    with pytest.raises(NoAnswer, match="podman hung up before it answered"):
        hijack(fake.url, "/containers/1/attach")


@pytest.mark.parametrize("address", ["unix:///nowhere/at/all", "tcp://127.0.0.1:1"])
def test_nobody_there(address: str) -> None:
    with pytest.raises(NoAnswer, match="podman's service is gone"):
        hijack(address, "/containers/1/attach")


def test_other_addresses() -> None:
    with pytest.raises(EngineError, match="cannot be had from ssh://host/x"):
        hijack("ssh://host/x", "/containers/1/attach")
