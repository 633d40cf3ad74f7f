"""Telling a run, or a part of it, to stop."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import ExitStack

from isol8tasks.model.result import StopReason


class CancelSource:
    """A wish to stop that is uttered once; the first reason stays.

    Safe to use from a signal handler: the lock is re-entrant and callbacks run outside it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._keys = itertools.count()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._reason: StopReason | None = None

    @property
    def cancelled(self) -> bool:
        """Whether to stop."""
        return self._reason is not None

    @property
    def reason(self) -> StopReason | None:
        """Why to stop, None while nobody wants to."""
        return self._reason

    def cancel(self, reason: StopReason) -> None:
        """Stop; every later call changes nothing."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        with ExitStack() as stack:  # all are called, whatever one of them raises
            for callback in reversed(callbacks):
                stack.callback(callback)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when cancelled, at once if it already is; returns the unsubscription."""
        with self._lock:
            if self._reason is None:
                key = next(self._keys)
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def _forget(self, key: int) -> None:
        with self._lock:
            self._callbacks.pop(key, None)
