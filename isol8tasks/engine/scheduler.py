"""What may start now. One thread decides; one thread per running stage acts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue

import attrs

from isol8tasks.backend.contract import PreparedImage
from isol8tasks.engine.ahead import SandboxSupply
from isol8tasks.engine.attempt import stopped
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.engine.images import Bakery, Outcome
from isol8tasks.engine.queues import ReadyStages, SoonStages
from isol8tasks.engine.slots import Slots
from isol8tasks.errors import Isol8Error
from isol8tasks.model.events import Notice, StageFinished
from isol8tasks.model.image import Image
from isol8tasks.model.result import Phase, StageResult, StopReason, Verdict
from isol8tasks.model.stage import Stage
from isol8tasks.plan.plan import Plan
from isol8tasks.ports import EventSink

Perform = Callable[[Stage, PreparedImage], StageResult]
"""Runs a stage to its final result; called in a thread of its own."""


@attrs.frozen
class _Performed:
    name: str
    result: StageResult | BaseException


@attrs.frozen
class _Baked:
    image: Image
    outcome: Outcome | BaseException


class Scheduler:
    """Runs a plan once. Results are kept in `results` by name."""

    def __init__(
        self,
        plan: Plan,
        *,
        perform: Perform,
        bakery: Bakery,
        supply: SandboxSupply,
        slots: Slots,
        jobs: int,
        emit: EventSink,
        cancel: CancelSource,
        fail_fast: bool = False,
    ) -> None:
        self._plan = plan
        self._perform = perform
        self._bakery = bakery
        self._supply = supply
        self._slots = slots
        self._jobs = jobs
        self._emit = emit
        self._cancel = cancel
        self._fail_fast = fail_fast
        self._ready = ReadyStages(plan)
        self._soon = SoonStages(plan, most=jobs)
        self._missing = {stage.name: len(plan.prerequisites(stage.name)) for stage in plan.stages}
        self._images: dict[Image, PreparedImage] = {}
        self._wanting: dict[Image, set[str]] = {}
        self._queue: SimpleQueue[_Performed | _Baked | None] = SimpleQueue()
        self.results: dict[str, StageResult] = {}

    def run(self) -> tuple[StageResult, ...]:
        """Run to the end or until cancelled; results in the order of the plan."""
        unsubscribe = self._cancel.on_cancel(lambda: self._queue.put(None))
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="stage")
        with closing(self._bakery), closing(self._supply), pool:
            try:
                self._start_bakes()
                while len(self.results) < len(self._plan.stages):
                    self._fill(pool)
                    self._look_ahead()
                    self._take(self._queue.get())
            except BaseException:
                self._cancel.cancel(StopReason.TERMINATED)
                raise
            finally:
                unsubscribe()
        return tuple(self.results[stage.name] for stage in self._plan.stages)

    def _start_bakes(self) -> None:
        for stage in self._plan.stages:
            self._wanting.setdefault(stage.image, set()).add(stage.name)
        for image in self._wanting:
            self._bakery.start(image, lambda *done: self._queue.put(_Baked(*done)))

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        while not self._cancel.cancelled and (stage := self._ready.take(self._slots)):
            if self._slots.oversized(stage.limits):
                self._emit(
                    Notice(text=f"'{stage.name}' wants more than this machine: it runs alone")
                )
            self._slots.take(stage.name, stage.limits)
            self._soon.started(stage.name)
            pool.submit(self._work, stage)

    def _look_ahead(self) -> None:
        """At most as many sandboxes wait as stages may run; for a cancelled run, none is made."""
        if not self._cancel.cancelled:
            for stage in self._soon.take():
                self._supply.expect(stage, self._images[stage.image])

    def _work(self, stage: Stage) -> None:
        try:
            result: StageResult | BaseException = self._perform(stage, self._images[stage.image])
        except BaseException as error:  # noqa: BLE001 -- the scheduler's thread raises it
            result = error
        self._queue.put(_Performed(stage.name, result))

    def _take(self, message: _Performed | _Baked | None) -> None:
        match message:
            case None:
                self._give_up()
            case _Baked(image, outcome):
                self._image_done(image, outcome)
            case _Performed(name, result):
                self._slots.give_back(name)
                if isinstance(result, BaseException):
                    raise result
                self._finish(name, result)

    def _image_done(self, image: Image, outcome: Outcome | BaseException) -> None:
        if isinstance(outcome, PreparedImage):
            self._images[image] = outcome
            for name in self._in_order(self._wanting[image]):
                self._soon.image_prepared(name)
                self._make_ready(name)
        elif isinstance(outcome, Isol8Error):
            for name in self._in_order(self._wanting[image]):
                self._finish(name, _unstarted(name, Verdict.ERROR, Phase.IMAGE, outcome.message))
        elif not self._cancel.cancelled and self._wanting[image]:
            raise outcome

    def _in_order(self, names: set[str]) -> list[str]:
        return [stage.name for stage in self._plan.stages if stage.name in names]

    def _make_ready(self, name: str) -> None:
        stage = self._plan.stage(name)
        waiting = self._missing[name] or stage.image not in self._images
        if not waiting and name not in self.results:
            self._ready.add(stage)

    def _finish(self, name: str, result: StageResult) -> None:
        """Record a result and what follows from it, iteratively: skips run down long chains."""
        pending = [(name, result)]
        while pending:
            name, result = pending.pop()
            if name in self.results:
                continue
            judged = not result.ok and result.verdict is not Verdict.ERROR
            if judged and self._plan.stage(name).allow_failure:
                result = attrs.evolve(result, allowed=True)
            self.results[name] = result
            self._emit(StageFinished(result=result))
            self._unwant(name)
            self._soon.settle(name)
            self._supply.drop(name)
            if self._fail_fast and not result.acceptable:
                self._cancel.cancel(StopReason.FAIL_FAST)
            for dependant in reversed(self._plan.dependants(name)):
                if result.ok:
                    self._missing[dependant] -= 1
                    if not self._missing[dependant]:
                        self._make_ready(dependant)
                else:
                    pending.append((dependant, _skipped(dependant, result)))

    def _unwant(self, name: str) -> None:
        image = self._plan.stage(name).image
        self._wanting[image].discard(name)
        if not self._wanting[image] and image not in self._images:
            self._bakery.stop(image)

    def _give_up(self) -> None:
        """Cancelled: what never started is cancelled too; what runs reports for itself."""
        reason = stopped(self._cancel.reason)
        for stage in self._plan.stages:
            if stage.name not in self.results and stage.name not in self._slots.holders:
                result = _unstarted(stage.name, Verdict.CANCELLED, Phase.WAITING, reason)
                self._finish(stage.name, result)


def _unstarted(name: str, verdict: Verdict, phase: Phase, reason: str) -> StageResult:
    return StageResult(name=name, verdict=verdict, phase=phase, reason=reason)


def _skipped(name: str, cause: StageResult) -> StageResult:
    words = {Verdict.SKIPPED: "was skipped", Verdict.ERROR: "could not be judged"}
    if cause.verdict is Verdict.CANCELLED:
        return _unstarted(name, Verdict.CANCELLED, Phase.WAITING, cause.reason)
    word = words.get(cause.verdict, cause.verdict.value.replace("_", " "))
    reason = f"requires '{cause.name}', which {word}"
    return _unstarted(name, Verdict.SKIPPED, Phase.WAITING, reason)
