"""Nothing stays: no process, no mount, no control group and no folder, however a run ends."""

from __future__ import annotations

import fnmatch
import os
import secrets
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.security.conftest import Workspace

SECONDS = 5.0
RUNS = ("runs", "docker-runs", "podman-runs")
"""Where the backends keep what belongs to a run, in the cache."""

BUSY = """
MARK = "{mark}"
SLEEP = f"setsid sleep {{MARK}} & (setsid sleep {{MARK}} &); mkdir d; echo x > d/file; chmod 0 d; "

def declare(name, run, **words):
    stage(name, image=IMAGE, inputs=[], outputs=["**"], run=SLEEP + run, timeout="1m", **words)

declare("passes", "sleep 0.1")
declare("fails", "sleep 0.1; exit 1")
declare("waits", "sleep " + MARK)
stage("late", image=IMAGE, inputs=[], run=SLEEP + "sleep " + MARK, timeout="300ms")
stage("beside", image=IMAGE, inputs=[], run="true")
"""


@pytest.fixture
def mark(workspace: Workspace) -> Iterator[str]:
    """A number of seconds that only the programs of this test sleep."""
    mark = f"{40000 + secrets.randbelow(9999)}.{secrets.randbelow(10**9):09}"
    workspace.declare(BUSY.format(mark=mark))
    yield mark
    for pid in sleepers(mark):  # of a test that failed
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def sleepers(mark: str) -> list[int]:
    return [pid for pid in _processes() if _words(pid)[:2] == ["sleep", mark]]


def family(pid: int) -> dict[int, str]:
    """A process and all that descend from it, by the name of the program."""
    parents = {child: _parent(child) for child in _processes()}
    found = {pid}
    for _ in range(20):
        found |= {child for child, parent in parents.items() if parent in found}
    return {child: _name(child) for child in found}


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return [""]


def _name(pid: int) -> str:
    words = _words(pid)
    if any(word.endswith("_holder.py") for word in words):
        return "holder"
    return os.path.basename(words[0])


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ["Z", "0"]


def _parent(pid: int) -> int:
    return int(_fields(pid)[1])


def alive(pids: dict[int, str]) -> dict[int, str]:
    return {pid: name for pid, name in pids.items() if _fields(pid)[0] not in "ZX"}


def mounts(workspace: Workspace) -> list[str]:
    """What is mounted at our own places, in any mount namespace that we may look into.

    But for what covers the folder of our own backend, which lives as long as the tests last.
    """
    found = set()
    for pid in _processes():
        with suppress(OSError):
            found.update(Path(f"/proc/{pid}/mountinfo").read_text().splitlines())
    cache = workspace.environ["ISOL8TASKS_CACHE"]
    points = [Path(line.split()[4]) for line in found]
    places = [Path(cache, place) for place in RUNS]
    return sorted(
        str(point)
        for point in points
        if any(place in point.parents for place in places)
        and not (point.parent in places and point.is_dir())
    )


def groups() -> list[Path]:
    """The control groups that name a run of our pid namespace as their owner, which is dead."""
    ours = str(os.stat("/proc/self/ns/pid").st_ino)
    found = []
    for parent, names, _ in os.walk("/sys/fs/cgroup"):
        for name in fnmatch.filter(names, "isol8tasks-*-*-*-*"):
            namespace, pid = name.split("-")[2:4]
            if namespace == ours and not Path(f"/proc/{pid}").exists():
                found.append(Path(parent, name))
    return found


def folders(workspace: Workspace) -> list[Path]:
    """Of runs that are over; our own backend holds one folder for as long as the tests last."""
    cache = Path(workspace.environ["ISOL8TASKS_CACHE"])
    staging = workspace.folder / ".isol8tasks/.staging"
    kept = [path for place in RUNS for path in (cache / place).glob("*/[!h]*")]
    return sorted([*kept, *(staging.iterdir() if staging.exists() else ())])


