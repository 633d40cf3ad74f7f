"""Preparing the images of a run: each once, beside the stages, and no longer than one is wanted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isol8tasks.backend.contract import Backend, PreparedImage
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.errors import Cancelled, Isol8Error
from isol8tasks.model.events import ImageFinished, ImageProgress, ImageStarted
from isol8tasks.model.image import Image
from isol8tasks.model.result import StopReason
from isol8tasks.ports import Clock, EventSink

PARALLEL = 2
"""Bakes at a time: they wait for the network more than for a processor."""

Outcome = PreparedImage | Isol8Error | Cancelled


class Bakery:
    """Prepares images in threads of its own and reports each outcome to a callback."""

    def __init__(
        self, backend: Backend, *, base: Path, timeout: float, clock: Clock, emit: EventSink
    ) -> None:
        self._backend = backend
        self._base = base
        self._timeout = timeout
        self._clock = clock
        self._emit = emit
        self._cancels: dict[Image, CancelSource] = {}
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="bake")

    def start(self, image: Image, done: Callable[[Image, Outcome | BaseException], None]) -> None:
        """Begin to prepare an image; a bake thread calls `done`, also for a bug of ours."""
        cancel = self._cancels[image] = CancelSource()

        def work() -> None:
            try:
                outcome: Outcome | BaseException = self._prepare(image, cancel)
            except BaseException as error:  # noqa: BLE001 -- the scheduler raises it
                outcome = error
            done(image, outcome)

        self._pool.submit(work)

    def stop(self, image: Image, reason: StopReason = StopReason.FAIL_FAST) -> None:
        """Nobody wants this image any more."""
        self._cancels[image].cancel(reason)

    def close(self) -> None:
        """Stop what is under way and wait for it."""
        for cancel in self._cancels.values():
            cancel.cancel(StopReason.FAIL_FAST)
        self._pool.shutdown(wait=True)

    def _prepare(self, image: Image, cancel: CancelSource) -> Outcome:
        if cancel.cancelled:
            return Cancelled()
        start = self._clock.now()
        self._emit(ImageStarted(image=image))
        outcome = self._attempt(image, cancel)
        failure = outcome if isinstance(outcome, Isol8Error) else None
        self._emit(
            ImageFinished(
                image=image,
                seconds=self._clock.now() - start,
                baked=isinstance(outcome, PreparedImage) and outcome.baked,
                error=failure.message if failure else "",
                hint=failure.hint if failure else "",
            )
        )
        return outcome

    def _attempt(self, image: Image, cancel: CancelSource) -> Outcome:
        try:
            return self._backend.prepare(
                image,
                base=self._base,
                sink=lambda line: self._emit(ImageProgress(image=image, line=line)),
                cancel=cancel,
                timeout=self._timeout,
            )
        except (Isol8Error, Cancelled) as error:
            return error
