"""The process that owns the sandboxes: what it bounds, and that nothing outlives it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isol8tasks_bubblewrap.holder import Holder

from isol8tasks.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.bubblewrap

UID = 64900 if os.geteuid() == 0 else os.geteuid()
AS = UID if os.geteuid() == 0 else None


@pytest.fixture
def holder() -> Iterator[Holder]:
    holder = Holder()
    assert holder.sized, holder.reason
    yield holder
    holder.close()


def run(holder: Holder, script: str, *, uid: int | None = AS) -> str:
    """What a shell script prints when the holder starts it."""
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    holder.spawn(["/bin/sh", "-c", script], (null, writer, writer), uid=uid)
    os.close(writer)
    os.close(null)
    with open(reader, encoding="utf-8") as output:
        return output.read()


def test_on_a_machine_without_room_sandboxes_end_first(holder: Holder) -> None:
    assert run(holder, "cat /proc/self/oom_score_adj").strip() == "1000"


def test_folders_are_sized_in_bytes_and_inodes(holder: Holder, open_folder: Path) -> None:
    root = holder.make(open_folder / "1", uid=UID, size=1 << 20, inodes=50)
    file = os.open("big", os.O_CREAT | os.O_WRONLY, dir_fd=root)
    with pytest.raises(OSError, match="No space left"):
        _write_on(file)
    os.close(file)
    assert os.fstat(root).st_uid == UID
    os.unlink("big", dir_fd=root)
    with pytest.raises(OSError, match="No space left"):
        _make_files(root, 60)
    os.close(root)
    holder.unmake(open_folder / "1")
    assert list(open_folder.iterdir()) == []


def test_the_places_share_one_size_and_only_one_executes(holder: Holder, open_folder: Path) -> None:
    places = open_folder / "1"
    os.close(holder.make(places, uid=UID, size=1 << 20, inodes=50))
    script = (
        f"cd {places}; for place in sandbox tmp shm; do cp /bin/true $place/it; $place/it && "
        "echo $place runs; done; stat -c %a sandbox tmp shm; "
        "head -c 2000000 /dev/zero > tmp/big; echo x > sandbox/more || echo full"
    )
    lines = run(holder, script).splitlines()
    assert [line for line in lines if line.endswith("runs")] == ["sandbox runs"]
    assert [line for line in lines if line.isdigit()] == ["700", "1777", "1777"]
    assert lines[-1] == "full"


def test_nobody_else_sees_the_mounts(holder: Holder, open_folder: Path) -> None:
    os.close(holder.make(open_folder / "1", uid=UID, size=1 << 20, inodes=50))
    assert str(open_folder) not in Path("/proc/self/mountinfo").read_text()
    assert list(open_folder.iterdir()) == []


@pytest.fixture
def ignored() -> Iterator[None]:
    """As with `nohup`, and in a job in the background."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("ignored")
def test_programs_get_their_uid_their_files_and_nothing_else(holder: Holder) -> None:
    lines = run(holder, "id -u; id -G; ls /proc/self/fd; env; grep SigIgn /proc/self/status")
    uid, groups, *rest = lines.splitlines()
    assert uid == str(UID)
    own = {str(UID) if AS else str(os.getegid())}
    dropped = set() if AS else {"65534"}  # an ordinary user cannot drop groups, only lose them
    assert own <= set(groups.split()) <= own | dropped
    assert rest[:4] == ["0", "1", "2", "3"]  # the last is ls reading the folder
    (signals,) = [line for line in rest[4:] if not line.startswith(("PWD=", "_=", "SHLVL="))]
    assert signals.startswith("SigIgn:")
    # posix_spawn of glibc leaves two of its own ignored: 32 and 33, which are none to a program
    assert int(signals.split()[1], 16) & ~(0b11 << 31) == 0


def test_a_program_that_is_not_there_says_so(holder: Holder) -> None:
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    holder.spawn(["/no/such/program"], (null, writer, writer), uid=AS)
    os.close(writer)
    os.close(null)
    with open(reader, encoding="utf-8") as output:
        said = output.read()
    assert said.startswith("bwrap: ")
    assert "/no/such/program" in said


def test_after_a_start_the_holder_is_itself_again(holder: Holder) -> None:
    assert holder._process is not None
    parent = holder._process.pid
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    before = _identity(child)
    null = os.open(os.devnull, os.O_RDWR)
    cpu = min(os.sched_getaffinity(0))
    holder.spawn(["/bin/true"], (null, null, null), uid=AS, cpus=[cpu])
    assert _identity(child) == before
    os.close(null)
    assert before[0] == os.geteuid()


def _identity(pid: str) -> tuple[int, list[str], set[int], str]:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    kept = ("Uid:", "Gid:", "Groups:", "CapEff:", "CapPrm:")
    return (
        Path(f"/proc/{pid}").stat().st_uid,
        [line for line in status if line.startswith(kept)],
        os.sched_getaffinity(int(pid)),
        Path(f"/proc/{pid}/oom_score_adj").read_text(),
    )


