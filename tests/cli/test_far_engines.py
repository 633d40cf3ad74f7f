"""Docker where nothing is shared with it: over TLS, and over ssh.

The daemon is this machine's, behind servers of ours. The one with TLS wants a certificate of the
client, and ends both directions when one of them ends, as proxies do.
"""

from __future__ import annotations

import getpass
import io
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_docker.answers import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from isol8tasks_docker.answers import Kept

    from tests.cli.conftest import Program

pytestmark = pytest.mark.docker

DAEMON = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")

PROJECT = """
from isol8tasks import Image, stage

bash = Image.bash()
makes = stage("makes", image=bash, inputs=["in/**"], outputs=["out/**"], timeout="1m",
              stdin=bytes(range(256)) * 10_000,
              run="mkdir -p out/deep && cat >out/stdin && cp in/big out/deep/ && cp in/run out/")
stage("reads", image=bash, inputs=[makes], timeout="1m", workdir="w",
      run="cmp ../out/stdin ../out/deep/big && ../out/run && readlink /proc/self/fd/0")
stage("fails", image=bash, inputs=[], timeout="1m", stdin="in", run="cat; echo err >&2; exit 3")
stage("floods", image=bash, inputs=[], timeout="1m",
      run="yes | head -c 3000000; yes no | head -c 3000000 >&2")
stage("hangs", image=bash, inputs=[], timeout="2s", run="sleep 60")
stage("full", image=bash, inputs=["in/**"], timeout="1m", disk="1m", run="true")
stage("stuffed", image=bash, inputs=[], timeout="1m", disk="1m", stdin=bytes(3 << 20), run="true")
"""

SUMMARY = """\
✓ makes    passed  TIME
✓ reads    passed  TIME
✗ fails    failed  TIME  exit code 3
✓ floods   passed  TIME
✗ hangs    timed out  TIME  still running after TIME
✗ full     error  TIME  cannot place the inputs: No space left on device
✗ stuffed  disk full  TIME  wrote more than 1m
1 failed, 1 timed out, 1 error, 1 disk full, 3 passed in TIME (docker)
"""

SLEEPER = """
from isol8tasks import Image, stage
for number in range(12):
    stage(f"sleeper-{{number}}", image=Image.bash(), inputs=[], timeout="5m", memory="64m",
          cpus=0.1, disk="1m", stdin="x", run="sleep {mark}")
"""


def program(name: str) -> str:
    """Where it is; a skip where it is not."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def quietly(*argv: str, cwd: Path) -> None:
    subprocess.run(argv, cwd=cwd, check=True, capture_output=True)


# Over TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as DOCKER_CERT_PATH wants it, with the server's certificate beside."""
    folder = tmp_path_factory.mktemp("certificates")

    signing = ("-addext", "keyUsage=critical,keyCertSign")
    certify(folder, "ca", "ca-key.pem", "-subj", "/CN=ca", *signing)
    signed = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", "basicConstraints=CA:FALSE")
    here = ("-addext", "subjectAltName=IP:127.0.0.1")
    certify(folder, "server", "server-key.pem", "-subj", "/CN=server", *signed, *here)
    certify(folder, "cert", "key.pem", "-subj", "/CN=client", *signed)
    return folder


def certify(folder: Path, name: str, key: str, *words: str) -> None:
    """Make a certificate and its key; one that nobody signed vouches for itself."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)
    quietly(program("openssl"), "req", "-x509", *new, "-out", f"{name}.pem", *words, cwd=folder)


class TlsServer:
    """Passes on what clients with a certificate send."""

    def __init__(self, certificates: Path) -> None:
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
        self._tls.load_verify_locations(certificates / "ca.pem")
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as plain:
            client = kept(self._tls.wrap_socket(connection, server_side=True), io.BytesIO())
            daemon = kept(plain, io.BytesIO())
            with closing(client), closing(daemon):
                plain.connect(DAEMON)
                back = threading.Thread(target=_copy, args=(daemon, client), daemon=True)
                back.start()
                _copy(client, daemon)
                back.join()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _copy(source: Kept, target: Kept) -> None:
    """Until one of them ends; then both do."""
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def tls(certificates: Path) -> Iterator[Mapping[str, str]]:
    with closing(TlsServer(certificates)) as server:
        yield {
            "DOCKER_HOST": f"tcp://127.0.0.1:{server.port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(certificates),
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(certificates / "cert.pem"),  # what the SDK would heed instead
        }


# Over ssh.


@attrs.frozen
class Sshd:
    """A server that lets this user in, and a client on PATH that has the key for it."""

    folder: Path
    port: int

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "DOCKER_HOST": f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}",
            "PATH": f"{self.folder}:{os.environ['PATH']}",
        }

    def know(self, key: str) -> None:
        """Have the client know this as the server's key, or none."""
        public = (self.folder / f"{key}.pub").read_text() if key else ""
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {public}" if key else "")


@pytest.fixture(scope="module")
def running_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o755)
    for key in ("host", "mine", "other"):
        words = ("-q", "-t", "ed25519", "-N", "", "-f", key)
        quietly(program("ssh-keygen"), *words, cwd=folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/mine.pub\nPasswordAuthentication no\nStrictModes no\n"
    )
    (folder / "config").write_text(
        f"IdentityFile {folder}/mine\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        "GlobalKnownHostsFile none\n"
    )
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {program("ssh")} -F {folder}/config "$@"\n')
    (folder / "ssh").chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, systemd would make it
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(
            [program("sshd"), "-D", "-e", "-f", folder / "sshd_config"], stderr=log
        ) as process,
    ):
        try:
            _wait_for(port, folder / "log")
            yield Sshd(folder, port)
        finally:
            process.terminate()


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.fixture
def sshd(running_sshd: Sshd) -> Sshd:
    running_sshd.know("host")
    return running_sshd


