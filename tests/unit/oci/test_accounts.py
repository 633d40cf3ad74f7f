"""What the kernel counts: texts of /proc, folders made by hand, and real control groups."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci import groups
from isol8tasks_oci.accounts import Accounts, Usage, groups_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "3957f273f718" + "d45fa90d" * 6 + "3a7f"

V1 = f"""\
12:rdma:/
11:memory:/docker/{ID}
10:cpu,cpuacct:/docker/{ID}
9:cpuset:/docker/{ID}
2:pids:/docker/{ID}
1:name=systemd:/docker/{ID}
"""
V1_GROUPS = dict.fromkeys(
    ("memory", "cpu", "cpuacct", "cpuset", "pids", "name=systemd"), f"/docker/{ID}"
)
SCOPE = f"/system.slice/docker-{ID}.scope"
LIBPOD = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        (V1, V1_GROUPS),
        (f"0::{SCOPE}\n", {"": SCOPE}),
        (f"0::{LIBPOD}\n", {"": LIBPOD}),
        (f"4:memory:/docker/{ID}\n0::/\n", {"memory": f"/docker/{ID}"}),
        (f"4:memory:/\n0::/docker/{ID}\n", {"": f"/docker/{ID}"}),
        (f"4:memory:/a:b/{ID}\n", {"memory": f"/a:b/{ID}"}),
        (f"4:memory:/isol8/run/{ID}\n", {"memory": f"/isol8/run/{ID}"}),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", {}),
        ("11:memory:/user.slice\n1:name=systemd:/user.slice\n0::/\n", {}),
        ("0::/../../other\n", {}),
        ("", {}),
        ("what is this\n", {}),
        (f"x:memory:/docker/{ID}\n", {}),
    ],
    ids=[
        "version 1",
        "systemd",
        "rootless with a scope of its own",
        "hybrid, memory in version 1",
        "hybrid, memory in version 2",
        "a colon in a name",
        "a parent of ours",
        "rootless, in its user's group",
        "rootless, version 1",
        "outside of our namespace",
        "gone",
        "no such lines",
        "no number",
    ],
)
def test_the_groups_of_a_container(text: str, groups: dict[str, str]) -> None:
    assert groups_of(text, ID) == groups


def _accounts(root: Path, version: int) -> Accounts:
    """As of a container with the group /c there; no process of this host is needed for that."""
    accounts = Accounts(0, ID, root=root)
    if version == 1:
        accounts._open_v1(root, "/c", "/c")
    else:
        accounts._open_v2(root, "/c")
    return accounts


def _files(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


ONE = {
    "memory/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "memory/c/memory.max_usage_in_bytes": "4096\n",
    "memory/c/memory.usage_in_bytes": "4096\n",
    "memory/c/cgroup.event_control": "",
    "cpuacct/c/cpuacct.usage": "2500000000\n",
}
TWO = {
    "c/memory.events": "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\noom_group_kill 0\n",
    "c/memory.peak": "8192\n",
    "c/cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
}
ONE_KILLED = {"memory/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}
ONE_FLAT = {"memory/c/memory.max_usage_in_bytes": "0\n", "cpuacct/c/cpuacct.usage": "0\n"}
"""As of a group that does not sum up what is in it."""
TWO_KILLED = {"c/memory.events": "max 9\noom 2\noom_kill 1\noom_group_kill 0\n"}


@pytest.mark.parametrize(
    ("version", "files", "usage"),
    [
        (1, ONE, Usage(oom_killed=False, peak_memory_bytes=4096, cpu_seconds=2.5)),
        (1, ONE | ONE_KILLED, Usage(oom_killed=True, peak_memory_bytes=4096, cpu_seconds=2.5)),
        (1, ONE | ONE_FLAT, Usage(oom_killed=False)),
        (
            1,
            {path: text for path, text in ONE.items() if "oom_control" not in path},
            Usage(peak_memory_bytes=4096, cpu_seconds=2.5),
        ),
        (2, TWO, Usage(oom_killed=False, peak_memory_bytes=8192, cpu_seconds=1.5)),
        (2, TWO | TWO_KILLED, Usage(oom_killed=True, peak_memory_bytes=8192, cpu_seconds=1.5)),
        (
            2,
            {path: text for path, text in TWO.items() if "peak" not in path},
            Usage(oom_killed=False, peak_memory_bytes=None, cpu_seconds=1.5),
        ),
        (2, {"c/memory.peak": "max\n", "c/memory.events": "", "c/cpu.stat": "x"}, Usage()),
        (2, {"c/memory.peak": ""}, Usage()),
        (2, {}, Usage()),
    ],
    ids=[
        "v1",
        "v1 killed",
        "v1 flat",
        "v1 mute",
        "v2",
        "v2 killed",
        "before Linux 5.19",
        "odd",
        "empty",
        "nothing",
    ],
)
def test_what_the_files_say(
    tmp_path: Path, version: int, files: dict[str, str], usage: Usage
) -> None:
    _files(tmp_path, files)
    accounts = _accounts(tmp_path, version)
    assert accounts.found is bool(files)
    assert accounts.read() == usage
    accounts.close()


def test_without_a_notifier_nothing_is_known_of_a_group_that_is_gone(tmp_path: Path) -> None:
    """Files cannot go as those of a group do; one that says nothing looks the same."""
    files = {path: text for path, text in ONE.items() if "event_control" not in path}
    _files(tmp_path, files | {"memory/c/memory.oom_control": ""})
    accounts = _accounts(tmp_path, 1)
    assert accounts.read().oom_killed is None
    accounts.close()


def test_a_process_that_is_gone_has_no_groups() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    accounts = Accounts(child.pid, ID)
    assert not accounts.found
    assert accounts.read() == Usage()
    accounts.close()


def test_a_process_in_its_user_s_group_has_none_of_its_own() -> None:
    accounts = Accounts(os.getpid(), ID)
    assert not accounts.found
    accounts.close()


def test_closing_leaves_nothing_open_and_may_be_repeated(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    _files(tmp_path, ONE)
    accounts = _accounts(tmp_path, 1)
    accounts.close()
    accounts.close()
    assert os.listdir("/proc/self/fd") == before
    assert not accounts.found


MEMORY = Path("/sys/fs/cgroup/memory")
BOTH = ("memory", "cpuacct")
LIMIT = 16 << 20

no_version_1 = pytest.mark.skipif(
    not os.access(MEMORY / "cgroup.event_control", os.W_OK),
    reason="this host has no control groups of version 1 for memory",
)


@attrs.define
class Group:
    """A group with a first process in it, as a container has."""

    name: str
    first: subprocess.Popen[bytes]

    @classmethod
    def make(cls) -> Group:
        name = f"isol8tasks-test-{secrets.token_hex(8)}"
        (MEMORY / name).mkdir()
        (MEMORY / name / "memory.limit_in_bytes").write_text(str(LIMIT))
        return cls(name, cls.start(name, "exec sleep 60"))

    @staticmethod
    def start(name: str, text: str) -> subprocess.Popen[bytes]:
        """Start a shell that is in the group before it does anything."""
        entered = f"echo $$ >{MEMORY}/{name}/cgroup.procs; echo; {text}"
        process = subprocess.Popen(["sh", "-c", entered], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def run(self, text: str) -> int:
        with self.start(self.name, text) as process:
            return process.wait(30)

    def accounts(self) -> Accounts:
        return Accounts(self.first.pid, self.name)

    def end(self) -> None:
        with self.first:
            self.first.kill()
        while (MEMORY / self.name).exists():
            with suppress(OSError):
                (MEMORY / self.name).rmdir()


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group.make()
    yield group
    group.end()


HUNGRY = 'python3 -c "bytearray(1 << 28)"'


@pytest.mark.root
@no_version_1
def test_a_killed_child_is_seen(group: Group) -> None:
    accounts = group.accounts()
    assert accounts.found
    assert group.run(f"{HUNGRY}; exit 0") == 0
    usage = accounts.read()
    assert usage.oom_killed is True
    assert usage.peak_memory_bytes == LIMIT
    accounts.close()


@pytest.mark.root
@no_version_1
def test_frugal_children_are_not(group: Group) -> None:
    accounts = group.accounts()
    assert group.run("head -c 8000000 /dev/zero | tail -c 1 >/dev/null") == 0
    usage = accounts.read()
    assert usage.oom_killed is False
    assert 0 < (usage.peak_memory_bytes or 0) < LIMIT
    accounts.close()


@pytest.mark.root
@no_version_1
def test_a_killed_child_is_known_when_the_group_is_gone(group: Group) -> None:
    for delay in (0.0, 0.005, 0.02, 0.05, 0.2):
        accounts = group.accounts()
        group.run(f"{HUNGRY}; exit 0")
        group.end()
        time.sleep(delay)
        assert accounts.read() == Usage(oom_killed=True), delay
        accounts.close()
        again = Group.make()
        group.name, group.first = again.name, again.first


@pytest.mark.root
@no_version_1
def test_a_group_that_is_only_gone_killed_nobody(group: Group) -> None:
    found = []
    for delay in range(0, 60, 2):
        accounts = group.accounts()
        group.end()
        time.sleep(delay / 1000)
        found.append((delay, accounts.read().oom_killed))
        accounts.close()
        again = Group.make()
        group.name, group.first = again.name, again.first
    assert [delay for delay, killed in found if killed] == []


@pytest.mark.root
@no_version_1
def test_a_group_of_which_no_handle_is_left_can_go(group: Group) -> None:
    accounts = group.accounts()
    group.first.kill()
    group.first.wait()
    (MEMORY / group.name).rmdir()
    accounts.close()


@pytest.mark.root
@no_version_1
def test_the_group_around_keeps_the_peak_of_one_that_is_gone() -> None:
    outer = groups.name_of(secrets.token_hex(8))
    for hierarchy in BOTH:
        Path(f"/sys/fs/cgroup/{hierarchy}/{outer}/{ID}").mkdir(parents=True)
    lists = " ".join(f"/sys/fs/cgroup/{each}/{outer}/{ID}/cgroup.procs" for each in BOTH)
    program = "python3 -c 'x = bytearray(1 << 25); import sys; print(flush=True); sys.stdin.read()'"
    text = f"for each in {lists}; do echo $$ >$each; done; exec {program}"
    with subprocess.Popen(["sh", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        accounts = Accounts(run.pid, ID)
    for hierarchy in BOTH:
        Path(f"/sys/fs/cgroup/{hierarchy}/{outer}/{ID}").rmdir()
    usage = accounts.read()
    accounts.close()
    groups.remove(outer)
    assert (usage.peak_memory_bytes or 0) > 1 << 25
    assert (usage.cpu_seconds or 0) > 0
    assert not Path(f"/sys/fs/cgroup/memory/{outer}").exists()
