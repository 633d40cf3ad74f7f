"""One run with a bit of everything, as events."""

from __future__ import annotations

import pytest

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
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import (
    Captured,
    OutputFile,
    Phase,
    RunReport,
    StageResult,
    Verdict,
)

PYTHON = Image.python().pip("pytest==8.4.2")

PASSED = StageResult(
    name="syntax",
    verdict=Verdict.PASSED,
    attempts=1,
    exit_code=0,
    durations=((Phase.RUN, 0.25),),
    stdout=Captured(text="ok\n", size=3),
    log=".isol8tasks/logs/syntax",
)
FAILED = StageResult(
    name="unit",
    verdict=Verdict.FAILED,
    phase=Phase.RUN,
    reason="exit code 1",
    attempts=2,
    exit_code=1,
    durations=((Phase.INPUTS, 0.25), (Phase.RUN, 1.0)),
    peak_memory_bytes=31457280,
    cpu_seconds=0.9,
    stdout=Captured(text="\x1b[1m1 failed[/]\n::error ::no\n", size=2 << 20, truncated=True),
    stderr=Captured(text="[red]warning[/red]", size=18),
    outputs=(OutputFile(path="report.xml", sha256="e3b0", size=7),),
    unenforced=(Limit.MEMORY,),
    log=".isol8tasks/logs/unit",
)
FLAKY = StageResult(
    name="flaky",
    verdict=Verdict.TIMED_OUT,
    phase=Phase.RUN,
    reason="ran longer than 10s",
    allowed=True,
    attempts=1,
    limit=Limit.TIMEOUT,
    durations=((Phase.RUN, 10.0),),
)
SKIPPED = StageResult(
    name="summary", verdict=Verdict.SKIPPED, phase=Phase.WAITING, reason="requires unit"
)
REPORT = RunReport(
    run_id="r1",
    backend="bubblewrap",
    stages=(PASSED, FAILED, FLAKY, SKIPPED),
    seconds=11.5,
    notices=("not enforced here: memory",),
)


def _stage(result: StageResult) -> tuple[Event, ...]:
    if not result.attempts:
        return (StageFinished(result=result),)
    return (
        StageStarted(name=result.name, attempt=result.attempts),
        StagePhase(name=result.name, phase=Phase.RUN),
        StageFinished(result=result),
    )


EVENTS: tuple[Event, ...] = (
    RunStarted(
        run_id="r1",
        backend="bubblewrap",
        backend_reason="the first that works",
        stages=("syntax", "unit", "flaky", "summary"),
        jobs=2,
    ),
    ImageStarted(image=PYTHON),
    ImageProgress(image=PYTHON, line="Downloading \x1b[2Jpytest"),
    ImageProgress(image=PYTHON, line="Installed"),
    ImageFinished(image=PYTHON, seconds=3.25, baked=True),
    Notice(text="not enforced here: memory"),
    *_stage(PASSED),
    *_stage(FAILED),
    *_stage(FLAKY),
    *_stage(SKIPPED),
    RunFinished(report=REPORT),
)


@pytest.fixture
def events() -> tuple[Event, ...]:
    return EVENTS


@pytest.fixture
def report() -> RunReport:
    return REPORT
