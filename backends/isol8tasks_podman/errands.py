"""Requests that take long and can be stopped."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

from isol8tasks_oci.client import EngineError

from isol8tasks.backend.contract import Cancellation, LineSink
from isol8tasks.errors import BackendUnavailable, Cancelled
from isol8tasks_podman.connection import Connection, Reports
from isol8tasks_podman.facts import facts_of
from isol8tasks_podman.service import Service

_PAUSE = 0.05
_PATIENCE = 60.0
"""Seconds for a step that cannot be ended, such as writing the image."""


class Errands:
    """A pull ends when its connection does. What a build runs goes on then, whoever hangs up.

    So a build has a service of its own, whose helpers can be told from those of others. Without
    `program`, or where podman started here is another engine than the one behind the connection
    (`identity`, if that is not certain), a RUN that was cancelled goes on until it ends.
    """

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *,
        program: str | None,
        identity: Callable[[], str] | None,
        runtime: str | None = None,
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._program = program
        self._identity = identity
        self._runtime = runtime
        self._numbers = itertools.count(1)

    def pull(
        self, params: Mapping[str, str], *, silence: float, sink: LineSink, cancel: Cancellation
    ) -> None:
        """Pull, and pass on what is told; Cancelled when it was stopped."""
        request = partial(self._connection.reports, "/images/pull", params=params, timeout=silence)
        _follow(request, _Stop(None), sink, cancel, None)

    def build(
        self,
        params: Mapping[str, str],
        context: IO[bytes],
        *,
        sink: LineSink,
        cancel: Cancellation,
        timeout: float,
    ) -> None:
        """Build, and pass on what is told; Cancelled or TimeoutError when it was stopped."""
        if cancel.cancelled:
            raise Cancelled
        with ExitStack() as undo:
            connection, service = self._own(undo)
            request = partial(
                connection.reports, "/build", params=params, content=context, timeout=None
            )
            _follow(request, _Stop(service), sink, cancel, timeout)

    def _own(self, undo: ExitStack) -> tuple[Connection, Service | None]:
        if self._program is None:
            return self._connection, None
        path = self._folder / f"{next(self._numbers)}.sock"
        service = Service(self._program, path, runtime=self._runtime)
        undo.callback(service.close)
        connection = Connection(service.url)
        undo.callback(connection.close)
        try:
            service.wait()
            if self._identity is None or self._identity() == _identity(connection):
                return connection, service
        except (BackendUnavailable, EngineError):
            if self._identity is None:
                raise
        self._program = None
        return self._connection, None


def _identity(connection: Connection) -> str:
    return facts_of(connection.ask("get", "/info"), local=True).identity


def _follow(
    request: Callable[[], AbstractContextManager[Reports]],
    stop: _Stop,
    sink: LineSink,
    cancel: Cancellation,
    timeout: float | None,
) -> None:
    with ExitStack() as undo:
        undo.callback(stop.done)
        undo.callback(cancel.on_cancel(stop))
        undo.callback(stop.after(timeout))
        try:
            with request() as reports:
                stop.reach(reports)
                for line in lines(report.get("stream", "") for report in reports):
                    sink(line)
        except EngineError:
            stop.check(cancel)
            raise
        stop.check(cancel)


class _Stop:
    """Ends a request from other threads: when it is cancelled, when its time is over."""

    def __init__(self, service: Service | None) -> None:
        self._service = service
        self._reports: Reports | None = None
        self._late = False
        self._stopped = False
        self._done = threading.Event()

    def __call__(self) -> None:
        self._stopped = True
        if self._service is not None:
            threading.Thread(target=self._press, args=(self._service,), daemon=True).start()
        elif self._reports is not None:
            self._reports.hang_up()

    def _press(self, service: Service) -> None:
        """End what a build runs, until it is over: between two steps there is nothing to end.

        The service itself would not clean up then, so that it goes last.
        """
        deadline = time.monotonic() + _PATIENCE
        while not self._done.wait(_PAUSE):
            if time.monotonic() > deadline:
                service.end()
                return
            service.interrupt()

    def reach(self, reports: Reports) -> None:
        self._reports = reports
        if self._stopped:
            self()

    def after(self, seconds: float | None) -> Callable[[], None]:
        """Stop it then; returns what forgets that."""
        if seconds is None:
            return lambda: None
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer.cancel

    def _expire(self) -> None:
        self._late = True
        self()

    def done(self) -> None:
        self._done.set()

    def check(self, cancel: Cancellation) -> None:
        if cancel.cancelled:
            raise Cancelled from None
        if self._late:
            raise TimeoutError from None


def lines(texts: Iterable[Any]) -> Iterator[str]:
    """Whole lines from pieces of text; empty ones are left out."""
    rest = ""
    for text in texts:
        *whole, rest = f"{rest}{text}".split("\n")
        yield from filter(str.strip, whole)
    if rest.strip():
        yield rest
