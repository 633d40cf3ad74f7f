"""Docker's contexts, as its program leaves them on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from isol8tasks_docker import contexts
from isol8tasks_docker.address import DEFAULT, find

from isol8tasks.errors import BackendUnavailable

if TYPE_CHECKING:
    from pathlib import Path

FAR = {"Host": "tcp://far.example:2376"}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder; the home has one too, with other contexts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    add(tmp_path / ".docker", "home", {"Host": "unix:///home.sock"})
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "home"}')
    return tmp_path / "config"


def add(folder: Path, name: str, endpoint: Any, *files: str) -> None:
    number = hashlib.sha256(name.encode()).hexdigest()
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (folder / "contexts/meta" / number).mkdir(parents=True)
    (folder / "contexts/meta" / number / "meta.json").write_text(json.dumps(meta))
    for file in files:
        path = folder / "contexts/tls" / number / "docker" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_contexts_need_no_config_json(config: Path) -> None:
    add(config, "far", FAR)
    found = find({"DOCKER_CONTEXT": "far"})
    assert (found.url, found.tls, found.local) == ("tcp://far.example:2376", None, False)
    assert find({}).url == DEFAULT


@pytest.mark.docker
def test_docker_needs_none_either(config: Path) -> None:
    program = shutil.which("docker")
    if program is None:
        pytest.skip("there is no docker program")
    create = [program, "context", "create", "far", "--docker", "host=tcp://far.example:2376"]
    subprocess.run(create, check=True, capture_output=True)
    (config / "config.json").unlink(missing_ok=True)
    listed = subprocess.check_output([program, "context", "ls", "--format", "{{.Name}}"], text=True)
    assert "far" in listed.split()
    assert find({"DOCKER_CONTEXT": "far"}).url == "tcp://far.example:2376"


def test_those_of_the_home_are_others(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="no docker context 'home'"):
        find({"DOCKER_CONTEXT": "home"})
    assert contexts.current() == ""
    monkeypatch.delenv("DOCKER_CONFIG")
    assert find({}).url == "unix:///home.sock"


def test_one_without_a_host_is_the_default(config: Path) -> None:
    add(config, "bare", {})
    assert find({"DOCKER_CONTEXT": "bare"}).url == DEFAULT


@pytest.mark.parametrize(
    ("skips", "files", "expected"),
    [
        ({}, ("ca.pem", "cert.pem", "key.pem"), (True, True, True)),
        ({"SkipTLSVerify": False}, ("ca.pem",), (False, True, True)),
        ({}, ("cert.pem", "key.pem"), (True, False, True)),
    ],
)
def test_tls(
    config: Path, skips: dict[str, bool], files: tuple[str, ...], expected: tuple[bool, bool, bool]
) -> None:
    add(config, "far", FAR | skips, *files)
    tls = find({"DOCKER_CONTEXT": "far"}).tls
    assert (tls.cert is not None, tls.ca_cert is not None, tls.verify) == expected


@pytest.mark.parametrize("files", [(), ("ca.pem", "cert.pem", "key.pem")])
def test_a_daemon_that_nothing_verifies(config: Path, files: tuple[str, ...]) -> None:
    add(config, "far", FAR | {"SkipTLSVerify": True}, *files)
    with pytest.raises(BackendUnavailable, match="'far' uses TLS, but nothing verifies") as caught:
        find({"DOCKER_CONTEXT": "far"})
    assert "docker context update far " in caught.value.hint


@pytest.mark.parametrize("host", ["ssh://far.example", "unix:///far.sock"])
def test_without_tls_there_is_nothing_to_verify(config: Path, host: str) -> None:
    add(config, "far", {"Host": host, "SkipTLSVerify": True})
    assert find({"DOCKER_CONTEXT": "far"}).url == host


@pytest.mark.parametrize("files", [("cert.pem",), ("key.pem",)])
def test_half_a_pair_is_unusable(config: Path, files: tuple[str, ...]) -> None:
    add(config, "far", FAR, *files)
    with pytest.raises(BackendUnavailable, match="the docker context 'far' cannot be used: "):
        find({"DOCKER_CONTEXT": "far"})


@pytest.mark.parametrize("endpoint", [None, 1, [], "tcp://far.example"])
def test_a_damaged_one_is_unusable(config: Path, endpoint: object) -> None:
    add(config, "far", endpoint)
    with pytest.raises(BackendUnavailable, match="the docker context 'far' cannot be used: "):
        find({"DOCKER_CONTEXT": "far"})