def wait_for(found: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Whether something comes to be within some seconds."""
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def check_nothing_is_left(workspace: Workspace, mark: str) -> None:
    assert wait_for(lambda: not sleepers(mark)), sleepers(mark)
    assert wait_for(lambda: not groups()), groups()
    assert mounts(workspace) == []
    assert folders(workspace) == []


@pytest.mark.parametrize("words", [["passes"], ["fails"], ["late"], ["passes", "fails", "late"]])
def test_after_an_end_of_its_own(workspace: Workspace, mark: str, words: list[str]) -> None:
    _, stages = workspace.run(*words)
    check_nothing_is_left(workspace, mark)
    expected = {"passes": "passed", "fails": "failed", "late": "timed_out"}
    assert {name: stage["verdict"] for name, stage in stages.items()} == {
        name: expected[name] for name in words
    }


@pytest.fixture
def running(workspace: Workspace, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run whose stage sleeps, with two daemons beside it."""
    with workspace.start("run", "waits", "--report", "report.json") as process:
        try:
            assert wait_for(lambda: len(sleepers(mark)) == 3, 15), sleepers(mark)
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_after_a_signal(
    workspace: Workspace,
    mark: str,
    running: subprocess.Popen[bytes],
    number: signal.Signals,
    code: int,
) -> None:
    started = family(running.pid)
    running.send_signal(number)
    running.communicate(timeout=20)
    assert running.returncode == code
    check_nothing_is_left(workspace, mark)
    assert alive(started) == {}


def test_after_two_signals(
    workspace: Workspace, mark: str, running: subprocess.Popen[bytes]
) -> None:
    started = family(running.pid)
    for _ in range(2):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    running.communicate(timeout=20)
    assert running.returncode == 143
    assert wait_for(lambda: not alive(started)), alive(started)
    assert workspace("run", "beside").code == 0
    check_nothing_is_left(workspace, mark)


def test_after_the_runner_was_killed(
    workspace: Workspace, mark: str, running: subprocess.Popen[bytes]
) -> None:
    started = family(running.pid)
    running.kill()
    running.communicate()
    assert wait_for(lambda: not alive(started), 2), alive(started)
    assert wait_for(lambda: not sleepers(mark), 1), sleepers(mark)
    if workspace.backend == "bubblewrap":
        assert mounts(workspace) == []
    assert workspace("run", "beside").code == 0  # the next run removes folders, groups, containers
    check_nothing_is_left(workspace, mark)


def test_sweep_removes_what_a_killed_runner_left(
    workspace: Workspace, mark: str, running: subprocess.Popen[bytes]
) -> None:
    running.kill()
    running.communicate()
    assert wait_for(lambda: not sleepers(mark), 2)
    assert workspace("sweep").code == 0
    assert wait_for(lambda: not groups()), groups()
    assert folders(workspace) == []
    assert mounts(workspace) == []


@pytest.mark.parametrize(
    "backend", [pytest.param("bubblewrap", marks=pytest.mark.bubblewrap)], indirect=True
)
@pytest.mark.parametrize(
    ("victim", "which"), [("bwrap", 0), ("bwrap", 1), ("holder", 0), ("holder", 1)]
)
def test_after_a_part_of_ours_was_killed(
    workspace: Workspace, mark: str, running: subprocess.Popen[bytes], victim: str, which: int
) -> None:
    """bwrap and the holder are two processes each: one waits, the other is an init."""
    started = family(running.pid)
    pids = sorted(pid for pid, name in started.items() if name == victim)
    assert len(pids) == 2, started
    os.kill(pids[which], signal.SIGKILL)
    if (victim, which) == ("holder", 0):  # it only waits: the run goes on without it
        running.terminate()
    out, err = running.communicate(timeout=20)
    assert running.returncode != 0, (out, err)
    assert wait_for(lambda: not alive(started)), alive(started)
    check_nothing_is_left(workspace, mark)


def test_many_killed_runners(workspace: Workspace, mark: str) -> None:
    """At any moment, also while sandboxes are made."""
    for number in range(8):
        with workspace.start("run", "waits", "passes") as process:
            time.sleep(0.15 + 0.05 * number)
            started = family(process.pid)
            process.kill()
            process.communicate()
        assert wait_for(lambda started=started: not alive(started), 2), alive(started)  # type: ignore[misc]
    assert workspace("run", "beside").code == 0
    check_nothing_is_left(workspace, mark)
