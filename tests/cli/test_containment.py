"""What does not want to end ends in time, and nothing of it is left."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Program

pytestmark = pytest.mark.bubblewrap


@pytest.fixture
def mark(project: Callable[[str], Path]) -> str:
    """A number of seconds that only the processes of this test sleep."""
    mark = f"{40000 + secrets.randbelow(10000)}.{secrets.randbelow(10**9):09}"
    file = project("containment") / "isol8file.py"
    file.write_text(file.read_text().replace("MARK", mark))
    return mark


def processes(word: str) -> list[int]:
    """The pids of all living processes of this host with that word on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if word.encode() in words and state != "Z" and folder.name != str(os.getpid()):
            found.append(int(folder.name))
    return found


def wait_until(count: int, word: str, seconds: float) -> list[int]:
    """The processes with that word, as soon as there are so many or the time is over."""
    deadline = time.monotonic() + seconds
    while len(found := processes(word)) != count and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("stage", "verdict"),
    [
        ("endless-loop", "timed_out"),
        ("term-ignored", "timed_out"),
        ("double-fork", "timed_out"),
        ("setsid", "timed_out"),
        ("stopped-itself", "timed_out"),
        ("daemon-left-behind", "passed"),
        ("pipe-held-open", "passed"),
    ],
)
def test_a_stage_ends_with_all_it_started(
    isol8tasks: Program, folder: Path, mark: str, stage: str, verdict: str
) -> None:
    ran = isol8tasks("run", stage, "--report", "r.json")
    assert processes(mark) == []
    (result,) = json.loads((folder / "r.json").read_text())["stages"]
    assert result["verdict"] == verdict
    assert ran.code == (verdict == "timed_out")
    if verdict == "timed_out":
        assert 1.0 <= result["durations"]["run"] <= 1.5
        assert result["limit"] == "timeout"
    else:
        assert result["durations"]["run"] <= 0.9


def test_a_killed_run_leaves_no_process(isol8tasks: Program, mark: str) -> None:
    process = isol8tasks.start(
        *("run", "--tag", "busy", "-j", "8"),
        *("--allow-unenforced", "cpus", "--allow-unenforced", "memory"),
    )
    # each stage: bwrap and its init, the shell, and the sleeping daemon carry the mark
    started = 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and started < 8:
        sleeping = [pid for pid in processes(mark) if _program(pid) == "sleep"]
        started = len(sleeping)
        time.sleep(0.05)
    assert started == 8, process.stderr
    process.kill()
    process.communicate()
    assert wait_until(0, mark, 1.0) == []


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_what_a_killed_run_left_is_removed(
    isol8tasks: Program, folder: Path, mark: str, tmp_path: Path, command: str
) -> None:
    cache = reachable(tmp_path)
    process = isol8tasks.start(
        *("run", "busy-0", "--cache", str(cache)),
        *("--allow-unenforced", "cpus", "--allow-unenforced", "memory"),
    )
    assert wait_until(4, mark, 20)
    process.kill()
    process.communicate()
    assert leftovers(cache, folder)
    if command == "sweep":
        ran = isol8tasks("sweep", "--cache", str(cache))
        assert (ran.code, ran.stderr) == (0, "")
        assert ran.stdout.startswith("removed ")
        assert groups_of(process.pid) == []  # others on this machine may be killed meanwhile
    else:
        assert isol8tasks("run", "endless-loop", "--cache", str(cache)).code == 1
    assert leftovers(cache, folder) == []


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def leftovers(cache: Path, folder: Path) -> list[Path]:
    return [*(cache / "runs").iterdir(), *(folder / ".isol8tasks/.staging").iterdir()]


def groups_of(pid: int) -> list[Path]:
    """The control groups that this process made: boot, pid namespace, pid and start time."""
    return list(Path("/sys/fs/cgroup").rglob(f"isol8tasks-*-*-{pid}-*"))


def reachable(tmp_path: Path) -> Path:
    """A cache below pytest's folder, opened for the uid of a sandbox."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)
    for parent in cache.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return cache
