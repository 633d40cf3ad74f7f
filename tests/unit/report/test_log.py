"""The log of `--verbose`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import structlog

from isol8tasks.report.log import EventLog, configure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.model.events import Event


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure(stream)
    yield stream
    structlog.reset_defaults()


def test_an_entry_per_event_with_run_stage_and_attempt(
    events: tuple[Event, ...], stream: io.StringIO
) -> None:
    log = EventLog()
    for event in events:
        log(event)
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert len(lines) == len(events)
    assert lines[0].startswith('level=info event="run started" run=r1 ')
    assert 'event="stage finished" run=r1 stage=unit attempt=2 ' in lines[11]
    assert 'reason="exit code 1"' in lines[11]


def test_nothing_stays_bound(events: tuple[Event, ...], stream: io.StringIO) -> None:
    log = EventLog()
    for event in events:
        log(event)
    assert structlog.contextvars.get_contextvars() == {}


def test_what_a_bake_printed_is_harmless(events: tuple[Event, ...], stream: io.StringIO) -> None:
    log = EventLog()
    for event in events:
        log(event)
    assert "\x1b" not in stream.getvalue()
    assert 'line="Downloading \\x1b[2Jpytest"' in stream.getvalue()
