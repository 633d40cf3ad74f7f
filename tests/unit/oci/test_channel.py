"""Frames over a connection, in whatever pieces it gives them."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isol8tasks_oci.channel import Hijacked
from isol8tasks_oci.client import EngineError

from isol8tasks.backend.contract import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OUT, ERR = Stream.STDOUT, Stream.STDERR


def frame(stream: int, content: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(content)) + content


@attrs.define
class Played:
    """A connection that gives these pieces and then ends."""

    left: list[bytes]

    def recv(self, size: int, /) -> bytes:
        if not self.left:
            return b""
        piece, rest = self.left[0][:size], self.left[0][size:]
        self.left[:1] = [rest] if rest else []
        return piece

    def sendall(self, content: bytes, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


def read(*pieces: bytes, rest: bytes = b"") -> list[tuple[Stream, bytes]]:
    return list(Hijacked(Played([*filter(None, pieces)]), rest).pieces())


def joined(pieces: Iterable[tuple[Stream, bytes]]) -> dict[Stream, bytes]:
    said = dict.fromkeys(Stream, b"")
    for stream, piece in pieces:
        said[stream] += piece
    return said


@pytest.mark.parametrize(
    ("pieces", "rest", "expected"),
    [
        ((), b"", []),
        ((frame(1, b"a"),), b"", [(OUT, b"a")]),
        ((frame(1, b"a") + frame(2, b"b"),), b"", [(OUT, b"a"), (ERR, b"b")]),
        ((), frame(1, b"a"), [(OUT, b"a")]),
        ((frame(1, b"ab")[3:],), frame(1, b"ab")[:3], [(OUT, b"ab")]),
        ((frame(1, b"") + frame(2, b"x"),), b"", [(ERR, b"x")]),
        ((frame(1, b"abc")[:9], b"bc"), b"", [(OUT, b"a"), (OUT, b"bc")]),
    ],
    ids=["none", "one", "two", "rest", "rest of a head", "empty", "in pieces"],
)
def test_frames(
    pieces: tuple[bytes, ...], rest: bytes, expected: list[tuple[Stream, bytes]]
) -> None:
    assert read(*pieces, rest=rest) == expected


FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300)), max_size=10)


@given(frames=FRAMES, sizes=st.lists(st.integers(1, 40), min_size=1), kept=st.integers(0, 50))
def test_any_frames_in_any_pieces(
    frames: list[tuple[int, bytes]], sizes: list[int], kept: int
) -> None:
    whole = b"".join(frame(*each) for each in frames)
    rest, left = whole[:kept], whole[kept:]
    pieces: list[bytes] = []
    while left:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(left[:size])
        left = left[size:]
    wanted = joined((OUT if number == 1 else ERR, content) for number, content in frames)
    assert joined(read(*pieces, rest=rest)) == wanted


@pytest.mark.parametrize("size", range(1, 8))
def test_an_end_in_a_head_is_an_error(size: int) -> None:
    with pytest.raises(EngineError, match="in the middle of a frame"):
        read(frame(1, b"abc")[:size])


@pytest.mark.parametrize("size", [8, 9, 10])
def test_an_end_in_a_content_is_an_error(size: int) -> None:
    with pytest.raises(EngineError, match="in the middle of a stream"):
        read(frame(1, b"abc")[:size])


@pytest.mark.parametrize("number", [0, 3, 255])
def test_an_unknown_stream_is_an_error(number: int) -> None:
    with pytest.raises(EngineError, match=f"unknown stream: {number}"):
        read(frame(number, b"abc"))


def test_a_huge_frame_takes_little_memory() -> None:
    def pieces() -> Iterator[int]:
        connection = Played([struct.pack(">BxxxI", 1, (1 << 32) - 1), *[bytes(1 << 16)] * 64])
        try:
            for _, piece in Hijacked(connection).pieces():
                yield len(piece)
        except EngineError:
            return

    sizes = list(pieces())
    assert sum(sizes) == 64 << 16
    assert max(sizes) <= 1 << 16


@pytest.fixture
def pair() -> Iterator[tuple[Hijacked, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Hijacked(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


Pair = tuple[Hijacked, socket.socket]


def test_what_is_sent_arrives(pair: Pair) -> None:
    channel, theirs = pair
    channel.send(b"hello")
    assert theirs.recv(9) == b"hello"
    theirs.sendall(frame(1, b"still there"))
    theirs.close()
    assert list(channel.pieces()) == [(OUT, b"still there")]


def test_what_is_not_read_any_more_is_dropped(pair: Pair) -> None:
    channel, theirs = pair
    theirs.close()
    for _ in range(3):
        channel.send(b"x" * 100_000)


def test_a_connection_that_breaks_is_an_error(pair: Pair) -> None:
    channel, theirs = pair
    channel.send(b"unread, so that closing resets")
    theirs.sendall(frame(1, b"a")[:4])
    theirs.close()
    with pytest.raises(EngineError, match=r"the connection to the engine broke|in the middle of"):
        list(channel.pieces())


def test_closing_wakes_who_reads(pair: Pair) -> None:
    channel, _ = pair
    threading.Timer(0.1, channel.close).start()
    start = time.monotonic()
    assert list(channel.pieces()) == []
    assert time.monotonic() - start < 5


def test_closing_wakes_who_sends(pair: Pair) -> None:
    channel, _ = pair
    threading.Timer(0.1, channel.close).start()
    start = time.monotonic()
    channel.send(bytes(64 << 20))
    assert time.monotonic() - start < 5


def test_closing_may_be_repeated_and_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Hijacked(ours)
        channel.close()
        channel.close()
        assert list(channel.pieces()) == []
    assert os.listdir("/proc/self/fd") == before
