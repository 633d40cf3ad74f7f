"""What a stage prints: masked, logged whole, kept in part, and stopped when it is too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from isol8tasks.backend.contract import Stream
from isol8tasks.engine.masking import Mask
from isol8tasks.model.result import Captured

KEEP = 1 << 20
"""Bytes of each stream that a report keeps: its first and its last half."""


class Excerpt:
    """The first and last part of a stream in bounded memory."""

    def __init__(self, keep: int = KEEP) -> None:
        self._half = keep // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self._size += len(piece)
        room = self._half - len(self._head)
        self._head += piece[:room] if room > 0 else b""
        self._tail += piece[max(room, 0) :]
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    def captured(self) -> Captured:
        """The excerpt as text; what is not UTF-8 becomes U+FFFD."""
        tail = bytes(self._tail[-self._half :])
        left_out = self._size - len(self._head) - len(tail)
        gap = f"\n[… {left_out} bytes left out …]\n" if left_out else ""
        text = _decode(self._head) + gap + _decode(tail) if left_out else _decode(self._head + tail)
        return Captured(text=text, truncated=bool(left_out), size=self._size)


class StageOutput:
    """Both streams of one attempt; calls `overflow` once when they exceed the limit together.

    What comes after that is dropped, so that our own memory and disk stay bounded.
    """

    def __init__(
        self,
        *,
        limit: int,
        mask: Mask,
        open_log: Callable[[str], IO[bytes]],
        overflow: Callable[[], None],
    ) -> None:
        self._left = limit
        self._overflow = overflow
        self._masked = {stream: mask.stream() for stream in Stream}
        self._excerpts = {stream: Excerpt() for stream in Stream}
        self._logs: dict[Stream, IO[bytes]] = {}
        self._open_log = open_log
        self.exceeded = False

    def __call__(self, stream: Stream, piece: bytes) -> None:
        """Take what the stage printed."""
        if self.exceeded:
            return
        if len(piece) > self._left:
            self.exceeded = True
            piece = piece[: self._left]
            self._overflow()
        self._left -= len(piece)
        self._write(stream, self._masked[stream].feed(piece))

    def finish(self) -> tuple[Captured, Captured]:
        """Close the logs; stdout and stderr as the report shows them."""
        for stream in Stream:
            self._write(stream, self._masked[stream].finish())
        for log in self._logs.values():
            log.close()
        return self._excerpts[Stream.STDOUT].captured(), self._excerpts[Stream.STDERR].captured()

    def _write(self, stream: Stream, piece: bytes) -> None:
        if not piece:
            return
        if stream not in self._logs:
            self._logs[stream] = self._open_log(stream.value)
        self._logs[stream].write(piece)
        self._excerpts[stream].add(piece)


def _decode(content: bytes | bytearray) -> str:
    return content.decode("utf-8", errors="replace")
