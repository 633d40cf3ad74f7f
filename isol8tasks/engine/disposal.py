"""Closing sandboxes beside the stages: nothing runs in them any more, so nobody has to wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_THREADS = 2
"""An engine takes long to remove a container, and gains nothing from more."""

Close = Callable[[], None]


def at_once(close: Close) -> None:
    """Close here and now."""
    close()


class Disposal:
    """Closes what it is given in threads of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="close")
        self._closed: list[Future[None]] = []

    def __call__(self, close: Close) -> None:
        """Close this soon."""
        self._closed.append(self._pool.submit(close))

    def finish(self) -> None:
        """Wait until everything is closed; raises what the first failure raised."""
        self._pool.shutdown(wait=True)
        for closed in self._closed:
            closed.result()
