"""Real time."""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
from collections.abc import Callable

import attrs

from isol8tasks.ports import Timer


def _call(callback: Callable[[], None]) -> None:
    """One bad callback must not end the time limits of all others."""
    try:
        callback()
    except Exception:  # noqa: BLE001 -- it is shown, as Python shows those of threads
        threading.excepthook(
            threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
        )


@attrs.define(order=True)
class _Call:
    due: float
    number: int
    callback: Callable[[], None] | None = attrs.field(order=False)

    def cancel(self) -> None:
        self.callback = None


class MonotonicClock:
    """The monotonic clock, with one thread for all timers of a run."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back from the timer thread; callbacks must be short."""
        call = _Call(self.now() + seconds, next(self._numbers), callback)
        with self._changed:
            heapq.heappush(self._calls, call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="timers", daemon=True)
                self._thread.start()
            if self._calls[0] is call:
                self._changed.notify()
        return call

    def _serve(self) -> None:
        while True:
            callback = self._next_due()
            if callback is not None:
                _call(callback)

    def _next_due(self) -> Callable[[], None] | None:
        with self._changed:
            while self._calls and self._calls[0].callback is None:
                heapq.heappop(self._calls)
            if not self._calls:
                self._changed.wait()
                return None
            remaining = self._calls[0].due - self.now()
            if remaining > 0:
                self._changed.wait(remaining)
                return None
            return heapq.heappop(self._calls).callback