def test_what_cannot_be_made_is_an_error_and_the_holder_goes_on(
    holder: Holder, open_folder: Path
) -> None:
    with pytest.raises(SandboxError, match=r"cannot make a sandbox: .*: No such file or directory"):
        holder.make(open_folder / "no/such", uid=UID, size=1 << 20, inodes=50)
    assert run(holder, "echo on") == "on\n"


def test_closing_ends_everything() -> None:
    holder, mark = Holder(), _mark()
    null = os.open(os.devnull, os.O_RDWR)
    holder.spawn(["/bin/sh", "-c", f"setsid sleep {mark} & wait"], (null, null, null), uid=AS)
    os.close(null)
    deadline = time.monotonic() + 10
    while not _sleepers(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _sleepers(mark) == 1
    holder.close()
    holder.close()
    assert _sleepers(mark) == 0


CRASH = """
import os, sys, signal
from pathlib import Path
from isol8tasks_bubblewrap.holder import Holder
holder = Holder()
null = os.open(os.devnull, os.O_RDWR)
uid = int(sys.argv[1]) if os.geteuid() == 0 else None
os.close(holder.make(Path(sys.argv[2]) / "1", uid=int(sys.argv[1]), size=1 << 20, inodes=50))
for number in range(int(sys.argv[3])):
    script = f"setsid sleep {sys.argv[4]} & sleep {sys.argv[4]}"
    holder.spawn(["/bin/sh", "-c", script], (null, null, null), uid=uid)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("count", [1, 5])
def test_a_caller_that_is_killed_at_once_leaves_nothing(open_folder: Path, count: int) -> None:
    mark = _mark()
    for _ in range(10):
        command = [sys.executable, "-c", CRASH, str(UID), str(open_folder), str(count), mark]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        deadline = time.monotonic() + 5
        while _sleepers(mark) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _sleepers(mark) == 0
        assert list(open_folder.iterdir()) == []


def test_the_holder_survives_no_kill_but_says_so(open_folder: Path) -> None:
    holder = Holder()
    assert holder.sized
    assert holder._process is not None
    pid = holder._process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    with pytest.raises(SandboxError, match="the sandboxes' holder is gone"):
        holder.make(open_folder / "1", uid=UID, size=1 << 20, inodes=50)
    holder.close()


REDUCED = """
import os, sys
from pathlib import Path
from isol8tasks_bubblewrap.holder import Holder
holder, places, uid = Holder(), Path(sys.argv[1]) / "1", int(sys.argv[2])
root = holder.make(places, uid=uid, size=1 << 20, inodes=50)
reader, writer = os.pipe()
script = f"id -u; stat -c %u {places}/sandbox; stat -f -c %T {places}; sleep 60"
holder.spawn(["/bin/sh", "-c", script], (writer, writer, writer), uid=uid)
words = b""
while words.count(b"\\n") < 3:
    words += os.read(reader, 100)
proc = holder.proc()
users = {
    os.stat(f"{pid}/ns/user", dir_fd=proc).st_ino
    for pid in os.listdir(proc) if pid.isdigit() and pid != "1"
}
print(holder.sized, holder.own_users, *words.decode().split(), len(users), os.fstat(root).st_uid)
holder.close()
"""


@pytest.mark.root
@pytest.mark.parametrize("less", ["-sys_admin", "-sys_admin,-sys_ptrace,-net_admin,-sys_resource"])
def test_reduced_root_has_a_user_namespace_with_all_ids(open_folder: Path, less: str) -> None:
    """As in a container: what root lacks there it has in a namespace of its own."""
    done = subprocess.run(
        ["setpriv", f"--bounding-set={less}", sys.executable, "-c", REDUCED, open_folder, str(UID)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.split() == ["True", "True", str(UID), str(UID), "tmpfs", "1", str(UID)], done


AMBIENT = """
import os, sys
from isol8tasks_bubblewrap.holder import Holder
holder = Holder()
reader, writer = os.pipe()
words = ["/bin/grep", "-E", "Cap(Prm|Eff|Amb)", "/proc/self/status"]
holder.spawn(words, (writer, writer, writer), uid=int(sys.argv[1]))
os.close(writer)
print(open(reader).read())
holder.close()
"""


@pytest.mark.root
def test_no_capability_of_ours_is_inherited() -> None:
    given = ("--inh-caps=+net_admin,+kill", "--ambient-caps=+net_admin,+kill")
    done = subprocess.run(
        ["setpriv", *given, sys.executable, "-c", AMBIENT, str(UID)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert {line.split()[1] for line in done.stdout.splitlines() if line} == {"0" * 16}, done


def _write_on(file: int) -> None:
    while True:
        os.write(file, b"x" * 65536)


def _make_files(root: int, count: int) -> None:
    for number in range(count):
        os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=root))


def _mark() -> str:
    """A number of seconds that nobody else sleeps."""
    return f"{40000 + secrets.randbelow(9999)}.{secrets.randbelow(10**9):09}"


def _sleepers(seconds: str) -> int:
    found = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += file.read_bytes() == f"sleep\0{seconds}\0".encode()
        except OSError:
            continue
    return found
