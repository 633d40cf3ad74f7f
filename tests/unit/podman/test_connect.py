"""Where a service is looked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_podman import connect

from isol8tasks.errors import BackendUnavailable

if TYPE_CHECKING:
    from tests.unit.podman.conftest import FakeService

SHORT = Path("/var/cache/isol8tasks")
INFO: dict[str, Any] = {
    "host": {
        "cgroupManager": "cgroupfs",
        "cgroupVersion": "v1",
        "ociRuntime": {"name": "runc"},
        "security": {"rootless": False},
    },
    "store": {"graphRoot": "/store"},
    "version": {"Version": "4.3.1"},
}


@pytest.mark.parametrize(
    ("environ", "root", "expected"),
    [
        ({}, True, "/run/podman/podman.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, True, "/run/podman/podman.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, False, "/run/user/7/podman/podman.sock"),
        ({}, False, None),
    ],
)
def test_the_usual_socket(environ: dict[str, str], root: bool, expected: str | None) -> None:
    assert connect.usual_socket(environ, root=root) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/cache/isol8tasks/podman", True),
        ("/" + "x" * 79, True),
        ("/" + "x" * 80, False),
        ("/home/me and you/.cache", False),
        ("/home/100%", False),
        ("/home/jörg", False),
    ],
)
def test_folders_that_sockets_fit_into(path: str, expected: bool) -> None:
    assert connect.fits(Path(path)) is expected


def test_where_private_folders_may_be() -> None:
    found = tuple(connect.parents(SHORT, {"XDG_RUNTIME_DIR": "/run/user/7"}))
    assert found == (
        SHORT / "podman",
        Path("/run/user/7/isol8tasks"),
        Path(f"/tmp/isol8tasks-{os.geteuid()}"),
    )
    assert tuple(connect.parents(SHORT, {}))[1:] == found[2:]


def test_a_long_cache_gets_a_private_folder_elsewhere_and_leftovers_go(tmp_path: Path) -> None:
    runtime = Path("/tmp") / f"isol8tasks-test-{os.getpid()}"
    runtime.mkdir()
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    parent = runtime / "isol8tasks"
    parent.mkdir(mode=0o700)
    (parent / "dead.lock").touch()
    (parent / "dead").mkdir()
    folder = connect.private_folder(tmp_path / ("x" * 80), environ)
    assert folder.path.parent == parent
    assert not (parent / "dead").exists()
    folder.close()
    parent.chmod(0o777)
    with pytest.raises(BackendUnavailable, match="somebody else's"):
        connect.private_folder(tmp_path / ("x" * 80), environ)
    parent.rmdir()
    runtime.rmdir()


def test_a_named_service_has_to_answer(fake: FakeService) -> None:
    fake.answer = (200, "OK")
    assert connect.named({"CONTAINER_HOST": fake.url}) == fake.url
    assert connect.named({}) is None
    with pytest.raises(BackendUnavailable, match="No such file or directory"):
        connect.named({"CONTAINER_HOST": f"{fake.url}-not"})
    with pytest.raises(BackendUnavailable, match="only unix:// and tcp://"):
        connect.named({"CONTAINER_HOST": "ssh://me@host/run/podman/podman.sock"})


def test_nothing_to_talk_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CONTAINER_HOST", "")
    monkeypatch.setattr(connect, "usual_socket", lambda *_, **__: str(tmp_path / "none"))
    with pytest.raises(BackendUnavailable, match="no podman program here, and no socket"):
        connect.connect(tmp_path)


def test_a_named_service_is_used(
    fake: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answer = (200, INFO)
    monkeypatch.setenv("CONTAINER_HOST", fake.url)
    engine = connect.connect(tmp_path)
    assert engine.facts().identity == "podman 4.3.1 /store runc cgroupfs v1"
    engine.close()
    engine.close()
    with pytest.raises(BackendUnavailable, match="uses the runtime runc"):
        connect.connect(tmp_path, "crun")


@pytest.mark.parametrize(("size", "enough"), [(0, False), (64000, False), (64999, True)])
def test_stages_need_uids_that_high(
    fake: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, enough: bool
) -> None:
    parts = [{"container_id": 0, "size": 1}, {"container_id": 1, "size": size}]
    mapped = {"security": {"rootless": True}, "idMappings": {"uidmap": parts[: 1 + bool(size)]}}
    fake.answer = (200, {**INFO, "host": {**INFO["host"], **mapped}})
    monkeypatch.setenv("CONTAINER_HOST", fake.url)
    if enough:
        connect.connect(tmp_path).close()
        return
    with pytest.raises(BackendUnavailable, match="fewer than 65536, subordinate uids") as caught:
        connect.connect(tmp_path)
    assert "--add-subuids" in caught.value.hint
