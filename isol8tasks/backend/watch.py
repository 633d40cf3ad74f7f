"""Memory of whole process trees by looking at them: for hosts without control groups.

A tree is all processes of one process namespace, so nothing that a program starts can leave it.
What grows between two looks is seen late, and what no process has mapped is not seen:
`Filter.counted` refuses the calls that make such memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import attrs

from isol8tasks.errors import Isol8Error

PAUSE = 0.05
"""Seconds between two looks, more where they take long: they may use a tenth of a processor."""

_SHARE = 9

_ROUGHLY = (b"RssAnon", b"RssShmem", b"VmSwap", b"VmPTE")
"""Of /proc/PID/status: what forked processes still share counts for each of them."""

_EXACTLY = (b"Pss_Anon", b"Pss_Shmem", b"SwapPss")
"""Of /proc/PID/smaps_rollup, which costs a walk over all pages: each page counts once."""


@attrs.define
class _Tree:
    """`again` is when it may be looked at exactly again: no other tree waits for that."""

    most: int
    over: Callable[[], None]
    again: float = 0.0


class MemoryWatch:
    """Tells of trees that have more than their limit, from one thread for all of them.

    `open_proc` opens a /proc that shows them, when the first one is there.
    """

    def __init__(self, open_proc: Callable[[], int]) -> None:
        self._open_proc = open_proc
        self._trees: dict[int, _Tree] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, namespace: int, most: int, over: Callable[[], None]) -> None:
        """Call `over` when the processes of a namespace (its inode) have more than `most` bytes.

        It may be called again until the tree is dropped.
        """
        with self._changed:
            self._trees[namespace] = _Tree(most, over)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="memory", daemon=True)
                self._thread.start()
            self._changed.notify()

    def drop(self, namespace: int) -> None:
        """The tree has ended; harmless when repeated."""
        with self._changed:
            self._trees.pop(namespace, None)

    def close(self) -> None:
        """End the thread; may be repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _serve(self) -> None:
        with suppress(Isol8Error, OSError):  # who shows us processes is gone, and so are they
            proc, pause = self._open_proc(), PAUSE
            try:
                while (trees := self._after(pause)) is not None:
                    pause = max(PAUSE, _SHARE * _look(proc, trees))
            finally:
                os.close(proc)

    def _after(self, pause: float) -> dict[int, _Tree] | None:
        """The trees that are there so many seconds after there is one; None when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._trees or self._closed)
            self._changed.wait_for(lambda: self._closed, pause)
            return None if self._closed else dict(self._trees)


def _look(proc: int, trees: dict[int, _Tree]) -> float:
    """Look at all roughly, and exactly at those that may have too much; seconds of the first."""
    began = time.monotonic()
    large = [
        (trees[namespace], pids)
        for namespace, pids in _members(proc, trees).items()
        if used(proc, pids, exactly=False) > trees[namespace].most
    ]
    spent = time.monotonic() - began
    for tree, pids in large:
        if (began := time.monotonic()) >= tree.again:
            if used(proc, pids) > tree.most:
                tree.over()
            ended = time.monotonic()
            tree.again = ended + _SHARE * (ended - began)
    return spent


def _members(proc: int, namespaces: Iterable[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {namespace: [] for namespace in namespaces}
    for pid in filter(str.isdigit, os.listdir(proc)):
        with suppress(OSError):  # it ended, or is somebody else's
            namespace = os.stat(f"{pid}/ns/pid", dir_fd=proc).st_ino
            if namespace in found:
                found[namespace].append(pid)
    return found


def used(proc: int, pids: Iterable[str], *, exactly: bool = True) -> int:
    """Bytes of memory that these processes have, their page tables and what is swapped included.

    Files of a disk do not count, as the kernel can drop and read them again. One that hides its
    pages from us counts roughly.
    """
    total = 0
    for pid in pids:
        status = _read(proc, f"{pid}/status")
        pages = _read(proc, f"{pid}/smaps_rollup") if exactly else b""
        if pages:
            total += _sum(pages, _EXACTLY) + _sum(status, _ROUGHLY[3:])
        else:
            total += _sum(status, _ROUGHLY)
    return total


def _read(proc: int, path: str) -> bytes:
    """The text of a file of /proc, empty when the process ended or hides it."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        with open(file, "rb") as reader:
            return reader.read()
    return b""


def _sum(text: bytes, names: tuple[bytes, ...]) -> int:
    """Of lines such as `RssAnon:  1234 kB`, in bytes."""
    return sum(
        int(line.split()[1]) << 10 for line in text.splitlines() if line.partition(b":")[0] in names
    )
