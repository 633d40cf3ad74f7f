"""Requests by the SDK's sessions, against a service that is not podman's."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_oci.client import EngineError, NoAnswer
from isol8tasks_podman.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.podman.conftest import FakeService


@pytest.fixture
def connection(fake: FakeService) -> Iterator[Connection]:
    connection = Connection(fake.url)
    yield connection
    connection.close()


def test_an_answer_and_what_was_asked(fake: FakeService, connection: Connection) -> None:
    fake.answer = (201, {"Id": "12"})
    answer = connection.ask("post", "/containers/create", params={"a": "b c"}, body={"x": 1})
    assert answer == {"Id": "12"}
    (asked,) = fake.asked
    assert asked.method == "POST"
    assert asked.path.endswith("/libpod/containers/create?a=b+c")
    assert asked.body == b'{"x": 1}'


@pytest.mark.parametrize("text", ["", "OK", "null\n"])
def test_an_empty_answer(fake: FakeService, connection: Connection, text: str) -> None:
    fake.answer = (200, text)
    assert connection.ask("get", "/_ping") is None


def test_a_refusal(fake: FakeService, connection: Connection) -> None:
    fake.answer = (404, {"cause": "no such container", "message": "no container 12"})
    with pytest.raises(EngineError, match="no container 12") as caught:
        connection.ask("get", "/containers/12/json")
    assert caught.value.missing
    assert connection.ask("delete", "/containers/12", ignore=(404,)) is None


def test_a_service_that_is_not_there(fake: FakeService) -> None:
    connection = Connection(f"{fake.url}-not")
    with pytest.raises(NoAnswer, match="podman's service is gone: No such file or directory"):
        connection.ask("get", "/info")
    connection.close()


def test_a_service_that_does_not_answer(fake: FakeService, connection: Connection) -> None:
    fake.answer = lambda _: time.sleep(0.5)
    with pytest.raises(NoAnswer, match=r"podman did not answer within 0\.1 s"):
        connection.ask("get", "/info", timeout=0.1)


def test_from_many_threads(fake: FakeService, connection: Connection) -> None:
    fake.answer = (200, {"fine": True})
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: connection.ask("get", "/info"), range(64)))
    assert answers == [{"fine": True}] * 64


def _chunk(handler: Any, text: str) -> None:
    handler.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())


def _begin(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def test_reports_come_one_by_one(fake: FakeService, connection: Connection) -> None:
    def answer(handler: Any) -> None:
        _begin(handler)
        for text in ('{"stream": "a"}\n{"str', 'eam": "b"}\n\nnonsense\n', '{"id": "1"}\n', ""):
            _chunk(handler, text)

    fake.answer = answer
    with connection.reports("/x", params={}, content=io.BytesIO(b"tar"), timeout=5) as reports:
        assert [report for report in reports if report] == [
            {"stream": "a"},
            {"stream": "b"},
            {"id": "1"},
        ]
    assert fake.asked[0].headers["Content-Type"] == "application/x-tar"
    assert fake.asked[0].body == b"tar"


def test_an_error_among_the_reports(fake: FakeService, connection: Connection) -> None:
    fake.answer = (200, '{"stream": "a"}\n{"errorDetail": {}, "error": "it failed\\n"}\n')
    with (
        connection.reports("/x", params={}, timeout=5) as reports,
        pytest.raises(EngineError, match=r"^it failed$"),
    ):
        reports.finish()


def test_hanging_up_wakes_the_reader(fake: FakeService, connection: Connection) -> None:
    over = threading.Event()

    def answer(handler: Any) -> None:
        _begin(handler)
        _chunk(handler, '{"stream": "a"}\n')
        over.wait(20)
        handler.close_connection = True

    fake.answer = answer
    began = time.monotonic()
    with connection.reports("/x", params={}, timeout=None) as reports:
        threading.Timer(0.2, reports.hang_up).start()
        with pytest.raises(NoAnswer):
            reports.finish()
    over.set()
    assert time.monotonic() - began < 5


def test_a_service_that_dies_in_the_middle(fake: FakeService, connection: Connection) -> None:
    def answer(handler: Any) -> None:
        _begin(handler)
        _chunk(handler, '{"stream": "a"}\n')
        handler.close_connection = True

    fake.answer = answer
    with connection.reports("/x", params={}, timeout=5) as reports, pytest.raises(NoAnswer):
        reports.finish()
