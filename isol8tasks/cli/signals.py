"""Ctrl-C, SIGTERM and SIGHUP while a run goes on."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from isol8tasks.cli.errors import INTERRUPTED, TERMINATED
from isol8tasks.model.result import StopReason

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from isol8tasks.cli.console import Display
    from isol8tasks.engine.cancel import CancelSource

_AGAIN = {StopReason.INTERRUPTED: "; press Ctrl-C again to stop at once"}

_MEANING = {
    signal.SIGINT: (StopReason.INTERRUPTED, INTERRUPTED),
    signal.SIGTERM: (StopReason.TERMINATED, TERMINATED),
    signal.SIGHUP: (StopReason.TERMINATED, TERMINATED),  # a lost terminal; not with nohup
}


class Signals:
    """Once, a signal cancels the run; twice, it ends the process.

    Signals are read from a pipe by a thread of their own: nothing here runs in the middle of what
    the main thread does, and a main thread that is stuck cannot hold up the second Ctrl-C.
    """

    def __init__(self, cancel: CancelSource, display: Display) -> None:
        self._cancel = cancel
        self._display = display
        self._heard = False
        self._before: dict[signal.Signals, Any] = {}
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    def __enter__(self) -> None:
        """Listen; in the main thread only."""
        os.set_blocking(self._writer, False)
        self._thread.start()
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _MEANING:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _nothing)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def _listen(self) -> None:
        while byte := os.read(self._reader, 1):
            number = signal.Signals(byte[0])
            if number in _MEANING:
                self._on_signal(*_MEANING[number])

    def _on_signal(self, reason: StopReason, code: int) -> None:
        if self._heard:
            self._display.abandon()
            os._exit(code)
        self._heard = True
        # Apart, for each may block: a display that nobody reads, and what is slow to stop.
        words = f"stopping{_AGAIN.get(reason, '')}"
        threading.Thread(target=self._display.note, args=(words,), daemon=True).start()
        threading.Thread(target=self._cancel.cancel, args=(reason,), daemon=True).start()


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Only the wake-up matters."""
