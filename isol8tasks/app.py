"""The composition root: the only place that builds concrete objects and joins them."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import attrs

from isol8tasks.backend import registry
from isol8tasks.backend.contract import (
    Backend,
    BackendOptions,
    PreparedImage,
    Probe,
)
from isol8tasks.backend.folders import ClaimedFolder, make_folder, sweep_claims
from isol8tasks.engine.ahead import SandboxSupply
from isol8tasks.engine.assemble import assemble
from isol8tasks.engine.attempt import Attempt, Workbench
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.engine.clock import MonotonicClock
from isol8tasks.engine.disposal import Disposal
from isol8tasks.engine.images import Bakery
from isol8tasks.engine.scheduler import Scheduler
from isol8tasks.engine.slots import Capacity, Slots
from isol8tasks.errors import Isol8Error, OperationError, UsageError
from isol8tasks.model.events import Event, Notice, RunFinished, RunStarted, StageStarted
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import Phase, RunReport, StageResult, Verdict
from isol8tasks.model.stage import Stage, TaskFile
from isol8tasks.plan.admit import (
    Consent,
    PassedOver,
    about,
    admit,
    nothing_left,
    require_consent,
    unusable,
    weak_notice,
    why_chosen,
)
from isol8tasks.plan.plan import Plan, build
from isol8tasks.plan.suggest import did_you_mean
from isol8tasks.ports import ArtifactStore, Clock, EventSink, InputStore
from isol8tasks.store.artifacts import LocalArtifacts
from isol8tasks.store.inputs import WorkspaceInputs


@attrs.frozen(kw_only=True)
class RunOptions:
    """What an operator may choose; `bake_timeout` in seconds, `jobs` None for one per processor."""

    backend: str | None = None
    runtime: str | None = None
    jobs: int | None = None
    fail_fast: bool = False
    allow_host_network: bool = False
    allow_unenforced: frozenset[Limit] = frozenset()
    require_enforced: bool = False
    bake_timeout: float = 600.0
    cache: Path | None = None
    images: tuple[tuple[str, str], ...] = ()

    @property
    def consent(self) -> Consent:
        """The part that overrules a refusal."""
        return Consent(
            allow_host_network=self.allow_host_network,
            allow_unenforced=self.allow_unenforced,
            require_enforced=self.require_enforced,
        )

    @property
    def parallel(self) -> int:
        """How many stages may run at a time."""
        return self.jobs or len(os.sched_getaffinity(0))


@attrs.frozen(kw_only=True)
class DryStage:
    """A stage as it would run: the number of its input files, and what is held less than firmly."""

    stage: Stage
    inputs: int
    unenforced: tuple[Limit, ...]


@attrs.frozen(kw_only=True)
class DryRun:
    """What a run would do."""

    backend: str
    reason: str
    stages: tuple[DryStage, ...]


@attrs.frozen(kw_only=True)
class Diagnosis:
    """One backend on this host; `reason` says why it would be chosen, or why not."""

    name: str
    probe: Probe
    chosen: bool
    reason: str


@attrs.frozen(kw_only=True)
class Swept:
    """How much was removed, and what kept a backend from looking for more."""

    removed: int
    errors: tuple[OperationError, ...] = ()


@attrs.frozen(kw_only=True)
class _Chosen:
    backend: Backend
    reason: str
    notice: str
    unenforced: Mapping[str, tuple[Limit, ...]]


def cache_folder(options: RunOptions) -> Path:
    """Where images are kept. Root's is the system's: sandboxes of other uids must reach it."""
    if options.cache is not None:
        return options.cache.absolute()
    from platformdirs import site_cache_path, user_cache_path  # noqa: PLC0415 -- not for `list`

    if os.geteuid() == 0:
        return site_cache_path("isol8tasks")
    try:
        return user_cache_path("isol8tasks")
    except RuntimeError as error:  # no HOME, and no entry in the list of users either
        raise UsageError(
            "images need a cache folder, and this user has no home",
            hint="name one with --cache FOLDER or ISOL8TASKS_CACHE",
        ) from error


def run(
    plan: Plan, options: RunOptions, *, sinks: Sequence[EventSink], cancel: CancelSource
) -> RunReport:
    """Run a plan in its workspace; logs and outputs go to our folder there."""
    root = Path(plan.root)
    inputs = WorkspaceInputs(root)
    for stage in plan.stages:
        inputs.declared(stage)
    with (
        _chosen(plan, options) as chosen,
        closing(LocalArtifacts(root, earlier=plan.left_out)) as artifacts,
    ):
        for name in sorted(plan.left_out):
            artifacts.tree(name)  # taken over before anything runs, or PlanError
        run = _Run(plan, options, chosen, inputs, artifacts, sinks, cancel)
        return run.execute()


def run_ad_hoc(
    stage: Stage, options: RunOptions, *, sinks: Sequence[EventSink], cancel: CancelSource
) -> RunReport:
    """Run one stage that has no workspace; nothing of it is kept."""
    with _chosen_for_scratch(stage, options) as (plan, chosen, scratch):
        inputs = WorkspaceInputs(scratch)
        with closing(LocalArtifacts(scratch)) as artifacts:
            report = _Run(plan, options, chosen, inputs, artifacts, sinks, cancel).execute()
    stages = tuple(attrs.evolve(result, log=None) for result in report.stages)  # gone by now
    return attrs.evolve(report, stages=stages)


@contextmanager
def _chosen_for_scratch(stage: Stage, options: RunOptions) -> Iterator[tuple[Plan, _Chosen, Path]]:
    parent = cache_folder(options) / "scratch"
    make_folder(parent)
    sweep_claims(parent)
    with closing(ClaimedFolder(parent)) as scratch:
        root = str(scratch.path)
        taskfile = TaskFile(path=stage.declared_at.path, root=root, stages=(stage,))
        plan = build(taskfile, (stage.name,))
        with _chosen(plan, options) as chosen:
            yield plan, chosen, scratch.path


def dry_run(plan: Plan, options: RunOptions) -> DryRun:
    """Everything up to the first sandbox: inputs are found, the backend is chosen and asked."""
    inputs = WorkspaceInputs(Path(plan.root))
    counts = {stage.name: len(inputs.declared(stage)) for stage in plan.stages}
    with _chosen(plan, options) as chosen:
        return DryRun(
            backend=chosen.backend.name,
            reason=chosen.reason,
            stages=tuple(
                DryStage(
                    stage=stage, inputs=counts[stage.name], unenforced=chosen.unenforced[stage.name]
                )
                for stage in plan.stages
            ),
        )


def diagnose(options: RunOptions) -> tuple[Diagnosis, ...]:
    """Try every installed backend; exactly one is chosen, if any works."""
    found: list[Diagnosis] = []
    _check_name(options)
    for name in registry.installed():
        with ExitStack() as stack:
            _, probe = _opened(name, options, stack)
        taken = next((other.name for other in found if other.chosen), None)
        wanted = options.backend in {None, name}
        chosen = probe.capabilities is not None and taken is None and wanted
        found.append(
            Diagnosis(
                name=name, probe=probe, chosen=chosen, reason=_reason(probe, options, taken, chosen)
            )
        )
    return tuple(found)


def sweep(options: RunOptions, *, root: Path | None, older_than: float | None = None) -> Swept:
    """Remove what crashed runs left, in the cache, on the host and in a workspace."""
    _check_name(options)
    removed = sweep_claims(cache_folder(options) / "scratch")
    if root is not None:
        removed += LocalArtifacts.sweep(root)
    errors: list[OperationError] = []
    for name in registry.installed():
        try:
            with closing(registry.load(name, _backend_options(options))) as backend:
                removed += backend.sweep(older_than=older_than)
        except OperationError as error:
            message = about(name, error.message)
            errors.append(OperationError(message, where=error.where, hint=error.hint))
    return Swept(removed=removed, errors=tuple(errors))


def _reason(probe: Probe, options: RunOptions, taken: str | None, chosen: bool) -> str:
    if chosen:
        return "it was asked for" if options.backend else "the first one that works"
    if probe.capabilities is None:
        return probe.reason
    return f"'{taken}' comes first" if taken else f"'{options.backend}' was asked for"


def _backend_options(options: RunOptions) -> BackendOptions:
    return BackendOptions(
        cache=cache_folder(options), runtime=options.runtime, images=options.images
    )


@contextmanager
def _chosen(plan: Plan, options: RunOptions) -> Iterator[_Chosen]:
    """The first backend that works here and may run the whole plan; what follows is not loaded."""
    require_consent(plan.stages, options.consent)
    _check_name(options)
    passed: list[PassedOver] = []
    for name in (options.backend,) if options.backend else registry.installed():
        with ExitStack() as stack:
            backend, probe = _opened(name, options, stack)
            if backend is None or probe.capabilities is None:
                passed.append(unusable(name, probe))
                continue
            weak = admit(plan.stages, probe.capabilities, backend=name, consent=options.consent)
            if isinstance(weak, PassedOver):
                passed.append(weak)
                continue
            yield _Chosen(
                backend=backend,
                reason="asked for" if options.backend else why_chosen(passed),
                notice=weak_notice(weak, probe.capabilities, backend=name),
                unenforced={stage.name: weak for stage in plan.stages},
            )
            return
    raise nothing_left(passed)


def _check_name(options: RunOptions) -> None:
    have = registry.installed()
    if options.backend is not None and options.backend not in have:
        meant = did_you_mean(options.backend, have)
        raise registry.unknown(options.backend, meant=meant)


def _opened(name: str, options: RunOptions, stack: ExitStack) -> tuple[Backend | None, Probe]:
    """A backend, until the stack is closed, and what it found; what it raised is a reason too."""
    given = _backend_options(options)
    try:
        backend = stack.enter_context(closing(registry.load(name, given)))
        return backend, backend.probe()
    except Isol8Error as error:
        return None, Probe(reason=error.message, remedy=error.hint)


class _Run:
    """One run, joined together."""

    def __init__(
        self,
        plan: Plan,
        options: RunOptions,
        chosen: _Chosen,
        inputs: InputStore,
        artifacts: ArtifactStore,
        sinks: Sequence[EventSink],
        cancel: CancelSource,
    ) -> None:
        self._plan = plan
        self._options = options
        self._chosen = chosen
        self._inputs = inputs
        self._cancel = cancel
        self._clock: Clock = MonotonicClock()
        self._emit = _FanOut(sinks)
        self._disposal = Disposal()
        values = _secrets(plan)
        self._supply = SandboxSupply(chosen.backend, secrets=values, dispose=self._disposal)
        self._bench = Workbench(
            sandbox=self._supply.take,
            artifacts=artifacts,
            clock=self._clock,
            emit=self._emit,
            cancel=cancel,
            posargs=plan.posargs,
            secrets=values,
            dispose=self._disposal,
        )

    def execute(self) -> RunReport:
        """Run it, tell the sinks, and report."""
        start, run_id = self._clock.now(), secrets.token_hex(4)
        self._emit(
            RunStarted(
                run_id=run_id,
                backend=self._chosen.backend.name,
                backend_reason=self._chosen.reason,
                stages=tuple(stage.name for stage in self._plan.stages),
                jobs=self._options.parallel,
            )
        )
        if self._chosen.notice:
            self._emit(Notice(text=self._chosen.notice))
        try:
            results = self._scheduler().run()
        finally:
            self._clean_up()
        report = RunReport(
            run_id=run_id,
            backend=self._chosen.backend.name,
            stages=results,
            seconds=self._clock.now() - start,
            stopped=self._cancel.reason,
            notices=tuple(self._emit.notices),
        )
        self._emit(RunFinished(report=report))
        return report

    def _clean_up(self) -> None:
        """What could not be removed changes no verdict, but is said."""
        failures = dict.fromkeys(error.message for error in self._disposal.finish())
        for words in failures:
            self._emit(Notice(text=f"not cleaned up: {words}; 'isol8tasks sweep' tries again"))

    def _scheduler(self) -> Scheduler:
        jobs = self._options.parallel
        bakery = Bakery(
            self._chosen.backend,
            base=Path(self._plan.root),
            timeout=self._options.bake_timeout,
            clock=self._clock,
            emit=self._emit,
        )
        return Scheduler(
            self._plan,
            perform=self._perform,
            bakery=bakery,
            supply=self._supply,
            slots=Slots(Capacity(cpus=_cpus(), memory=_memory(), jobs=jobs)),
            jobs=jobs,
            emit=self._emit,
            cancel=self._cancel,
            fail_fast=self._options.fail_fast,
        )

    def _perform(self, stage: Stage, image: PreparedImage) -> StageResult:
        """All tries of a stage; the last result counts, with the time of all."""
        spent: dict[Phase, float] = {}
        for number in range(1, stage.retries + 2):
            self._emit(StageStarted(name=stage.name, attempt=number))
            attempt = Attempt(self._bench, stage, image)
            result = attempt.execute(lambda: assemble(stage, self._inputs, self._bench.artifacts))
            for phase, seconds in result.durations:
                spent[phase] = spent.get(phase, 0.0) + seconds
            if result.ok or result.verdict is Verdict.CANCELLED or self._cancel.cancelled:
                break
        return attrs.evolve(
            result,
            attempts=number,
            durations=tuple(spent.items()),
            unenforced=self._chosen.unenforced[stage.name],
        )


class _FanOut:
    """Hands every event to every sink, one at a time."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = tuple(sinks)
        self._lock = threading.RLock()
        self.notices: list[str] = []

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Notice):
                self.notices.append(event.text)
            for sink in self._sinks:
                sink(event)


def _secrets(plan: Plan) -> tuple[tuple[str, str], ...]:
    """The values of all secrets that the plan needs, from our environment."""
    values: dict[str, str] = {}
    for stage in plan.stages:
        for secret in stage.secrets:
            if secret.name not in os.environ:
                raise UsageError(
                    f"'{stage.name}' needs the secret '{secret.name}', which is not set",
                    where=stage.declared_at,
                    hint=f"set the environment variable {secret.name}",
                )
            values[secret.name] = os.environ[secret.name]
    return tuple(sorted(values.items()))


def _cpus() -> float:
    return float(len(os.sched_getaffinity(0)))


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
