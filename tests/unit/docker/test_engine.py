"""Long requests whose answers nobody waits for any more, at a daemon that answers when it likes."""

from __future__ import annotations

import gc
import json
import socketserver
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from isol8tasks_docker.address import Address
from isol8tasks_docker.engine import DockerEngine

from isol8tasks.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@attrs.define
class Cancel:
    """A cancellation with one listener."""

    cancelled: bool = False
    callback: Callable[[], None] | None = None

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.callback = callback
        return lambda: None

    def fire(self) -> None:
        self.cancelled = True
        assert self.callback is not None
        self.callback()


class Daemon(socketserver.ThreadingUnixStreamServer):
    """Answers a request to create an image when told so, and sees that the client hangs up."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.asked, self.answer, self.hung_up = (threading.Event() for _ in range(3))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Daemon

    def do_GET(self) -> None:
        content = json.dumps({"ApiVersion": "1.41"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.server.asked.set()
        self.server.answer.wait(60)
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with suppress(OSError):
            self.rfile.read()
        self.server.hung_up.set()

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return "test"


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with (
        tempfile.TemporaryDirectory(prefix="isol8tasks-test-") as folder,
        Daemon(Path(folder) / "s") as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(daemon: Daemon) -> Iterator[DockerEngine]:
    with closing(DockerEngine(Address(url=f"unix://{daemon.server_address!s}"))) as engine:
        yield engine


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is not closed stays open."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_an_answer_that_comes_after_the_cancellation_is_closed(
    daemon: Daemon, engine: DockerEngine
) -> None:
    cancel = Cancel()
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(engine.pull, "localhost/a:1", sink=print, cancel=cancel)
        assert daemon.asked.wait(10)
        cancel.fire()
        assert isinstance(pulling.exception(10), Cancelled)
    daemon.answer.set()
    assert daemon.hung_up.wait(10)


@pytest.mark.usefixtures("uncollected")
def test_an_answer_that_comes_too_late_is_closed(daemon: Daemon, engine: DockerEngine) -> None:
    with tempfile.TemporaryFile() as context, pytest.raises(TimeoutError) as _kept:
        engine.build(
            context,
            "localhost/a:1",
            arguments=(),
            network="none",
            sink=print,
            cancel=Cancel(),
            timeout=0.2,
        )
    daemon.answer.set()
    assert daemon.hung_up.wait(10)
