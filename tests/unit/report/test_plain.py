"""The whole text of the plain console."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING

import attrs
import pytest

from isol8tasks.errors import Location
from isol8tasks.model.events import ImageFinished, ImageProgress, RunFinished, StageFinished
from isol8tasks.model.image import Image
from isol8tasks.model.result import (
    Captured,
    Phase,
    RunReport,
    StageResult,
    StopReason,
    Verdict,
)
from isol8tasks.report.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
  shortened: 29 of 2097152 bytes are shown; everything is in .isol8tasks/logs/unit
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
  shortened: 29 of 2097152 bytes are shown; everything is in .isol8tasks/logs/unit
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


def printed(
    events: Iterable[Event],
    *,
    color: bool = False,
    quiet: bool = False,
    places: Mapping[Image, Location] | None = None,
) -> str:
    stream = utf8()
    console = Plain(stream, color=color, quiet=quiet, places=places)
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


def baked_in_vain(error: str) -> list[str]:
    image = Image.bash()
    log = ["Using Python", "error: no solution", "  cause: because a was not found"]
    lines = [ImageProgress(image=image, line=line) for line in log]
    failed = ImageFinished(image=image, seconds=1, baked=False, error=error, hint="look")
    places = {image: Location("isol8file.py", 3)}
    return printed([*lines, failed], places=places).splitlines()[1:]


def test_a_failed_bake_says_its_reason_once_and_where_it_was_declared() -> None:
    head = ["✗ image bash", "  --> isol8file.py:3", "  │ Using Python", "  │ error: no solution"]
    end = ["  │   cause: because a was not found", "  hint: look"]
    assert baked_in_vain("cannot bake bash: no solution: because a was not found") == head + end
    other = baked_in_vain("baking bash took longer than 10m")
    assert other == [*head, end[0], "  │ baking bash took longer than 10m", end[1]]


def test_a_stage_without_its_image_does_not_repeat_why() -> None:
    result = StageResult(
        name="a", verdict=Verdict.ERROR, phase=Phase.IMAGE, reason="cannot bake: " + "x" * 300
    )
    assert printed([StageFinished(result=result)]) == (
        "✗ a  error  its image could not be prepared\n"
    )


def block(stdout: Captured) -> list[str]:
    result = StageResult(name="a", verdict=Verdict.FAILED, stdout=stdout, log=".isol8tasks/a")
    return printed([StageFinished(result=result)], quiet=True).splitlines()[2:]


def numbers(count: int) -> str:
    return "".join(f"{number}\n" for number in range(count))


def test_much_output_is_shown_in_part() -> None:
    assert block(Captured(text=numbers(221))) == [f"  │ {number}" for number in range(221)]
    lines = block(Captured(text=numbers(100_000)))
    assert len(lines) == 221
    assert lines[19:22] == [
        "  │ 19",
        "  … 99780 lines are left out here; everything is in .isol8tasks/a",
        "  │ 99800",
    ]
    assert lines[-1] == "  │ 99999"


def test_what_the_report_has_not_cannot_be_counted_in_lines() -> None:
    lines = block(Captured(text=numbers(1000), truncated=True, size=5_000_000))
    assert lines[20] == (
        "  … more than 780 lines are left out here; everything is in .isol8tasks/a"
    )
    assert lines[-1] == (
        "  shortened: 850 of 5000000 bytes are shown; everything is in .isol8tasks/a"
    )


def test_an_endless_line_is_cut() -> None:
    assert block(Captured(text="x" * 5000 + "\ny\n")) == [
        f"  │ {'x' * 4096}[… 904 more characters …]",
        "  │ y",
    ]


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
