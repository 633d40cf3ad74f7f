"""One try of one stage: inputs in, run, outputs out, and the verdict."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from isol8tasks.backend.contract import OutputRefused, PreparedImage, Sandbox, TreeEntry
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.engine.disposal import Close, at_once
from isol8tasks.engine.masking import Mask
from isol8tasks.engine.output import StageOutput
from isol8tasks.errors import Isol8Error
from isol8tasks.model.events import StagePhase
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import (
    Captured,
    Exit,
    OutputFile,
    Phase,
    StageResult,
    StopReason,
    Verdict,
)
from isol8tasks.model.stage import Stage
from isol8tasks.model.units import format_duration, format_size
from isol8tasks.plan.command import argv
from isol8tasks.ports import ArtifactStore, Clock, EventSink, StageFolder


@attrs.frozen(kw_only=True)
class Workbench:
    """What every attempt of a run shares. `secrets` are values by name.

    `sandbox` gives an attempt a sandbox of its own; `dispose` closes one that is done, now or soon.
    """

    sandbox: Callable[[Stage, PreparedImage], Sandbox]
    artifacts: ArtifactStore
    clock: Clock
    emit: EventSink
    cancel: CancelSource
    posargs: tuple[str, ...] = ()
    secrets: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    dispose: Callable[[Close], None] = at_once


class Attempt:
    """One try of one stage in a sandbox of its own."""

    def __init__(self, bench: Workbench, stage: Stage, image: PreparedImage) -> None:
        self._bench = bench
        self._stage = stage
        self._image = image
        secrets = dict(bench.secrets)
        self._mask = Mask(secrets[secret.name] for secret in stage.secrets)
        self._durations: dict[Phase, float] = {}
        self._phase = Phase.INPUTS
        self._killed_for: Limit | None = None
        self._lock = threading.Lock()

    def execute(self, inputs: Callable[[], tuple[TreeEntry, ...]]) -> StageResult:
        """Do it. Errors of ours become the verdict `error`: the other stages go on."""
        try:
            folder = self._bench.artifacts.begin(self._stage.name)
            try:
                return self._in_sandbox(folder, inputs)
            finally:
                folder.discard()
        except (Isol8Error, OSError) as error:
            return self._result(Verdict.ERROR, reason=_words(error))

    def _in_sandbox(
        self, folder: StageFolder, inputs: Callable[[], tuple[TreeEntry, ...]]
    ) -> StageResult:
        with self._timed(Phase.INPUTS):
            tree = inputs()
            sandbox = self._bench.sandbox(self._stage, self._image)
        try:
            with self._timed(Phase.INPUTS):
                sandbox.put(tree)
            return self._run(sandbox, folder)
        finally:
            self._bench.dispose(sandbox.close)

    def _run(self, sandbox: Sandbox, folder: StageFolder) -> StageResult:
        output = StageOutput(
            limit=self._stage.limits.output_limit,
            mask=self._mask,
            open_log=folder.open_log,
            overflow=lambda: self._stop(sandbox, Limit.OUTPUT),
        )
        try:
            with self._timed(Phase.RUN), self._watched(sandbox):
                ended = sandbox.run(
                    argv(self._stage.command, self._posargs), stdin=self._stage.stdin, sink=output
                )
        finally:
            streams = output.finish()
        verdict, reason = self._judge(ended)
        passed = verdict is Verdict.PASSED
        trouble, refused = self._outputs(sandbox, folder, passed=passed)
        produced = folder.seal()
        if passed and trouble is not None:
            verdict, reason = trouble, refused
        else:
            self._phase = Phase.DONE if passed else Phase.RUN
        return self._result(verdict, reason=reason, ended=ended, streams=streams, produced=produced)

    @property
    def _posargs(self) -> tuple[str, ...]:
        return self._bench.posargs if self._stage.posargs else ()

    def _outputs(
        self, sandbox: Sandbox, folder: StageFolder, *, passed: bool
    ) -> tuple[Verdict | None, str]:
        """Fetch; what a stage that passed becomes when that fails. Nothing else changes."""
        try:
            with self._timed(Phase.OUTPUTS):
                self._fetch(sandbox, folder, passed=passed)
        except OutputRefused as refusal:
            return Verdict.FAILED, str(refusal)  # masked with every reason
        except (Isol8Error, OSError) as error:
            return Verdict.ERROR, _words(error)
        return None, ""

    def _fetch(self, sandbox: Sandbox, folder: StageFolder, *, passed: bool) -> None:
        """Outputs of a stage that did not pass are kept as far as there are any: a test report."""
        stage = self._stage
        if stage.outputs:
            try:
                fetched = sandbox.fetch(stage.outputs, folder.outputs, max_bytes=stage.limits.disk)
                self._check_names(fetched.paths)
            except OutputRefused:
                shutil.rmtree(folder.outputs)  # all or nothing
                folder.outputs.mkdir()
                raise
            if passed and fetched.unmatched:
                missing = ", ".join(f"'{pattern}'" for pattern in fetched.unmatched)
                raise OutputRefused(f"declared but not produced: {missing}")

    def _check_names(self, paths: tuple[str, ...]) -> None:
        """A name is shown, reported and published: one with a secret in it goes nowhere."""
        telling = [path for path in paths if self._mask.text(path) != path]
        if telling:
            raise OutputRefused(f"an output has a secret in its name: '{telling[0]}'")

    def _judge(self, ended: Exit) -> tuple[Verdict, str]:
        limits = self._stage.limits
        if self._killed_for is Limit.TIMEOUT:
            return Verdict.TIMED_OUT, f"still running after {format_duration(limits.timeout)}"
        if self._killed_for is Limit.OUTPUT:
            return Verdict.OUTPUT_LIMIT, f"printed more than {format_size(limits.output_limit)}"
        if ended.limit is Limit.MEMORY:
            return Verdict.OUT_OF_MEMORY, f"needed more than {format_size(limits.memory)} of memory"
        if ended.limit is Limit.DISK and ended.code != 0:
            return Verdict.DISK_FULL, f"wrote more than {format_size(limits.disk)}"
        if ended.code == 0 and ended.signal is None:
            return Verdict.PASSED, ""
        if self._bench.cancel.cancelled and (ended.code is None or ended.signal == "SIGKILL"):
            return Verdict.CANCELLED, stopped(self._bench.cancel.reason)
        return Verdict.FAILED, _failure(ended)

    @contextmanager
    def _watched(self, sandbox: Sandbox) -> Iterator[None]:
        """The time limit and cancellation, while the program runs."""
        timer = self._bench.clock.call_later(
            self._stage.limits.timeout, lambda: self._stop(sandbox, Limit.TIMEOUT)
        )
        unsubscribe = self._bench.cancel.on_cancel(sandbox.kill)
        try:
            yield
        finally:
            timer.cancel()
            unsubscribe()

    def _stop(self, sandbox: Sandbox, limit: Limit) -> None:
        with self._lock:
            if self._killed_for is None and self._phase is Phase.RUN:
                self._killed_for = limit
        sandbox.kill()

    @contextmanager
    def _timed(self, phase: Phase) -> Iterator[None]:
        if phase is not self._phase or phase not in self._durations:
            self._bench.emit(StagePhase(name=self._stage.name, phase=phase))
        self._phase = phase
        start = self._bench.clock.now()
        try:
            yield
        finally:
            spent = self._bench.clock.now() - start
            self._durations[phase] = self._durations.get(phase, 0.0) + spent

    def _result(
        self,
        verdict: Verdict,
        *,
        reason: str = "",
        ended: Exit | None = None,
        streams: tuple[Captured, Captured] = (Captured(), Captured()),
        produced: tuple[OutputFile, ...] = (),
    ) -> StageResult:
        printed = any(stream.size for stream in streams)
        return StageResult(
            name=self._stage.name,
            verdict=verdict,
            phase=self._phase,
            reason=self._mask.text(reason),
            exit_code=ended.code if ended else None,
            signal=ended.signal if ended else None,
            limit=self._killed_for or (ended.limit if ended else None),
            durations=tuple(self._durations.items()),
            peak_memory_bytes=ended.peak_memory_bytes if ended else None,
            cpu_seconds=ended.cpu_seconds if ended else None,
            stdout=streams[0],
            stderr=streams[1],
            outputs=produced,
            log=self._bench.artifacts.log_path(self._stage.name) if printed else None,
        )


def _words(error: Isol8Error | OSError) -> str:
    if isinstance(error, Isol8Error):
        return error.message
    where = f": {os.fsdecode(error.filename)}" if error.filename is not None else ""
    return f"logs and outputs cannot be kept: {error.strerror or error}{where}"


def stopped(reason: StopReason | None) -> str:
    """Why a stage was cancelled, in words."""
    if reason is StopReason.FAIL_FAST:
        return "stopped because another stage did not pass"
    return "the run was stopped"


def _failure(ended: Exit) -> str:
    if ended.signal:
        return f"killed by {ended.signal}"
    if ended.code is None:
        return "the sandbox was killed from outside"
    return f"exit code {ended.code}"
