"""The lines of a console, as styled text: what `plain` and `live` both print."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, assert_never

import attrs

from isol8tasks.model.events import (
    Event,
    ImageFinished,
    ImageProgress,
    ImageStarted,
    Notice,
    RunFinished,
    RunStarted,
    StageFinished,
    StagePhase,
    StageStarted,
)
from isol8tasks.model.result import Captured, Phase, RunReport, StageResult, StopReason, Verdict
from isol8tasks.model.units import format_duration
from isol8tasks.report.text import neutralise, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from isol8tasks.errors import Location
    from isol8tasks.model.image import Image

BAR = "  │ "
"""Stands before every line of a stage's output, so that none is at the start of a line."""

_LOG_LINES = 20
_LONG = 100
_FIRST, _LAST_LINES = 20, 200
_LONGEST_LINE = 4096
_SAID = 40
"""Characters at the end of an error by which it is recognised in a log."""

_STOPPED = {
    StopReason.INTERRUPTED: "interrupted",
    StopReason.TERMINATED: "terminated",
    StopReason.FAIL_FAST: "stopped at the first failure",
}
_LAST = (Verdict.CANCELLED, Verdict.SKIPPED, Verdict.PASSED)


@attrs.frozen
class Span:
    """A piece of a line; `style` is good, bad, warn, dim, bold or nothing."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


class Story:
    """Turns events into the lines that they are worth; with `quiet` only what did not pass.

    `places` are where the images were declared.
    """

    def __init__(
        self, *, quiet: bool = False, places: Mapping[Image, Location] | None = None
    ) -> None:
        self._quiet = quiet
        self._places = places or {}
        self._notices: dict[str, None] = {}
        self._baking: dict[Image, deque[str]] = {}

    def lines(self, event: Event) -> tuple[Line, ...]:
        """The lines for an event, often none."""
        match event:
            case StageFinished(result=result):
                return () if self._quiet and result.ok else tuple(stage_block(result))
            case RunFinished(report=report):
                notices = dict.fromkeys((*self._notices, *report.notices))
                return tuple(summary(report, notices, quiet=self._quiet))
            case Notice(text=text):
                self._notices[text] = None
            case RunStarted() | ImageProgress() | ImageFinished():
                lines = tuple(self._beside(event))
                failed = isinstance(event, ImageFinished) and event.error
                return lines if failed or not self._quiet else ()
            case ImageStarted() | StageStarted() | StagePhase():
                pass
            case _:
                assert_never(event)
        return ()

    def _beside(self, event: RunStarted | ImageProgress | ImageFinished) -> Iterable[Line]:
        match event:
            case RunStarted():
                return run_header(event)
            case ImageFinished(image=image):
                log = self._baking.pop(image, ())
                return baked(event, log=log, place=self._places.get(image))
            case ImageProgress(image=image, line=line):
                begins = image not in self._baking
                self._baking.setdefault(image, deque(maxlen=_LOG_LINES)).append(line)
                return baking(image) if begins else ()


def run_header(event: RunStarted) -> Iterator[Line]:
    """The first line: run id, backend and why that one, number of stages and of jobs."""
    stages = f"{len(event.stages)} stage{'' if len(event.stages) == 1 else 's'}"
    backend = one_line(event.backend)
    if event.backend_reason:
        backend += f" ({one_line(event.backend_reason)})"
    parts = (f"run {one_line(event.run_id)}", stages, f"{event.jobs} at a time", backend)
    yield (Span(" · ".join(parts), "dim"),)


def baking(image: Image) -> Iterator[Line]:
    """A bake has begun."""
    yield (Span(f"… baking {one_line(str(image))}", "dim"),)


def baked(
    event: ImageFinished, *, log: Iterable[str] = (), place: Location | None = None
) -> Iterator[Line]:
    """A bake has ended; the end of its log when it failed, nothing for an image that was there."""
    name = one_line(str(event.image))
    if event.error:
        yield (Span("✗", "bad"), Span(f" image {name}"))
        if place:
            yield (Span(f"  --> {one_line(str(place))}", "dim"),)
        lines = [*log]
        if not _says(lines, event.error):
            lines.append(event.error)
        yield from _output("\n".join(lines).split("\n"))
        if event.hint:
            yield (Span(f"  hint: {one_line(event.hint)}", "dim"),)
    elif event.baked:
        yield (Span(f"✓ baked {name} in {format_duration(event.seconds)}", "dim"),)


def _says(log: Iterable[str], error: str) -> bool:
    """Whether a tool's log ends in the error, which is the tool's own reason in one line then."""
    said, end = (" ".join(text.split()) for text in (" ".join(log), error.rstrip("…")))
    return end.rpartition(": ")[2][-_SAID:] in said


def stage_block(result: StageResult) -> Iterator[Line]:
    """One finished stage: its verdict, then what it printed."""
    yield _headline(result, width=0)
    if result.log and not result.ok:
        yield (Span(f"  log: {one_line(result.log)}", "dim"),)
    both = bool(result.stdout.text and result.stderr.text)
    for label, captured in (("stdout", result.stdout), ("stderr", result.stderr)):
        if captured.text:
            yield from _stream(label if both else "", captured, result.log)


def summary(report: RunReport, notices: Iterable[str], *, quiet: bool = False) -> Iterator[Line]:
    """A line per stage, the notices and the total; with `quiet` only what did not pass."""
    shown = [result for result in report.stages if not (quiet and result.ok)]
    width = max((len(one_line(result.name)) for result in shown), default=0)
    if shown and not quiet:
        yield ()
    for result in shown:
        yield _headline(attrs.evolve(result, reason=_shortened(result.reason)), width=width)
    for text in notices:
        yield note(text)
    yield _total(report)


def note(text: str) -> Line:
    """Something the user should know."""
    return (Span("note:", "warn"), Span(f" {one_line(text)}"))


def _headline(result: StageResult, *, width: int) -> Line:
    mark, style = _mark(result)
    reason = _reason(result)
    return (
        Span(mark, style),
        Span(f" {one_line(result.name):{width}}", "bold"),
        Span(f"  {_label(result)}", style),
        Span(f"  {format_duration(result.seconds)}" if result.attempts else "", "dim"),
        Span(f"  {reason}" if reason else ""),
    )


def _shortened(reason: str) -> str:
    """Enough to recognise a reason that stands in full above."""
    return reason if len(reason) <= _LONG else reason[:_LONG].rstrip() + "…"


def _mark(result: StageResult) -> tuple[str, str]:
    if result.ok:
        return "✓", "good"
    if result.verdict in _LAST:
        return "-", "warn"
    return ("!", "warn") if result.allowed else ("✗", "bad")


def _label(result: StageResult) -> str:
    label = result.verdict.value.replace("_", " ")
    if result.cached:
        label += " (cached)"
    if result.allowed and not result.ok:
        label += " (allowed)"
    return label


def why(result: StageResult) -> str:
    """The reason in one line; that of a bad image stands in the block of the image."""
    if result.verdict is Verdict.ERROR and result.phase is Phase.IMAGE:
        return "its image could not be prepared"
    return one_line(result.reason)


def _reason(result: StageResult) -> str:
    reason = why(result)
    if result.attempts > 1:
        reason += f"{', ' if reason else ''}{result.attempts} attempts"
    return reason


def _stream(label: str, captured: Captured, log: str | None) -> Iterator[Line]:
    if label:
        yield (Span(f"  {label}:", "dim"),)
    lines = captured.text.rstrip("\n").split("\n")
    first, last = lines, list[str]()
    left_out = len(lines) - _FIRST - _LAST_LINES
    if left_out > 1:
        first, last = lines[:_FIRST], lines[-_LAST_LINES:]
    yield from _output(first)
    if last:
        count = f"{'more than ' if captured.truncated else ''}{left_out}"
        yield (Span(f"  … {count} lines are left out here{_whole(log)}", "dim"),)
        yield from _output(last)
    if captured.truncated:
        shown = sum(len(line[:_LONGEST_LINE].encode(errors="replace")) + 1 for line in first + last)
        text = f"  shortened: {shown} of {captured.size} bytes are shown{_whole(log)}"
        yield (Span(text, "dim"),)


def _whole(log: str | None) -> str:
    return f"; everything is in {one_line(log)}" if log else ""


def _output(lines: Iterable[str]) -> Iterator[Line]:
    for line in neutralise("\n".join(map(_cut, lines))).split("\n"):
        yield (Span(BAR, "dim"), Span(line))


def _cut(line: str) -> str:
    more = len(line) - _LONGEST_LINE
    return f"{line[:_LONGEST_LINE]}[… {more} more characters …]" if more > 0 else line


def _total(report: RunReport) -> Line:
    style = {Verdict.PASSED: "good", Verdict.CANCELLED: "warn"}.get(report.verdict, "bad")
    ranked = sorted(report.stages, key=lambda result: (result.verdict in _LAST, result.ok))
    counts = Counter(_label(result).removesuffix(" (cached)") for result in ranked)
    text = ", ".join(f"{count} {label}" for label, count in counts.items()) or "nothing to do"
    if report.stopped:
        text = f"{_STOPPED[report.stopped]}: {text}"
    end = f" in {format_duration(report.seconds)} ({one_line(report.backend)})"
    return (Span(text, style), Span(end, "dim"))
