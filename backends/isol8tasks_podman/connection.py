"""Requests to a podman service, from any thread."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from isol8tasks_oci.client import NoAnswer

from isol8tasks_podman.complaint import refusal

SHORT, LONG = 10.0, 60.0
"""Seconds without a word from podman: when it is asked something, when it has to do something."""


class Connection:
    """One service, at an address as the SDK takes it.

    The SDK's sessions are used for what they know of addresses, HTTP and errors. Its objects are
    not: they take neither a time limit nor half of what a container needs here.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._closed = False

    def ask(
        self,
        method: str,
        path: str,
        *,
        timeout: float = SHORT,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        ignore: tuple[int, ...] = (),
    ) -> Any:
        """The answer, from JSON; None for an empty one and for a refusal that is to be ignored.

        EngineError says what podman refuses, NoAnswer that it is not there.
        """
        more: dict[str, Any] = {}
        if body is not None:
            more = {"data": json.dumps(body), "headers": {"Content-Type": "application/json"}}
        with self._session() as session, _translated(timeout):
            verb = getattr(session, method)
            answer = verb(path, params=params, timeout=timeout, **more)
            status, text = answer.status_code, answer.text
        if status in ignore:
            return None
        if status >= 400:
            raise refusal(status, text)
        return json.loads(text) if text.lstrip()[:1] in {"{", "["} else None

    @contextmanager
    def reports(
        self,
        path: str,
        *,
        params: Mapping[str, str],
        content: IO[bytes] | None = None,
        timeout: float | None,
    ) -> Iterator[Reports]:
        """Post, perhaps a tar, for an answer that comes line by line; `timeout` is of silence."""
        more: dict[str, Any] = {}
        if content is not None:
            more = {"data": content, "headers": {"Content-Type": "application/x-tar"}}
        with self._session() as session:
            with _translated(timeout):
                answer = session.post(path, params=params, timeout=timeout, stream=True, **more)
            try:
                if answer.status_code >= 400:
                    raise refusal(answer.status_code, answer.text)
                yield Reports(answer, timeout)
            finally:
                answer.close()

    def close(self) -> None:
        """Close the sessions; those in use close when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A session of the SDK that nobody else uses meanwhile: they are not safe to share."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is None:
            session = _new_session(self.url)
        try:
            yield session
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(session)
            if not keep:
                session.close()


class Reports:
    """What a long request tells, one object after the other; EngineError when it tells of one."""

    def __init__(self, answer: Any, timeout: float | None) -> None:
        self._answer = answer
        self._timeout = timeout

    def __iter__(self) -> Iterator[dict[str, Any]]:
        lines = self._answer.iter_lines()
        while True:
            with _translated(self._timeout):
                line = next(lines, None)
            if line is None:
                return
            report = _report(line)
            if "error" in report:
                raise refusal(0, str(report["error"]))
            yield report

    def finish(self) -> None:
        """Wait for the end; EngineError when it was a bad one."""
        for _ in self:
            pass

    def hang_up(self) -> None:
        """End it, from another thread: that one finds the end of the stream, or an error."""
        with suppress(OSError, AttributeError, ValueError, RuntimeError):  # it is over already
            self._answer.raw.shutdown()  # of urllib3 2.3; `close` would not wake who reads


def _new_session(url: str) -> Any:
    from podman.api.client import APIClient  # noqa: PLC0415 -- takes 0.2 s

    if url.startswith("unix://"):
        _try(url.removeprefix("unix://"))
    session = APIClient(base_url=url)
    session.trust_env = False  # no proxy stands between us and a service
    return session


def _try(path: str) -> None:
    """See that somebody listens. The SDK (5.8) forgets to close a socket that it cannot connect."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(SHORT)
        try:
            probe.connect(path)
        except OSError as error:
            raise gone(error.strerror or error) from error


def gone(reason: object) -> NoAnswer:
    """The error for a service that does not listen, or hangs up."""
    return NoAnswer(
        f"podman's service is gone: {reason}",
        hint="see whether it was stopped, and start the run again",
    )


@contextmanager
def _translated(timeout: float | None) -> Iterator[None]:
    """What the SDK raises, as ours. Its own errors and those of requests are all OSErrors."""
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except (OSError, HTTPError, AttributeError) as error:  # the last: a stream that was hung up
        causes = tuple(_causes(error))
        if any(isinstance(each, TimeoutError) for each in causes):
            raise NoAnswer(f"podman did not answer within {timeout or 0:g} s") from error
        reason = getattr(causes[-1], "strerror", None) or causes[-1]
        raise gone(reason) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _report(line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}
