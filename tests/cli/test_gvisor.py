"""The command line on Docker with gVisor, by a dockerd of our own in its own namespaces."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Program

pytestmark = [pytest.mark.docker, pytest.mark.gvisor, pytest.mark.root]

STAGES = """
from isol8tasks import Image, stage, task
python = Image.python()
def python_stage(name, program, **words):
    return stage(name, image=python, inputs=["given"], run=("python", "-c", program), **words)
task("all",
    python_stage("passes", "open('made', 'w').write(open('given').read())", outputs=["made"]),
    python_stage("fails", "raise SystemExit(5)"),
    python_stage("sleeps", "import time; time.sleep({mark})", timeout="3s"),
    python_stage("hogs", "x = bytearray(1 << 30)", memory="128m"),
    python_stage("asks", "print(open('/proc/version').read())"),
    default=True)
"""
VERDICTS = {
    "passes": "passed",
    "fails": "failed",
    "sleeps": "timed_out",
    "hogs": "out_of_memory",
    "asks": "passed",
}
ARGUMENTS = ["--platform=ptrace", "--network=none", "--oci-seccomp"]
"""Where there is no KVM, and no network either; the last filters system calls in gVisor too."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """The address of a dockerd that knows runsc, with the image of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-gvisor-", dir="/var/tmp"))
    groups = f"isol8tasks-gvisor-{secrets.token_hex(6)}"
    config = folder / "daemon.json"
    runtime = {"path": shutil.which("runsc"), "runtimeArgs": ARGUMENTS}
    config.write_text(json.dumps({"runtimes": {"runsc": runtime}}))
    address = f"unix://{folder}/docker.sock"
    words = ["unshare", "--mount", "--net", "dockerd", "--host", address]
    words += ["--config-file", str(config), "--data-root", f"{folder}/data"]
    words += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    # Never without a network namespace of its own: it would take the bridge of the other Docker.
    words += ["--bridge", "none", "--iptables=false", "--cgroup-parent", f"/{groups}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        _wait_for(address, process, folder / "log")
        _give_image(address)
        yield address
    finally:
        _end(process, folder)
        for group in sorted(Path("/sys/fs/cgroup").glob(f"**/{groups}/**"), reverse=True):
            with suppress(OSError):  # its files, which go with it
                group.rmdir()
        shutil.rmtree(folder)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    asking = ["docker", "--host", address, "version"]
    while subprocess.run(asking, capture_output=True, check=False).returncode != 0:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _give_image(address: str) -> None:
    image = os.environ["ISOL8TASKS_IMAGES"].split(",")[0].partition("=")[2]
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
        loading = ["docker", "--host", address, "load"]
        subprocess.run(loading, stdin=saving.stdout, capture_output=True, check=True)


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """dockerd ends its containerd, unless it has to be killed itself."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        with suppress(OSError, ValueError):
            os.kill(int((folder / "exec/containerd/containerd.pid").read_text()), 9)


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache that knows no trial yet."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-gvisor-cache-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _groups() -> set[Path]:
    return set(Path("/sys/fs/cgroup").glob("**/isol8tasks-gvisor-*/*/"))


@pytest.mark.timeout(400)
def test_a_submission(isol8tasks: Program, folder: Path, cache: Path, host: str) -> None:
    """Every way to end is told apart, on a kernel that is not the host's."""
    mark = f"{80000 + secrets.randbelow(9999)}.{secrets.randbelow(10**6):06}"
    (folder / "isol8file.py").write_text(STAGES.format(mark=mark))
    (folder / "given").write_text("given")
    words = ("--backend", "docker", "--runtime", "runsc", "--cache", str(cache))
    ran = isol8tasks("run", *words, "--report", "r.json", env={"DOCKER_HOST": host})
    assert ran.code == 1, ran
    stages = {each["name"]: each for each in json.loads((folder / "r.json").read_text())["stages"]}
    assert {name: stage["verdict"] for name, stage in stages.items()} == VERDICTS
    assert stages["fails"]["exit_code"] == 5
    assert os.uname().release not in stages["asks"]["stdout"]
    assert (folder / ".isol8tasks/passes/outputs/made").read_text() == "given"
    listing = ["docker", "--host", host, "ps", "--all", "--quiet"]
    assert subprocess.run(listing, capture_output=True, check=True).stdout == b""
    assert _groups() == set()


def test_doctor_says_what_is_not_held(isol8tasks: Program, cache: Path, host: str) -> None:
    words = ("--json", "--backend", "docker", "--runtime", "runsc", "--cache", str(cache))
    ran = isol8tasks("doctor", *words, env={"DOCKER_HOST": host})
    assert ran.code == 0, ran
    docker = {each["name"]: each for each in json.loads(ran.stdout)["backends"]}["docker"]
    limits = {name: how["held"] for name, how in docker["capabilities"]["limits"].items()}
    assert (limits["memory"], limits["pids"]) == ("enforced", "unverified")
    assert "kernel of its own" in " ".join(docker["remarks"])
