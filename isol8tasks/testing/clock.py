"""Time that stands still until a test moves it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs


@attrs.define
class _Call:
    due: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that `advance` moves, running what falls due in order."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[_Call] = []
        self._changed = threading.Condition()

    def now(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Call:
        """Call back when `advance` reaches that time."""
        call = _Call(self._now + seconds, callback)
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()
        return call

    def wait_for_timer(self, timeout: float = 10.0) -> None:
        """Block the test until something is due later; TimeoutError after so many real seconds."""
        with self._changed:
            if not self._changed.wait_for(self._pending, timeout):
                raise TimeoutError("nobody set a timer")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self._now + seconds
        while due := [call for call in self._pending() if call.due <= end]:
            call = min(due, key=lambda call: call.due)
            self._now = max(self._now, call.due)
            callback, call.callback = call.callback, None
            if callback is not None:
                callback()
        self._now = end

    def _pending(self) -> list[_Call]:
        return [call for call in self._calls if call.callback is not None]