# Both.


@pytest.fixture(params=["tls", "ssh"])
def far(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The variables that lead to Docker."""
    if request.param == "tls":
        return dict(request.getfixturevalue("tls"))
    return dict(request.getfixturevalue("sshd").env)


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-far-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def words(cache: Path) -> tuple[str, ...]:
    return ("run", "--backend", "docker", "--cache", str(cache), "--color", "never")


@pytest.mark.timeout(300)
def test_stages_with_all_that_they_can_have(
    isol8tasks: Program, folder: Path, cache: Path, far: Mapping[str, str]
) -> None:
    (folder / "in").mkdir()
    big = bytes(range(256)) * 10_000
    (folder / "in/big").write_bytes(big)
    (folder / "in/run").write_text("#!/bin/sh\necho it runs\n")
    (folder / "in/run").chmod(0o755)
    (folder / "isol8file.py").write_text(PROJECT)
    ran = isol8tasks(*words(cache), env=far)
    assert (ran.code, ran.stderr) == (3, ""), ran.stderr
    assert ran.out.endswith(f"\n\n{SUMMARY}"), ran.out[-1000:]
    assert "✓ reads  passed  TIME\n  │ it runs\n  │ /dev/null\n" in ran.out
    assert "  stdout:\n  │ in\n  stderr:\n  │ err\n" in ran.out
    results = folder / ".isol8tasks"
    outputs = results / "makes/outputs/out"
    assert (outputs / "stdin").read_bytes() == (outputs / "deep/big").read_bytes() == big
    assert os.access(outputs / "run", os.X_OK)
    assert (results / "floods/stdout.log").read_bytes() == b"y\n" * 1_500_000
    assert (results / "floods/stderr.log").read_bytes() == b"no\n" * 1_000_000


def with_word(word: str) -> int:
    """How many processes have it in their command line."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            count += word.encode() in (folder / "cmdline").read_bytes().split(b"\0")
    return count


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_many_stages_end_with_the_run(
    isol8tasks: Program, folder: Path, cache: Path, far: Mapping[str, str], number: signal.Signals
) -> None:
    """More of them than sshd allows sessions in one connection."""
    mark = f"{70000 + secrets.randbelow(9999)}.{secrets.randbelow(10**6):06}"
    (folder / "isol8file.py").write_text(SLEEPER.format(mark=mark))
    process = isol8tasks.start(*words(cache), "-j12", env={**far, "TMPDIR": str(cache)})
    assert until(lambda: with_word(mark) == 12), process.communicate(timeout=10)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert until(lambda: with_word(mark) == 0), "programs outlived the run"
    assert until(lambda: with_word(far["DOCKER_HOST"]) == 0), "ssh outlived the run"
    assert until(lambda: list(cache.glob("isol8tasks-ssh-*")) == [])
    swept = isol8tasks("sweep", "--cache", str(cache), env=far)
    assert (swept.code, swept.stderr) == (0, "")


# What goes wrong on the way.


def refusal(isol8tasks: Program, folder: Path, cache: Path, env: Mapping[str, str]) -> str:
    (folder / "isol8file.py").write_text(SLEEPER.format(mark=1))
    ran = isol8tasks(*words(cache), env=env)
    assert ran.code == 3, ran
    assert "Traceback" not in ran.stderr
    return ran.stderr


@pytest.mark.parametrize("wrong", ["cert", "ca"])
def test_a_certificate_of_a_stranger(
    isol8tasks: Program,
    folder: Path,
    cache: Path,
    tls: Mapping[str, str],
    certificates: Path,
    wrong: str,
) -> None:
    own = folder / "certificates"
    shutil.copytree(certificates, own)
    key = "key.pem" if wrong == "cert" else "ca-key.pem"
    certify(own, wrong, key, "-subj", "/CN=stranger")
    said = refusal(isol8tasks, folder, cache, {**tls, "DOCKER_CERT_PATH": str(own)})
    assert f"docker does not answer at {tls['DOCKER_HOST']} (DOCKER_HOST): " in said
    assert "DOCKER_CERT_PATH" in said


def test_a_host_that_ssh_does_not_know(
    isol8tasks: Program, folder: Path, cache: Path, sshd: Sshd
) -> None:
    where = sshd.env["DOCKER_HOST"]
    for key in ("", "other"):
        sshd.know(key)
        said = refusal(isol8tasks, folder, cache, sshd.env)
        assert f"ssh does not get to {where}: Host key verification failed." in said
        assert f"log in once with 'ssh {where}'" in said


def test_a_key_that_the_host_does_not_take(
    isol8tasks: Program, folder: Path, cache: Path, sshd: Sshd
) -> None:
    config = (sshd.folder / "config").read_text()
    (sshd.folder / "config").write_text(config.replace("/mine\n", "/other\n"))
    try:
        said = refusal(isol8tasks, folder, cache, sshd.env)
    finally:
        (sshd.folder / "config").write_text(config)
    assert "Permission denied (publickey" in said
    assert "without a question" in said


def test_a_socket_that_is_not_there_on_the_other_host(
    isol8tasks: Program, folder: Path, cache: Path, sshd: Sshd
) -> None:
    url = f"{sshd.env['DOCKER_HOST']}/no/such/docker.sock"
    said = refusal(isol8tasks, folder, cache, {**sshd.env, "DOCKER_HOST": url})
    assert f"docker does not answer at {url} (DOCKER_HOST): " in said
    assert "ssh://HOST/PATH" in said
