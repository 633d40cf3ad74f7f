"""Named moments of a run; every display and report is made of these and of nothing else."""

from __future__ import annotations

import attrs

from isol8tasks.model.image import Image
from isol8tasks.model.result import Phase, RunReport, StageResult


@attrs.frozen(kw_only=True)
class RunStarted:
    """The plan is fixed: `stages` in its order; `jobs` may run at a time."""

    run_id: str
    backend: str
    backend_reason: str
    stages: tuple[str, ...]
    jobs: int


@attrs.frozen(kw_only=True)
class ImageStarted:
    """An image is looked for, and baked if it is not there."""

    image: Image


@attrs.frozen(kw_only=True)
class ImageProgress:
    """A line that a bake printed."""

    image: Image
    line: str


@attrs.frozen(kw_only=True)
class ImageFinished:
    """An image is ready, or `error` says why not and `hint` what to do about it.

    `baked` is False when it was there already, and when nobody wanted it any more.
    """

    image: Image
    seconds: float
    baked: bool
    error: str = ""
    hint: str = ""


@attrs.frozen(kw_only=True)
class StageStarted:
    """A stage has its slot; `attempt` counts from 1."""

    name: str
    attempt: int


@attrs.frozen(kw_only=True)
class StagePhase:
    """A stage entered a phase."""

    name: str
    phase: Phase


@attrs.frozen(kw_only=True)
class StageFinished:
    """A stage has its final result."""

    result: StageResult


@attrs.frozen(kw_only=True)
class Notice:
    """Something the user should know that is no failure."""

    text: str


@attrs.frozen(kw_only=True)
class RunFinished:
    """The last event."""

    report: RunReport


Event = (
    RunStarted
    | ImageStarted
    | ImageProgress
    | ImageFinished
    | StageStarted
    | StagePhase
    | StageFinished
    | Notice
    | RunFinished
)
