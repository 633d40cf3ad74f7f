"""A display that cannot write."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from isol8tasks.cli.console import Watched
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.errors import OperationError
from isol8tasks.model.events import Notice
from isol8tasks.model.result import StopReason

if TYPE_CHECKING:
    from isol8tasks.model.events import Event


def test_a_display_that_fails_stops_the_run_once() -> None:
    seen: list[Event] = []

    def full(event: Event) -> None:
        seen.append(event)
        raise OSError(errno.ENOSPC, "No space left on device")

    cancel = CancelSource()
    watched = Watched(full, cancel)
    watched(Notice(text="a"))
    watched(Notice(text="b"))
    assert (len(seen), cancel.reason) == (1, StopReason.TERMINATED)
    with pytest.raises(OperationError) as caught:
        watched.check()
    assert caught.value.message == "the output cannot be written: No space left on device"
    assert caught.value.hint


def test_a_display_that_works_is_left_alone() -> None:
    seen: list[Event] = []
    cancel = CancelSource()
    watched = Watched(seen.append, cancel)
    watched(Notice(text="a"))
    watched.check()
    assert (len(seen), cancel.cancelled) == (1, False)
