"""A conversation with a program beside the first one of a container, and its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain

from isol8tasks.backend.contract import Stream
from isol8tasks.errors import SandboxError
from isol8tasks_oci.client import Channel, Execution

_GRACE = 10.0
"""Seconds for the engine to say how a program ended, after its streams did."""
_PATIENCE = 60.0
"""Seconds without a byte in either direction, after which a tool of the image is given up."""
_LONGEST = 3600.0
"""Seconds for a conversation as a whole: a byte now and then is no reason to wait for ever."""
_HEAD = 1000
"""Bytes of complaints that are kept: the first tells most."""


def feed(channel: Channel, content: Iterable[bytes]) -> None:
    """Write all of it; the other side may be gone any time."""
    for piece in content:
        with suppress(OSError):
            channel.send(piece)


def exit_code(execution: Execution, killed: Callable[[], bool]) -> int:
    """How a program ended whose streams did; SandboxError if nobody says, or it was killed."""
    pause, deadline = 0.001, time.monotonic() + _GRACE
    while (code := None if killed() else execution.exit_code()) is None:
        if killed() or time.monotonic() > deadline:
            raise SandboxError("the engine does not say how the program ended")
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
    return code


class Talk:
    """With a tool of the image: what it prints comes, while a thread of its own is fed."""

    def __init__(self, execution: Execution, killed: Callable[[], bool]) -> None:
        self._execution = execution
        self._killed = killed
        self._pieces = execution.channel.pieces()
        self._errors = b""
        self._fed: BaseException | None = None
        self._over = threading.Event()
        self._last = time.monotonic()
        threading.Thread(target=self._wait, daemon=True).start()

    def say(self, size: int, content: Iterable[bytes]) -> None:
        """Send so many bytes, from another thread; what goes wrong there ends the talk.

        The size goes ahead in a line: not every connection can end one direction only.
        """
        content = chain((b"%d\n" % size,), content)
        threading.Thread(target=self._feed, args=(content,), daemon=True).start()

    def _feed(self, content: Iterable[bytes]) -> None:
        channel = self._execution.channel
        try:
            feed(channel, self._noted(content))
        except BaseException as error:  # noqa: BLE001 -- raised again by `code`
            self._fed = error
            channel.close()

    def _noted(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for piece in content:
            if self._over.is_set():
                return
            self._last = time.monotonic()
            yield piece

    def answer(self) -> Iterator[bytes]:
        """What it prints; the start of its complaints is kept for `complaint`."""
        for stream, piece in self._pieces:
            self._last = time.monotonic()
            if stream is Stream.STDOUT:
                yield piece
            else:
                self._errors = (self._errors + piece)[:_HEAD]

    def code(self) -> int:
        """Hear it out, and tell how it ended."""
        for _ in self.answer():
            pass
        if self._fed is not None:
            raise self._fed
        return exit_code(self._execution, self._killed)

    @property
    def complaint(self) -> str:
        """The first line of what it complained about, with names that are harmless to show."""
        lines = self._errors.decode("ascii", errors="replace").strip().splitlines()
        return "".join(each if " " <= each <= "~" else "?" for each in (lines or [""])[0])

    def _wait(self) -> None:
        until = time.monotonic() + _LONGEST
        while not self._over.wait(1):
            now = time.monotonic()
            if now - self._last > _PATIENCE or now > until:
                self._execution.channel.close()
                return

    def close(self) -> None:
        """Hang up; may be repeated."""
        self._over.set()
        self._execution.channel.close()
