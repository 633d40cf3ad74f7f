from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.engine.cancel import CancelSource
from isol8tasks.engine.clock import MonotonicClock
from isol8tasks.engine.disposal import Disposal
from isol8tasks.engine.output import Excerpt
from isol8tasks.errors import SandboxError
from isol8tasks.model.result import StopReason


@given(st.lists(st.binary(max_size=40), max_size=20), st.sampled_from([4, 10, 64]))
def test_an_excerpt_is_the_start_and_the_end(pieces: list[bytes], keep: int) -> None:
    content = b"".join(pieces).translate(bytes(n & 0x7F for n in range(256)))
    excerpt = Excerpt(keep)
    start = 0
    for piece in pieces:
        excerpt.add(content[start : start + len(piece)])
        start += len(piece)
    captured = excerpt.captured()
    assert captured.size == len(content)
    assert captured.truncated == (len(content) > keep)
    text = content.decode()
    if captured.truncated:
        half = keep // 2
        gap = f"\n[… {len(content) - 2 * half} bytes left out …]\n"
        assert captured.text == text[:half] + gap + text[-half:]
    else:
        assert captured.text == text


def test_the_first_reason_stays() -> None:
    cancel = CancelSource()
    calls: list[StopReason | None] = []
    cancel.on_cancel(lambda: calls.append(cancel.reason))
    cancel.on_cancel(lambda: calls.append(None))()
    cancel.cancel(StopReason.INTERRUPTED)
    cancel.cancel(StopReason.TERMINATED)
    assert calls == [StopReason.INTERRUPTED]


def test_subscribing_late_calls_back_at_once() -> None:
    cancel, calls = CancelSource(), []
    cancel.cancel(StopReason.INTERRUPTED)
    cancel.on_cancel(lambda: calls.append(1))
    assert calls == [1]


def test_a_callback_may_subscribe_and_cancel() -> None:
    cancel = CancelSource()

    def again() -> None:
        cancel.on_cancel(lambda: cancel.cancel(StopReason.TERMINATED))

    cancel.on_cancel(again)
    cancel.cancel(StopReason.INTERRUPTED)
    assert cancel.reason is StopReason.INTERRUPTED


def test_timers_fire_in_order_and_can_be_cancelled() -> None:
    clock, done = MonotonicClock(), threading.Event()
    fired: list[str] = []
    clock.call_later(0.08, done.set)
    clock.call_later(0.06, lambda: fired.append("late"))
    clock.call_later(0.03, lambda: fired.append("cancelled")).cancel()
    clock.call_later(0.01, lambda: fired.append("soon"))
    start = time.monotonic()
    assert done.wait(10)
    assert fired == ["soon", "late"]
    assert time.monotonic() - start >= 0.05


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bad_timer_does_not_end_the_others() -> None:
    clock, done = MonotonicClock(), threading.Event()
    clock.call_later(0.01, lambda: next(iter(())))
    clock.call_later(0.03, done.set)
    assert done.wait(10)


def test_a_bad_callback_does_not_keep_the_others_from_hearing() -> None:
    cancel, heard = CancelSource(), threading.Event()
    cancel.on_cancel(lambda: next(iter(())))
    cancel.on_cancel(heard.set)
    with pytest.raises(StopIteration):
        cancel.cancel(StopReason.INTERRUPTED)
    assert heard.is_set()


def test_what_cannot_be_closed_is_told_and_a_bug_is_raised() -> None:
    def close() -> None:
        raise SandboxError("the engine does not answer")

    disposal = Disposal()
    disposal(close)
    (failure,) = disposal.finish()
    assert failure.message == "the engine does not answer"


def test_a_failure_to_close_is_told_after_everything_is_closed() -> None:
    disposal, closed = Disposal(), []
    disposal(lambda: closed.append(1))
    disposal(lambda: next(iter(())))
    disposal(lambda: closed.append(2))
    with pytest.raises(StopIteration):
        disposal.finish()
    assert closed == [1, 2]
