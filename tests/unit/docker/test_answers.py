"""Streams over TLS, which two threads use at once, and the command that forwards a socket."""

from __future__ import annotations

import io
import os
import resource
import socket
import ssl
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import pytest
from isol8tasks_docker.answers import Encrypted, kept
from isol8tasks_docker.ssh import Tunnel, command
from isol8tasks_oci.channel import Hijacked

from isol8tasks.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for 127.0.0.1 that vouches for itself, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=a"
    words += f" -addext subjectAltName=IP:127.0.0.1 -keyout {folder}/key -out {folder}/cert"
    subprocess.run(words.split(), check=True, capture_output=True)
    (folder / "both").write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return folder / "both"


@attrs.frozen
class Pair:
    """Our end, and theirs, which one thread at a time may use."""

    ours: Encrypted
    theirs: ssl.SSLSocket


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def pair(request: pytest.FixtureRequest, certificate: Path) -> Iterator[Pair]:
    version = ssl.TLSVersion[request.param]
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.load_cert_chain(certificate)
    client.load_verify_locations(certificate)
    client.minimum_version = client.maximum_version = version
    one, other = socket.socketpair()
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(server.wrap_socket, other, server_side=True)
        connected = client.wrap_socket(one, server_hostname="127.0.0.1")
        theirs = accepting.result(10)
    ours = kept(connected, io.BytesIO())
    assert isinstance(ours, Encrypted)
    yield Pair(ours, theirs)
    ours.close()
    theirs.close()


def received(connection: Encrypted | ssl.SSLSocket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size and (piece := connection.recv(1 << 16)):
        found += piece
    return bytes(found)


def test_one_thread_reads_while_another_sends(pair: Pair) -> None:
    """Both directions are full most of the time: who held the lock while waiting would hang."""
    size = 8 * MIB
    question, answer = b"question" * (size // 8), b"answer.." * (size // 8)

    def theirs() -> bytes:
        found = b""
        for at in range(0, size, MIB):
            pair.theirs.sendall(answer[at : at + MIB])
            found += received(pair.theirs, MIB)[:MIB]
        return found + received(pair.theirs, size - len(found))

    with ThreadPoolExecutor(3) as pool:
        read = pool.submit(received, pair.ours, size)
        sent = pool.submit(pair.ours.sendall, question)
        heard = pool.submit(theirs)
        assert read.result(60) == answer
        assert sent.result(60) is None
        assert heard.result(60) == question


def test_sending_does_not_wait_for_who_reads(pair: Pair) -> None:
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pair.ours.recv, 9)
        pair.ours.sendall(b"hello")
        assert pair.theirs.recv(9) == b"hello"
        pair.theirs.sendall(b"and you")
        assert reading.result(10) == b"and you"


def test_the_end_of_the_other_side_is_an_end(pair: Pair) -> None:
    pair.theirs.sendall(b"last")
    pair.theirs.close()
    assert received(pair.ours, 9) == b"last"
    assert pair.ours.recv(9) == b""


def test_closing_wakes_who_reads(pair: Pair) -> None:
    channel = Hijacked(pair.ours)
    threading.Timer(0.1, channel.close).start()
    assert list(channel.pieces()) == []


def test_closing_wakes_who_sends(pair: Pair) -> None:
    channel = Hijacked(pair.ours)
    threading.Timer(0.1, channel.close).start()
    channel.send(bytes(64 * MIB))


def test_after_closing_nothing_is_sent_or_read(pair: Pair) -> None:
    pair.ours.close()
    with pytest.raises(ConnectionError):
        pair.ours.sendall(b"x")
    with pytest.raises(ConnectionError):
        pair.ours.recv(1)


@pytest.mark.parametrize(
    ("url", "destination", "socket_there"),
    [
        ("ssh://far.example", "ssh://far.example", "/var/run/docker.sock"),
        ("ssh://far.example/", "ssh://far.example", "/var/run/docker.sock"),
        ("ssh://me@far.example:2222", "ssh://me@far.example:2222", "/var/run/docker.sock"),
        ("ssh://me@[::1]:22/run/d.sock", "ssh://me@[::1]:22", "/run/d.sock"),
        ("ssh://-oProxyCommand=x", "ssh://-oProxyCommand=x", "/var/run/docker.sock"),
    ],
)
def test_what_ssh_is_asked(url: str, destination: str, socket_there: str) -> None:
    words = command(urlsplit(url), "/ours")
    assert words[0] == "ssh"
    assert words[-5:] == ["-L", f"/ours:{socket_there}", "--", destination, "cat"]


def test_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        Tunnel("ssh://me:hunter2@127.0.0.1")
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


def test_without_ssh_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="ssh, which is not installed") as caught:
        Tunnel("ssh://127.0.0.1")
    assert "openssh-client" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that logs in nowhere; what it was asked is in this file."""
    asked, program = tmp_path / "asked", tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >{asked}; exec cat\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return asked


@pytest.mark.parametrize(
    ("name", "fits"), [("x", True), ("x" * 90, False), ("a:b", False), ("a%h", False)]
)
def test_our_end_is_where_ssh_takes_it(
    ssh: Path, monkeypatch: pytest.MonkeyPatch, name: str, fits: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        usual = f"{folder}/{name}"
        os.mkdir(usual)
        monkeypatch.setattr(tempfile, "tempdir", usual)
        tunnel = Tunnel("ssh://far.example")
        parent = usual if fits else "/tmp"
        assert tunnel.url.startswith(f"unix://{parent}/isol8tasks-ssh-")
        assert f"-L {tunnel.url.removeprefix('unix://')}:" in ssh.read_text()
        tunnel.close()


@pytest.mark.usefixtures("ssh")
def test_so_many_files_are_open_that_descriptors_are_high() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    with ExitStack() as undo:
        undo.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        for _ in range(1024):
            undo.enter_context(open(os.devnull))
        Tunnel("ssh://far.example").close()
