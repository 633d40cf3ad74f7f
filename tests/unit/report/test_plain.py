"""The whole text of the plain console."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING

import attrs
import pytest

from isol8tasks.model.events import ImageFinished, ImageProgress, RunFinished, StageFinished
from isol8tasks.model.image import Image
from isol8tasks.model.result import RunReport, StageResult, StopReason, Verdict
from isol8tasks.report.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isol8tasks.model.events import Event

FULL = """\
run r1 · 4 stages · 2 at a time · bubblewrap (the first that works)
… baking python + pip(pytest==8.4.2)
✓ baked python + pip(pytest==8.4.2) in 3.25s
✓ syntax  passed  0.25s
  │ ok
✗ unit  failed  1.25s  exit code 1, 2 attempts
  log: .isol8tasks/logs/unit
  stdout:
  │ \\x1b[1m1 failed[/]
  │ \\::error ::no
  shortened: 2097152 bytes were printed
  stderr:
  │ [red]warning[/red]
! flaky  timed out (allowed)  10.0s  ran longer than 10s
- summary  skipped  requires unit

✓ syntax   passed  0.25s
✗ unit     failed  1.25s  exit code 1, 2 attempts
! flaky    timed out (allowed)  10.0s  ran longer than 10s
- summary  skipped  requires unit
note: not enforced here: memory
1 failed, 1 timed out (allowed), 1 skipped, 1 passed in 11.5s (bubblewrap)
"""

QUIET = """\
✗ unit  failed  1.25s  exit code 1, 2 attempts
  log: .isol8tasks/logs/unit
  stdout:
  │ \\x1b[1m1 failed[/]
  │ \\::error ::no
  shortened: 2097152 bytes were printed
  stderr:
  │ [red]warning[/red]
! flaky  timed out (allowed)  10.0s  ran longer than 10s
- summary  skipped  requires unit
✗ unit     failed  1.25s  exit code 1, 2 attempts
! flaky    timed out (allowed)  10.0s  ran longer than 10s
- summary  skipped  requires unit
note: not enforced here: memory
1 failed, 1 timed out (allowed), 1 skipped, 1 passed in 11.5s (bubblewrap)
"""


def utf8() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def text_of(stream: io.TextIOWrapper) -> str:
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode(stream.encoding)


def printed(events: Iterable[Event], **options: bool) -> str:
    stream = utf8()
    console = Plain(stream, **options)
    for event in events:
        console(event)
    return text_of(stream)


def test_everything(events: tuple[Event, ...]) -> None:
    assert printed(events) == FULL


def test_quiet_shows_only_what_did_not_pass(events: tuple[Event, ...]) -> None:
    assert printed(events, quiet=True) == QUIET


def test_color_changes_nothing_but_color(events: tuple[Event, ...]) -> None:
    colored = printed(events, color=True)
    assert "\x1b[31m✗\x1b[0m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == FULL


def test_a_terminal_without_unicode_gets_ascii(events: tuple[Event, ...]) -> None:
    stream = io.TextIOWrapper(
        io.BytesIO(), encoding="ascii", errors="backslashreplace", write_through=True
    )
    console = Plain(stream)
    for event in events:
        console(event)
    lines = text_of(stream).split("\n")
    assert lines[3:5] == ["+ syntax  passed  0.25s", "  | ok"]


def test_a_failed_bake_shows_the_end_of_its_log() -> None:
    image = Image.bash()
    lines = [ImageProgress(image=image, line=f"step {number}\x1b") for number in range(30)]
    failed = ImageFinished(image=image, seconds=1, baked=False, error="it broke")
    shown = printed([*lines, failed]).splitlines()
    assert shown[:3] == ["… baking bash", "✗ image bash", "  │ step 10\\x1b"]
    assert shown[-2:] == ["  │ step 29\\x1b", "  │ it broke"]


def test_a_long_reason_is_whole_above_and_short_in_the_summary() -> None:
    result = StageResult(name="a", verdict=Verdict.ERROR, reason="x" * 300)
    report = RunReport(run_id="r", backend="b", stages=(result,), seconds=1.0)
    assert "x" * 300 in printed([StageFinished(result=result)])
    assert f"✗ a  error  {'x' * 100}…\n" in printed([RunFinished(report=report)])


def test_a_failed_bake_shows_why_and_one_that_was_there_shows_nothing() -> None:
    failed = ImageFinished(image=Image.bash(), seconds=1, baked=False, error="no\n::error::\x1b")
    there = ImageFinished(image=Image.bash(), seconds=1, baked=False)
    assert printed([failed, there]) == "✗ image bash\n  │ no\n  │ \\::error::\\x1b\n"


PASSES = tuple(StageResult(name=n, verdict=Verdict.PASSED, cached=n == "b") for n in "ab")
TOTALS = [
    ((), None, "nothing to do in 1.00s (fake)"),
    (PASSES, None, "2 passed in 1.00s (fake)"),
    (
        (*PASSES, StageResult(name="c", verdict=Verdict.CANCELLED)),
        StopReason.INTERRUPTED,
        "interrupted: 1 cancelled, 2 passed in 1.00s (fake)",
    ),
    (
        (PASSES[0], StageResult(name="c", verdict=Verdict.FAILED)),
        StopReason.FAIL_FAST,
        "stopped at the first failure: 1 failed, 1 passed in 1.00s (fake)",
    ),
]


@pytest.mark.parametrize(("stages", "stopped", "total"), TOTALS)
def test_the_last_line(
    stages: tuple[StageResult, ...], stopped: StopReason | None, total: str
) -> None:
    report = RunReport(run_id="r", backend="fake", stages=stages, seconds=1.0, stopped=stopped)
    assert printed([RunFinished(report=report)]).splitlines()[-1] == total


def test_a_cached_stage_says_so() -> None:
    report = RunReport(run_id="r", backend="fake", stages=PASSES, seconds=1.0)
    assert "✓ b  passed (cached)\n" in printed([RunFinished(report=report)])


def test_hostile_names_and_reasons_stay_on_their_line(report: RunReport) -> None:
    bad = attrs.evolve(report.stages[1], name="a\n::x", reason="b\r\n##vso[c]", log="d\ne")
    text = printed([RunFinished(report=attrs.evolve(report, stages=(bad,), notices=("\nf",)))])
    assert "✗ a\\n\\::x  failed  1.25s  b\\n##vso\\[c], 2 attempts\n" in text
    assert "note: f\n" in text


def test_a_reader_who_goes_away_does_not_stop_the_run(events: tuple[Event, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", encoding="utf-8")
    console = Plain(stream)
    for event in events:
        console(event)
    with pytest.raises(BrokenPipeError):
        stream.close()  # what was not printed is still in its buffer
