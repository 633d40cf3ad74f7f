"""A service that is not podman's, and real engines for the few tests with the mark."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from isol8tasks.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isol8tasks_podman.engine import PodmanEngine

IMAGE = "localhost/isol8tasks-base:1"


@attrs.define
class Never:
    """A cancellation that tests fire, if at all."""

    cancelled: bool = False
    callbacks: list[Callable[[], None]] = attrs.field(factory=list)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        if self.cancelled:
            callback()
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def fire(self) -> None:
        self.cancelled = True
        for callback in tuple(self.callbacks):
            callback()


@pytest.fixture
def cancel() -> Never:
    return Never()


@attrs.define
class Asked:
    """A request that came."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@attrs.define
class FakeService:
    """Answers on a unix socket: a status and a text, or whatever a function does."""

    path: Path
    asked: list[Asked] = attrs.field(factory=list)
    answer: Any = (200, "{}")

    @property
    def url(self) -> str:
        return f"unix://{self.path}"


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    service: FakeService


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _do(self) -> None:
        service = self.server.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        assert self.command is not None
        service.asked.append(Asked(self.command, self.path, body, dict(self.headers)))
        if callable(service.answer):
            service.answer(self)
            return
        status, text = service.answer
        content = (text if isinstance(text, str) else json.dumps(text)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _do  # noqa: N815 -- the names are the server's

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return "test"


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with tempfile.TemporaryDirectory(prefix="isol8tasks-test-") as folder:
        service = FakeService(Path(folder) / "s")
        with _Server(str(service.path), _Handler) as server:
            server.service = service
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            yield service
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanEngine]:
    """Podman as it is here; without it such tests are skipped."""
    from isol8tasks_podman.connect import connect  # noqa: PLC0415

    try:
        found = connect(tmp_path_factory.mktemp("cache"))
    except BackendUnavailable as error:
        pytest.skip(f"no podman here: {error}")
    if found.image(IMAGE) is None:
        found.close()
        pytest.skip(f"podman has no {IMAGE} here")
    yield found
    found.close()
