"""What happened: exits, verdicts, results and the report of a run."""

from __future__ import annotations

import enum

import attrs

from isol8tasks.model.limits import Limit


class Verdict(enum.StrEnum):
    """The judgement of one stage. `error` means that it could not be judged."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    DISK_FULL = "disk_full"
    DENIED = "denied"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    ERROR = "error"


class Phase(enum.StrEnum):
    """The step of a stage in which its verdict came."""

    WAITING = "waiting"
    IMAGE = "image"
    INPUTS = "inputs"
    RUN = "run"
    OUTPUTS = "outputs"
    DONE = "done"


class StopReason(enum.StrEnum):
    """Why a run ended before its plan did."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    FAIL_FAST = "fail_fast"


@attrs.frozen(kw_only=True)
class Exit:
    """How a program in a sandbox ended.

    `code` is None when the sandbox was killed before the program ended. `signal` is the name, such
    as SIGSEGV, when the program died of one. `limit` is the limit that the backend saw trip.
    `peak_memory_bytes` and `cpu_seconds` are of the whole tree, None where the host cannot tell.
    """

    code: int | None
    signal: str | None = None
    limit: Limit | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


@attrs.frozen(kw_only=True)
class OutputFile:
    """A file that a stage produced: `path` relative to the workspace root, `size` in bytes."""

    path: str
    sha256: str
    size: int


@attrs.frozen(kw_only=True)
class Captured:
    """One stream, masked: its first and last part when `truncated`; `size` is the whole."""

    text: str = ""
    truncated: bool = False
    size: int = 0


@attrs.frozen(kw_only=True)
class StageResult:
    """The result of one stage. `durations` are seconds by phase; `reason` says why it did not pass.

    `unenforced` names limits that this host held less than firmly. `attempts` counts tries, 0 for a
    stage that never started. `allowed` marks a failure that the task file allows.
    """

    name: str
    verdict: Verdict
    phase: Phase = Phase.DONE
    reason: str = ""
    cached: bool = False
    allowed: bool = False
    attempts: int = 0
    exit_code: int | None = None
    signal: str | None = None
    limit: Limit | None = None
    durations: tuple[tuple[Phase, float], ...] = ()
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    stdout: Captured = Captured()
    stderr: Captured = Captured()
    outputs: tuple[OutputFile, ...] = ()
    unenforced: tuple[Limit, ...] = ()
    log: str | None = None

    @property
    def ok(self) -> bool:
        """Whether stages that require this one may run."""
        return self.verdict is Verdict.PASSED

    @property
    def acceptable(self) -> bool:
        """Whether the run may still be green."""
        return self.ok or self.allowed

    @property
    def seconds(self) -> float:
        """The time from start to end, all phases together."""
        return sum(seconds for _, seconds in self.durations)


@attrs.frozen(kw_only=True)
class RunReport:
    """Everything a run found out; `stages` are in the order of the plan, `seconds` is wall time."""

    run_id: str
    backend: str
    stages: tuple[StageResult, ...]
    seconds: float
    stopped: StopReason | None = None
    notices: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """passed, cancelled, error or failed: of the run as a whole."""
        if self.stopped in {StopReason.INTERRUPTED, StopReason.TERMINATED}:
            return Verdict.CANCELLED
        bad = {result.verdict for result in self.stages if not result.acceptable}
        if not bad:
            return Verdict.PASSED
        return Verdict.ERROR if Verdict.ERROR in bad else Verdict.FAILED
