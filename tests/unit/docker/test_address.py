"""Where Docker is: by variables, by contexts on disk, and by sockets that answer badly."""

from __future__ import annotations

import gc
import hashlib
import json
import socket
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.tls import TLSConfig
from isol8tasks_docker.address import DEFAULT, Address, connect, find, unreachable

from isol8tasks.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anything of Docker's, with a configuration folder beside."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    (tmp_path / ".docker").mkdir()
    return tmp_path


def configure(home: Path, **config: Any) -> None:
    (home / ".docker/config.json").write_text(json.dumps(config))


def add_context(folder: Path, name: str, host: str) -> None:
    number = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "contexts/meta" / number / "meta.json"
    file.parent.mkdir(parents=True)
    docker = {"Host": host, "SkipTLSVerify": False}
    file.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": docker}}))


def test_without_a_word_it_is_the_socket_of_this_host() -> None:
    assert find({}) == Address(url="unix:///var/run/docker.sock", source="the default")
    assert find({"DOCKER_HOST": "", "DOCKER_CONTEXT": ""}).url == DEFAULT


@pytest.mark.parametrize(
    ("host", "url", "local"),
    [
        ("unix:///run/user/1000/docker.sock", "http+unix:///run/user/1000/docker.sock", True),
        ("unix:///run/a b/docker.sock", "http+unix:///run/a b/docker.sock", True),
        ("tcp://10.0.0.1:2375", "http://10.0.0.1:2375", False),
        ("tcp://127.0.0.1:2375", "http://127.0.0.1:2375", False),
        ("ssh://me@far.example", "ssh://me@far.example", False),
    ],
)
def test_the_variable_comes_first(home: Path, host: str, url: str, local: bool) -> None:
    configure(home, currentContext="far")
    found = find({"DOCKER_HOST": host, "DOCKER_CONTEXT": "far"})
    assert found.url in {host, url}
    assert found.local is local
    assert found.source == "DOCKER_HOST"


@pytest.mark.parametrize(
    "environ",
    [
        {"DOCKER_HOST": "tcp://a:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/no/such"},
    ],
)
def test_bad_variables_are_an_error_with_a_remedy(environ: dict[str, str]) -> None:
    with pytest.raises(BackendUnavailable, match="DOCKER_HOST and its TLS settings") as error:
        find(environ)
    assert "DOCKER_CERT_PATH" in error.value.hint


def test_the_context_in_use(home: Path) -> None:
    configure(home, currentContext="far")
    add_context(home / ".docker", "far", "ssh://me@far.example")
    found = find({})
    assert (found.url, found.local) == ("ssh://me@far.example", False)
    assert found.source == "the context 'far'"


def test_the_context_of_a_variable_comes_before_it(home: Path) -> None:
    configure(home, currentContext="far")
    add_context(home / ".docker", "near", "unix:///run/near.sock")
    found = find({"DOCKER_CONTEXT": "near"})
    assert (found.url, found.local) == ("unix:///run/near.sock", True)


@pytest.mark.parametrize("environ", [{}, {"DOCKER_CONTEXT": "default"}])
def test_the_default_context_is_the_default(home: Path, environ: dict[str, str]) -> None:
    configure(home, currentContext="default" if not environ else "far")
    assert find(environ) == Address()


@pytest.mark.parametrize("config", ["{", "[]", '{"currentContext": 3}', '{"currentContext": null}'])
def test_a_damaged_configuration_is_for_docker_to_report(home: Path, config: str) -> None:
    (home / ".docker/config.json").write_text(config)
    with suppress(AttributeError):  # the SDK's own, for a list
        assert find({}) == Address()


def test_a_context_that_is_not_there(home: Path) -> None:
    configure(home, currentContext="gone")
    with pytest.raises(BackendUnavailable, match="no docker context 'gone'") as error:
        find({})
    assert "docker context ls" in error.value.hint


def test_a_damaged_context(home: Path) -> None:
    configure(home, currentContext="far")
    add_context(home / ".docker", "far", "tcp://a:1")
    for file in (home / ".docker").rglob("meta.json"):
        file.write_text("{")
    with pytest.raises(BackendUnavailable, match="the docker context 'far' cannot be used: "):
        find({})


