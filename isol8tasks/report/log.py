"""The log of a run, for `--verbose`. structlog is configured here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO, assert_never

import structlog

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
from isol8tasks.report.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from isol8tasks.model.result import StageResult


def configure(stream: TextIO) -> None:
    """Log one line per entry, as `key=value`, to this stream."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.add_log_level,
            _harmless,
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event", "run", "stage", "attempt"],
                drop_missing=True,
                repr_native_str=False,
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


class EventLog:
    """Logs every event, with its run, stage and attempt bound."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._run = ""
        self._attempts: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Log an event."""
        match event:
            case RunStarted():
                self._run = event.run_id
                self._entry(
                    "run started",
                    backend=event.backend,
                    why=event.backend_reason,
                    stages=len(event.stages),
                    jobs=event.jobs,
                )
            case ImageStarted():
                self._entry("image started", image=str(event.image))
            case ImageProgress():
                self._entry("image progress", image=str(event.image), line=event.line)
            case ImageFinished():
                self._entry(
                    "image finished",
                    image=str(event.image),
                    baked=event.baked,
                    seconds=event.seconds,
                    error=event.error,
                )
            case StageStarted():
                self._attempts[event.name] = event.attempt
                self._entry("stage started", stage=event.name)
            case StagePhase():
                self._entry("stage phase", stage=event.name, phase=event.phase.value)
            case StageFinished():
                self._entry("stage finished", stage=event.result.name, **_facts(event.result))
            case Notice():
                self._entry("notice", text=event.text)
            case RunFinished():
                self._entry(
                    "run finished", verdict=event.report.verdict.value, seconds=event.report.seconds
                )
            case _:
                assert_never(event)

    def _entry(self, event: str, *, stage: str = "", **facts: object) -> None:
        bound = {"run": self._run}
        if stage:
            bound |= {"stage": stage, "attempt": str(self._attempts.get(stage, 0))}
        with structlog.contextvars.bound_contextvars(**bound):
            self._log.info(event, **facts)


def _facts(result: StageResult) -> Mapping[str, object]:
    return {
        "verdict": result.verdict.value,
        "phase": result.phase.value,
        "reason": result.reason,
        "exit_code": result.exit_code,
        "seconds": round(result.seconds, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
    }


def _harmless(_log: Any, _method: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Quote and neutralise texts: some of them were written by a sandbox."""
    return {
        key: _quoted(value) if isinstance(value, str) else value for key, value in entry.items()
    }


def _quoted(text: str) -> str:
    text = one_line(text)
    return (
        text
        if text and " " not in text and '"' not in text
        else f'"{text.replace(chr(34), chr(39))}"'
    )
