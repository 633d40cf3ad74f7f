"""Images: what is asked, what the answers become, what a bake prints."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_oci.client import EngineError, LocalImage
from isol8tasks_podman.connection import Connection
from isol8tasks_podman.errands import Errands, lines
from isol8tasks_podman.images import Images, build_params, image_of, tagged

from isol8tasks.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.podman.conftest import FakeService, Never


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], []),
        (["a\n", "b\n"], ["a", "b"]),
        (["a", "b\nc", "", "\n"], ["ab", "c"]),
        (["a\n\n \nb"], ["a", "b"]),
    ],
)
def test_lines(texts: list[str], expected: list[str]) -> None:
    assert list(lines(texts)) == expected


@pytest.mark.parametrize(
    ("network", "policy", "namespaces"),
    [
        ("default", "0", '[{"Name": "network"}]'),
        ("none", "1", '[{"Name": "network"}]'),
        ("host", "0", '[{"Name": "network", "Host": true}]'),
    ],
)
def test_how_a_build_is_asked_for(network: str, policy: str, namespaces: str) -> None:
    assert build_params("localhost/x:1", (("A", "b"),), network) == {
        "t": "localhost/x:1",
        "buildargs": '{"A": "b"}',
        "networkmode": policy,
        "nsoptions": namespaces,
        "pullpolicy": "never",
        "layers": "false",
        "rm": "true",
        "forcerm": "true",
        "httpproxy": "false",
    }


def test_an_image_in_full() -> None:
    config = {"Env": ["A=b=c", "D="], "Volumes": {"/y": {}, "/x": {}}, "User": "7"}
    assert image_of({"Id": "12", "RepoTags": ["localhost/x:1"], "Config": config}) == LocalImage(
        id="sha256:12",
        tags=("localhost/x:1",),
        env=(("A", "b=c"), ("D", "")),
        volumes=("/x", "/y"),
        user="7",
    )


def test_a_bare_image() -> None:
    assert image_of({"Id": "sha256:12", "Config": None}) == LocalImage(id="sha256:12")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (None, False),
        (["localhost/a/b:1"], True),
        (["localhost/a/bc:1"], False),
        (["localhost:5000/a/b:1", "localhost/a/b:2"], True),
    ],
)
def test_repositories(tags: list[str] | None, expected: bool) -> None:
    assert tagged({"RepoTags": tags}, "localhost/a/b") is expected


@pytest.fixture
def images(fake: FakeService) -> Iterator[Images]:
    connection = Connection(fake.url)
    yield Images(connection, Errands(connection, fake.path.parent, program=None, identity=None))
    connection.close()


def test_references_are_quoted(fake: FakeService, images: Images) -> None:
    fake.answer = (404, {"message": "no such image"})
    assert images.image("localhost:5/a/../b?c:1") is None
    images.untag("a/b:1")
    assert [asked.path.partition("/libpod")[2] for asked in fake.asked] == [
        "/images/localhost%3A5%2Fa%2F..%2Fb%3Fc%3A1/json",
        "/images/a%2Fb%3A1",
    ]


def test_a_pull_that_fails(fake: FakeService, images: Images, cancel: Never) -> None:
    fake.answer = (200, '{"stream": "Trying to pull x...\\n"}\n{"error": "no such host"}\n')
    printed: list[str] = []
    with pytest.raises(EngineError, match="no such host"):
        images.pull("x", sink=printed.append, cancel=cancel)
    assert printed == ["Trying to pull x..."]


def test_a_pull_that_brings_nothing(fake: FakeService, images: Images, cancel: Never) -> None:
    def answer(handler: Any) -> None:
        fake.answer = (404, {"message": "no such image"})
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    fake.answer = answer
    with pytest.raises(EngineError, match="without an error and without the image x"):
        images.pull("x", sink=print, cancel=cancel)


def test_what_is_cancelled_already_is_not_begun(
    fake: FakeService, images: Images, cancel: Never
) -> None:
    cancel.fire()
    with pytest.raises(Cancelled):
        images.build(
            io.BytesIO(),
            "x:1",
            arguments=(),
            network="none",
            sink=print,
            cancel=cancel,
            timeout=5,
        )
    assert fake.asked == []
