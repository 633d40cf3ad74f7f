"""Closing sandboxes beside the stages: nothing runs in them any more, so nobody has to wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from isol8tasks.errors import Isol8Error

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

    def finish(self) -> tuple[Isol8Error, ...]:
        """Wait until everything is closed; what could not be. Raises what was a bug."""
        self._pool.shutdown(wait=True)
        failures = []
        for closed in self._closed:
            try:
                closed.result()
            except Isol8Error as error:
                failures.append(error)
        return tuple(failures)