def test_no_context_comes_from_the_working_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is a stranger's checkout."""
    checkout = home / "checkout"
    checkout.mkdir()
    add_context(checkout, "ci", "tcp://evil.example:2375")
    monkeypatch.chdir(checkout)
    with pytest.raises(BackendUnavailable, match="no docker context 'ci'"):
        find({"DOCKER_CONTEXT": "ci"})


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("PermissionError(13, 'Permission denied')", "group docker"),
        ("FileNotFoundError(2, 'No such file or directory')", "apt-get install docker.io"),
        ("[Errno 111] Connection refused", "systemctl start docker"),
        ("what is this?", "see 'docker info'"),
        ("", "see 'docker info'"),
    ],
)
def test_each_trouble_has_a_remedy(words: str, hint: str) -> None:
    error = unreachable(Address(url="unix:///x", source="DOCKER_HOST"), words)
    assert hint in error.hint
    assert error.message.startswith("docker does not answer at unix:///x (DOCKER_HOST): ")
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("DOCKER_HOST", "correct DOCKER_CERT_PATH"),
        ("the context 'far'", "correct the certificates of the context 'far'"),
    ],
)
def test_what_tls_says_is_kept(source: str, hint: str) -> None:
    address = Address(url="tcp://a:1", tls=TLSConfig(verify=True), source=source)
    error = unreachable(address, "certificate verify failed:\nHostname mismatch")
    assert error.message.endswith(f"({source}): certificate verify failed: Hostname mismatch")
    assert error.hint == hint


@pytest.mark.parametrize("verify", [{}, {"DOCKER_TLS_VERIFY": ""}, {"DOCKER_TLS": "1"}])
def test_certificates_alone_do_not_verify_the_daemon(home: Path, verify: dict[str, str]) -> None:
    for name in ("cert.pem", "key.pem"):
        (home / name).touch()
    environ = {"DOCKER_CERT_PATH": str(home), **verify}
    with pytest.raises(BackendUnavailable, match="nothing verifies the daemon") as caught:
        find({"DOCKER_HOST": "tcp://a:1", **environ})
    assert "DOCKER_TLS_VERIFY=1" in caught.value.hint
    assert find({"DOCKER_HOST": "unix:///x", **environ}).local


def refusal() -> tuple[str, str]:
    """What `connect` says, and the remedy; the SDK leaves its sockets to be collected."""
    said = ("", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            connect()
        except BackendUnavailable as error:
            said = error.message, error.hint
        gc.collect()
    return said


class Server:
    """A socket that says the same to everybody."""

    def __init__(self, path: Path, said: bytes) -> None:
        self._said = said
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(self._said)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


BAD = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no json": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "an error": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "another json": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
}


PODMAN = b'{"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]}'


def test_podman_is_not_docker(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/s")
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(PODMAN)}\r\n\r\n"
    server = Server(home / "s", head.encode() + PODMAN)
    try:
        message, hint = refusal()
    finally:
        server.close()
    assert message.endswith("(DOCKER_HOST) is Podman")
    assert "--backend podman" in hint


@pytest.fixture
def server(request: pytest.FixtureRequest, home: Path) -> Iterator[Path]:
    path = home / "s"
    server = Server(path, BAD[request.param])
    yield path
    server.close()


@pytest.mark.parametrize("server", sorted(BAD), indirect=True)
def test_what_is_no_docker_is_unavailable(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{server}")
    assert refusal()[0].startswith(f"docker does not answer at unix://{server} (DOCKER_HOST): ")


def test_no_socket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/nothing")
    message, hint = refusal()
    assert message.endswith("(DOCKER_HOST): no such file")
    assert "apt-get install docker.io" in hint


def test_a_socket_that_nobody_serves(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(home / "s"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/s")
    message, hint = refusal()
    assert message.endswith("(DOCKER_HOST): connection refused")
    assert "systemctl start docker" in hint


@pytest.mark.parametrize("url", ["what://is/this", "://"])
def test_a_url_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", url)
    assert "DOCKER_HOST" in refusal()[0]
