"""The command line on Docker and on Podman: what a user of a container engine meets."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Program

SUBMISSION = Path(__file__).parents[2] / "examples/submission"
AS_ROOT = os.geteuid() == 0

pytestmark = pytest.mark.parametrize(
    "engine",
    [
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("podman", marks=pytest.mark.podman),
    ],
)

FOUR = """
from isol8tasks import Image, stage
for number in range(4):
    stage(f"busy-{{number}}", image=Image.bash(), inputs=[], cpus=0.1, memory="64m", disk="1m",
          run="sleep {mark}", timeout="5m")
"""
LOOSE = ("--allow-unenforced", "cpus", "--allow-unenforced", "memory")


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-engines-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def asked(engine: str, *words: str) -> list[str]:
    ran = subprocess.run([engine, *words], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def containers_of(engine: str, pid: int) -> list[str]:
    return asked(engine, "ps", "-aq", "--filter", f"label=isol8tasks.pid={pid}")


def groups_of(pid: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/isol8tasks-*-{pid}-*"))


def sleepers(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", mark.encode()]:
            found.append(int(folder.name))
    return found


def wait_for(count: int, mark: str, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while len(sleepers(mark)) != count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def mark(folder: Path) -> str:
    """A number of seconds that only the programs of this test sleep."""
    mark = f"{70000 + secrets.randbelow(9999)}.{secrets.randbelow(10**6):06}"
    (folder / "isol8file.py").write_text(FOUR.format(mark=mark))
    return mark


@pytest.mark.network
@pytest.mark.timeout(400)
def test_the_submission_passes(isol8tasks: Program, folder: Path, cache: Path, engine: str) -> None:
    """The task file that bubblewrap runs, unchanged; images are built once."""
    shutil.copytree(SUBMISSION, folder, dirs_exist_ok=True)
    words = ("run", "--backend", engine, "--cache", str(cache), "--color", "never")
    process = isol8tasks.start(*words)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    assert out.decode().splitlines()[-1].startswith("5 passed in ")
    again = isol8tasks(*words)
    assert again.code == 0, again
    assert "baking" not in again.stdout
    assert containers_of(engine, process.pid) == []
    assert (folder / ".isol8tasks/unit/outputs/report.xml").is_file()


def test_sweep_after_kill_9_with_four_containers(
    isol8tasks: Program, folder: Path, cache: Path, engine: str, mark: str
) -> None:
    image = os.environ["ISOL8TASKS_IMAGES"].split(",")[0].partition("=")[2]
    foreign = asked(engine, "run", "-d", "--network", "none", image, "sleep", "1000")[0]
    try:
        process = isol8tasks.start("run", "-j4", "--backend", engine, "--cache", str(cache), *LOOSE)
        assert wait_for(4, mark), process.communicate(timeout=10)
        process.kill()
        process.communicate()
        assert wait_for(0, mark, 3), "programs outlived the killed run"
        assert len(containers_of(engine, process.pid)) >= 4
        ran = isol8tasks("sweep", "--cache", str(cache))
        assert (ran.code, ran.stderr) == (0, "")
        assert containers_of(engine, process.pid) == []
        assert [line for line in _mounts() if str(cache) in line] == []
        assert list((cache / f"{engine}-runs").glob("*/")) == []
        assert groups_of(process.pid) == []
        assert foreign in asked(engine, "ps", "-q", "--no-trunc")
    finally:
        asked(engine, "rm", "-f", foreign)


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_containers(
    isol8tasks: Program, cache: Path, engine: str, mark: str, number: signal.Signals, code: int
) -> None:
    process = isol8tasks.start("run", "-j4", "--backend", engine, "--cache", str(cache), *LOOSE)
    assert wait_for(4, mark), process.communicate(timeout=10)
    start = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, (out, err)
    assert time.monotonic() - start < 10
    assert sleepers(mark) == []
    assert containers_of(engine, process.pid) == []
    assert [line for line in _mounts() if str(cache) in line] == []
    assert groups_of(process.pid) == []


def test_what_an_engine_tells_of_a_container_has_no_secret_and_no_variable(
    isol8tasks: Program, folder: Path, cache: Path, engine: str, mark: str
) -> None:
    value = secrets.token_hex(12)
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, secret, stage\n"
        "stage('keeper', image=Image.bash(), inputs=[], timeout='5m', disk='1m',\n"
        f"      env={{'SHOWN': 'no-{value}'}}, secrets=[secret('HIDDEN')],\n"
        f"      run='test ${{#HIDDEN}} = 24 && test ${{#SHOWN}} = 27 && sleep {mark}')\n"
    )
    words = ("run", "--backend", engine, "--cache", str(cache))
    process = isol8tasks.start(*words, env={"HIDDEN": value})
    try:
        assert wait_for(1, mark), process.communicate(timeout=10)
        (container,) = containers_of(engine, process.pid)
        told = " ".join(asked(engine, "inspect", container))
        assert "isol8tasks.stage" in told
        assert value not in told
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_stated_limit_holds_or_is_refused(
    isol8tasks: Program, folder: Path, cache: Path, engine: str
) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('hog', image=Image.python(), inputs=[], memory='64m', disk='1m',\n"
        "      run=('python', '-c', 'x = bytearray(400 << 20)'))\n"
    )
    words = ("run", "--backend", engine, "--cache", str(cache), "--color", "never")
    ran = isol8tasks(*words)
    if engine == "podman" and not AS_ROOT:
        assert ran.code == 2
        assert "'hog' states the limit 'memory'" in ran.stderr
        assert "--allow-unenforced memory" in ran.stderr
        loose = isol8tasks(*words, "--allow-unenforced", "memory")
        assert (loose.code, "MemoryError" in loose.stdout) == (1, True), loose
    else:
        assert ran.code == 1
        assert "out of memory" in ran.stdout


def test_an_image_that_is_nowhere(
    isol8tasks: Program, folder: Path, cache: Path, engine: str
) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('a', image=Image('localhost/no-such-image:1'), inputs=[], run=('true',))\n"
    )
    ran = isol8tasks("run", "--backend", engine, "--cache", str(cache), "--color", "never")
    assert ran.code == 3
    assert "localhost/no-such-image:1" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_runtime_that_is_not_there(
    isol8tasks: Program, folder: Path, cache: Path, engine: str, mark: str
) -> None:
    words = ("run", "--backend", engine, "--runtime", "no-such", "--cache", str(cache))
    ran = isol8tasks(*words)
    assert ran.code == 3
    assert "no-such" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_engine_is_chosen_for_what_bubblewrap_lacks(
    isol8tasks: Program, folder: Path, cache: Path, engine: str
) -> None:
    """Docker comes first where both work."""
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('a', image=Image('localhost/isol8tasks-base:1'), inputs=[], run=('true',))\n"
    )
    ran = isol8tasks("run", "--cache", str(cache), "--color", "never")
    assert ran.code == 0, ran
    assert "docker (bubblewrap cannot supply images of kind reference)" in ran.stdout
