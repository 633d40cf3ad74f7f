"""Control groups: what a host lets us use, from texts; and real groups where that is possible."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from isol8tasks_bubblewrap import cgroup_files, cgroup_tree, cgroup_trip, cgroups
from isol8tasks_bubblewrap.cgroup_layout import Branch, Missing, decide, held, mounts, own_groups
from isol8tasks_bubblewrap.cgroups import Group, Hierarchy, Usage
from isol8tasks_bubblewrap.owner import Owner

from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL = frozenset({Limit.MEMORY, Limit.PIDS, Limit.CPUS})
CG = "/sys/fs/cgroup"
USER = "/user.slice/user-1000.slice"
APPS = f"{USER}/user@1000.service/app.slice"
SCOPE = f"{APPS}/run-r1.scope"


@attrs.frozen
class Host:
    """A host by its files; folders that end a path may be written to as a whole."""

    files: dict[str, str]
    ours: tuple[str, ...] = ()

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def writable(self, path: str) -> bool:
        return any(path == folder or path.rpartition("/")[0] == folder for folder in self.ours)


def host(
    cgroup: str, mountinfo: list[str], *, ours: tuple[str, ...] = (), **files: dict[str, str]
) -> Host:
    """Our pid is 7; `files` are those of groups, by nothing but a full path."""
    given = {
        "/proc/self/cgroup": cgroup,
        "/proc/self/mountinfo": "\n".join(mountinfo),
        "/proc/self/stat": "7 (python) R 1",
    }
    for group in files.values():
        given |= group
    return Host(given, ours)


def v1(names: str, *, root: str = "/", point: str = "", device: int = 29) -> str:
    where = point or f"{CG}/{names}"
    return f"32 31 0:{device} {root} {where} rw,relatime shared:9 - cgroup cgroup rw,{names}"


def v2(point: str = CG, *, root: str = "/") -> str:
    return f"41 31 0:38 {root} {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def group2(
    folder: str, controllers: str = "", passed_on: str = "", procs: str = "", kind: str = "domain"
) -> dict[str, str]:
    files = {
        f"{folder}/cgroup.controllers": controllers,
        f"{folder}/cgroup.subtree_control": passed_on,
        f"{folder}/cgroup.procs": procs,
    }
    return files | ({f"{folder}/cgroup.type": kind} if kind else {})


def there(*folders: str) -> dict[str, str]:
    return {f"{folder}/cgroup.procs": "" for folder in folders}


def chosen(found: tuple[Branch, ...] | Missing) -> list[tuple[str, str]]:
    assert not isinstance(found, Missing), found
    return [("+".join(sorted(branch.controllers)), branch.folder) for branch in found]


SEPARATE = [v1(name) for name in ("cpu", "cpuacct", "cpuset", "memory", "pids", "freezer")]
THIS_MACHINE = "8:pids:/\n4:memory:/process_api/01\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n"


def test_version_1_mounted_apart_as_on_this_machine() -> None:
    own = (f"{CG}/cpu", f"{CG}/cpuacct", f"{CG}/memory/process_api/01", f"{CG}/pids")
    mounted = [*SEPARATE, v2(f"{CG}/unified")]
    root = group2(f"{CG}/unified", "hugetlb", "", "1 7", kind="")
    found = decide(host(THIS_MACHINE, mounted, ours=(*own, f"{CG}/unified"), a=there(*own), b=root))
    assert not isinstance(found, Missing)
    assert chosen(found) == list(zip(("cpu", "cpuacct", "memory", "pids"), own, strict=True))
    assert all(branch.ours for branch in found)
    assert held(found) == ALL


def test_version_1_mounted_together_below_our_own_groups() -> None:
    point = f"{CG}/cpu,cpuacct"
    mounted = [v1("cpu,cpuacct"), v1("memory"), v1("pids")]
    own = (f"{point}/a b", f"{CG}/memory/a b", f"{CG}/pids/a b")
    cgroup = "3:cpu,cpuacct:/a b\n2:memory:/a b\n1:pids:/a b"
    found = decide(host(cgroup, mounted, ours=own, a=there(*own)))
    assert chosen(found) == [("cpu+cpuacct", own[0]), ("memory", own[1]), ("pids", own[2])]


def test_version_1_in_a_container_that_sees_only_its_own_group() -> None:
    mounted = [v1("memory", root="/docker/abc"), v1("pids", root="/docker/abc")]
    cgroup = "2:memory:/docker/abc\n1:pids:/docker/abc/below"
    own = (f"{CG}/memory", f"{CG}/pids/below")
    found = decide(host(cgroup, mounted, ours=own, a=there(*own)))
    assert chosen(found) == [("memory", own[0]), ("pids", own[1])]


@pytest.mark.parametrize(
    ("path", "root"),
    [("/elsewhere", "/"), ("/", "/.."), ("/../x", "/"), ("/docker/ab", "/docker/a")],
)
def test_version_1_whose_own_group_is_out_of_sight(path: str, root: str) -> None:
    mounted = [v1("memory", root=root)]
    found = decide(host(f"1:memory:{path}", mounted, ours=(f"{CG}/memory",)))
    assert not isinstance(found, Missing)
    assert chosen(found) == [("memory", f"{CG}/memory")]
    assert not found[0].ours


def test_version_1_mounted_twice_is_used_where_our_own_group_shows() -> None:
    mounted = [v1("memory", root="/other", point="/elsewhere"), v1("memory")]
    own = f"{CG}/memory/own"
    found = decide(host("1:memory:/own", mounted, ours=(own, "/elsewhere"), a=there(own)))
    assert chosen(found) == [("memory", own)]


def test_version_1_handed_over_to_a_user_in_part() -> None:
    own = tuple(f"{CG}/{name}/isol8/me" for name in ("cpu", "memory", "pids"))
    cgroup = "\n".join(
        f"{number}:{name}:/isol8/me"
        for number, name in enumerate(("cpu", "cpuacct", "memory", "pids"), 1)
    )
    found = decide(host(cgroup, SEPARATE, ours=own[1:], a=there(*own)))
    assert not isinstance(found, Missing)
    assert held(found) == {Limit.MEMORY, Limit.PIDS}


def test_version_1_that_is_not_ours_to_write() -> None:
    found = decide(host(THIS_MACHINE, SEPARATE, a=there(f"{CG}/pids")))
    assert isinstance(found, Missing)
    assert "cgroup v1" in found.reason
    assert "root" in found.remedy


def test_version_2_in_a_scope_of_our_own() -> None:
    scope, apps = CG + SCOPE, CG + APPS
    files = group2(scope, "cpu memory pids", "", "7\n") | group2(
        apps, "cpu memory pids", "memory pids"
    )
    found = decide(host(f"0::{SCOPE}\n", [v2()], ours=(scope, apps), a=files))
    assert found == (
        Branch(
            version=2,
            folder=scope,
            top=CG,
            controllers=frozenset({"cpu", "memory", "pids"}),
            enable=("cpu", "memory", "pids"),
            vacate=True,
        ),
    )


def test_version_2_in_a_scope_with_a_shell_goes_up_to_what_is_delegated() -> None:
    scope, apps = CG + SCOPE, CG + APPS
    files = group2(scope, "cpu memory pids", "", "6\n7\n") | group2(
        apps, "cpu memory pids", "memory pids"
    )
    found = decide(host(f"0::{SCOPE}\n", [v2()], ours=(scope, apps), a=files))
    assert not isinstance(found, Missing)
    assert chosen(found) == [("cpu+memory+pids", apps)]
    assert (found[0].ours, found[0].enable, found[0].vacate) == (False, ("cpu",), False)


def test_version_2_passes_on_what_was_passed_on_to_it() -> None:
    apps = CG + APPS
    files = group2(CG + SCOPE, "memory pids", "", "6\n7\n") | group2(
        apps, "memory pids", "memory pids"
    )
    found = decide(host(f"0::{SCOPE}\n", [v2()], ours=(apps,), a=files))
    assert not isinstance(found, Missing)
    assert held(found) == {Limit.MEMORY, Limit.PIDS}
    assert found[0].enable == ()


def test_version_2_in_a_login_session() -> None:
    own = f"{USER}/session-3.scope"
    files = group2(CG + own, "memory pids", "", "5\n7\n") | group2(
        CG, "cpu memory", "memory", kind=""
    )
    found = decide(host(f"0::{own}\n", [v2()], a=files))
    assert isinstance(found, Missing)
    assert "systemd-run --user --scope -p Delegate=yes" in found.remedy


def test_version_2_as_root_in_a_login_session() -> None:
    slice0, own = f"{CG}/user.slice/user-0.slice", f"{CG}/user.slice/user-0.slice/session-1.scope"
    files = group2(own, "memory pids", "", "5\n7\n") | group2(
        slice0, "cpu memory pids", "memory pids"
    )
    cgroup = "0::/user.slice/user-0.slice/session-1.scope\n"
    found = decide(host(cgroup, [v2()], ours=(own, slice0, CG), a=files))
    assert chosen(found) == [("cpu+memory+pids", slice0)]


@pytest.mark.parametrize(("procs", "works"), [("7\n", True), ("1\n7\n", False)])
def test_version_2_in_a_container_with_a_namespace_of_its_own(procs: str, works: bool) -> None:
    files = group2(CG, "cpu memory pids", "", procs)
    found = decide(host("0::/\n", [v2()], ours=(CG,), a=files))
    if works:
        assert chosen(found) == [("cpu+memory+pids", CG)]
    else:
        assert isinstance(found, Missing)
        assert "in a container as its only process" in found.remedy


def test_version_2_at_the_real_root_needs_nobody_to_step_aside() -> None:
    files = group2(CG, "cpu memory pids hugetlb", "", "1\n7\n", kind="")
    found = decide(host("0::/\n", [v2()], ours=(CG,), a=files))
    assert not isinstance(found, Missing)
    assert held(found) == ALL
    assert not found[0].vacate


def test_a_mixed_host_is_used_where_it_holds_more() -> None:
    mounted = [v1("cpu"), v2(f"{CG}/unified")]
    root = group2(f"{CG}/unified", "memory pids", "", "1\n", kind="")
    view = host("1:cpu:/\n0::/\n", mounted, ours=(f"{CG}/cpu", f"{CG}/unified"), a=root)
    assert chosen(decide(view)) == [("memory+pids", f"{CG}/unified")]


def test_a_host_without_control_groups() -> None:
    found = decide(host("", ["22 1 0:20 / /proc rw - proc proc rw"]))
    assert isinstance(found, Missing)
    assert found.reason == "no control groups are mounted here"


def test_mount_points_with_blanks() -> None:
    (mount,) = mounts(v1("memory", point="/sys/a\\040b\\134c"))
    assert mount.point == "/sys/a b\\c"


def test_own_groups_with_colons_and_names() -> None:
    assert own_groups("9:name=systemd:/a:b\n3:cpu,cpuacct:/x\n0::/u:v\n") == {
        "name=systemd": "/a:b",
        "cpu": "/x",
        "cpuacct": "/x",
        "": "/u:v",
    }


def branch(version: int, *controllers: str, folder: str = "/none") -> Branch:
    return Branch(version=version, folder=folder, top=folder, controllers=frozenset(controllers))


SMALL = Limits(memory=64 << 20, pids=20, cpus=0.25)


@pytest.mark.parametrize(
    ("which", "limits", "expected"),
    [
        (
            branch(1, "memory"),
            SMALL,
            [("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "67108864")],
        ),
        (branch(1, "pids"), SMALL, [("pids.max", "20")]),
        (
            branch(1, "cpu", "cpuacct"),
            SMALL,
            [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "25000")],
        ),
        (branch(1, "cpuacct"), SMALL, []),
        (
            branch(2, "cpu", "memory", "pids"),
            SMALL,
            [
                ("memory.max", "67108864"),
                ("memory.swap.max", "0"),
                ("pids.max", "20"),
                ("cpu.max", "25000 100000"),
            ],
        ),
        (branch(2, "cpu"), Limits(cpus=0.0001), [("cpu.max", "1000 100000")]),
        (branch(2, "cpu"), Limits(cpus=1 << 40), []),
        (branch(1, "pids"), Limits(pids=1 << 60), [("pids.max", "4194304")]),
    ],
)
def test_what_is_written(which: Branch, limits: Limits, expected: list[tuple[str, str]]) -> None:
    written = cgroup_files.settings(which, limits)
    assert [(setting.file, setting.value) for setting in written] == expected


EVENTS = "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("figure", "which", "files", "expected"),
    [
        (
            "oom_killed",
            branch(1, "memory"),
            {"memory.oom_control": "under_oom 0\noom_kill 1"},
            True,
        ),
        (
            "oom_killed",
            branch(1, "memory"),
            {"memory.oom_control": "under_oom 1\noom_kill 0"},
            False,
        ),
        ("oom_killed", branch(1, "memory"), {"memory.oom_control": "oom_kill_disable 1"}, False),
        ("oom_killed", branch(2, "memory"), {"memory.events": EVENTS}, True),
        ("oom_killed", branch(2, "pids"), {"memory.events": EVENTS}, False),
        ("peak_memory", branch(1, "memory"), {"memory.max_usage_in_bytes": "4096\n"}, 4096),
        ("peak_memory", branch(2, "memory"), {"memory.peak": "8192\n"}, 8192),
        ("peak_memory", branch(2, "memory"), {}, None),  # before Linux 5.19
        ("peak_memory", branch(1, "pids"), {}, None),
        ("cpu_seconds", branch(1, "cpuacct"), {"cpuacct.usage": "1500000000\n"}, 1.5),
        ("cpu_seconds", branch(1, "cpu"), {"cpu.stat": "nr_periods 1"}, None),
        ("cpu_seconds", branch(2, "pids"), {"cpu.stat": "usage_usec 2500\nuser_usec 1"}, 0.0025),
        ("pids_denied", branch(1, "pids"), {"pids.events": "max 3\n"}, True),
        ("pids_denied", branch(2, "pids"), {"pids.events": "max 0\n"}, False),
        ("pids_denied", branch(2, "memory"), {"pids.events": "max 3\n"}, False),
        ("throttled", branch(1, "cpu"), {"cpu.stat": "nr_periods 3\nnr_throttled 2"}, True),
        ("throttled", branch(2, "cpu"), {"cpu.stat": "usage_usec 2\nnr_throttled 0"}, False),
    ],
)
def test_what_is_read(figure: str, which: Branch, files: dict[str, str], expected: Any) -> None:
    assert getattr(cgroup_files, figure)(which, files.get) == expected


def test_what_is_refused_has_a_name_and_leaves_nothing(tmp_path: Path) -> None:
    """A folder of an ordinary file system takes the group and has none of its files."""
    first = branch(1, "memory", folder=str(tmp_path))
    with pytest.raises(SandboxError, match=r"cannot write \d+ to .*memory.limit_in_bytes: No such"):
        Hierarchy([first]).create(SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == [f"isol8tasks-{Owner.current()}"]
    Hierarchy([first]).close()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot make the control group"):
        Hierarchy([branch(1, "memory", folder=str(tmp_path / "gone"))]).create(SMALL)


def no_groups(reason: str) -> None:
    must = os.environ.get("CI") == "true" or os.environ.get("ISOL8TASKS_TEST_NO_SKIP") == "1"
    (pytest.fail if must else pytest.skip)(f"no control groups here: {reason}")


def leftovers(owner: Owner | None = None) -> list[str]:
    name = f"isol8tasks-{owner or Owner.current()}"
    return [path for path, *_ in os.walk(CG) if Path(path).name == name]


@pytest.fixture
def hierarchy() -> Iterator[Hierarchy]:
    """The real thing, with all three limits; nothing of it is left at the end."""
    found = cgroups.look()
    if isinstance(found, Missing):
        no_groups(found.reason)
        return
    if found.holds != ALL:
        no_groups(f"only {sorted(found.holds)}")
    yield found
    found.close()
    assert not leftovers()


@pytest.fixture
def group(hierarchy: Hierarchy) -> Iterator[Group]:
    made = hierarchy.create(SMALL)
    yield made
    made.close()


ENTER = """
import os, sys
for file in sys.argv[1].split(","):
    os.write(int(file), b"0")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def start(group: Group, *argv: str) -> subprocess.Popen[str]:
    """A program that is in the group from its first instruction."""
    with group.task_lists() as lists:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", ENTER, ",".join(map(str, lists)), *argv],
            pass_fds=lists,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def run(group: Group, *argv: str) -> tuple[int, str]:
    process = start(group, *argv)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


HOG = "x = bytearray(256 << 20)"
CHILD_HOG = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', '{HOG}'])"
FORKS = """
import os, time
made = 0
try:
    for _ in range(50):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except BlockingIOError as error:
    print(made, error.errno, flush=True)
"""
BUSY = """
import time
end = time.monotonic() + 0.6
while time.monotonic() < end: pass
"""
BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
DAEMONS = "for i in 1 2 3; do setsid sleep 60 & done; echo ready; wait"

real = pytest.mark.root


@real
def test_a_hog_is_killed(group: Group) -> None:
    assert run(group, *python(HOG))[0] == -signal.SIGKILL
    used = group.usage()
    assert used.oom_killed
    assert used.peak_memory_bytes is not None
    assert 50 << 20 < used.peak_memory_bytes <= 64 << 20


@real
def test_a_hog_is_reported_when_only_a_child_died(group: Group) -> None:
    assert run(group, *python(CHILD_HOG))[0] == 0
    assert group.usage().oom_killed


@real
def test_many_small_processes_are_one_large(group: Group) -> None:
    code = "import os, time\nfor _ in range(9): os.fork() or (bytearray(16 << 20), time.sleep(60))"
    process = start(group, *python(f"{code}\ntime.sleep(60)"))
    wait_for(lambda: group.usage().oom_killed)
    group.kill()
    process.communicate(timeout=10)


@real
def test_memory_backed_files_count(group: Group) -> None:
    code = "import os\nf = os.memfd_create('x')\nwhile True: os.write(f, bytes(1 << 20))"
    assert run(group, *python(code))[0] == -signal.SIGKILL
    assert group.usage().oom_killed


@real
def test_forks_are_denied_past_the_limit(group: Group) -> None:
    process = start(group, *python(FORKS))
    assert process.stdout is not None
    out = process.stdout.readline()
    group.kill()
    process.communicate(timeout=10)
    assert out.split() == ["19", str(errno.EAGAIN)]
    used = group.usage()
    assert used.pids_denied
    assert not used.oom_killed


@real
def test_the_processor_is_shared_out(group: Group) -> None:
    started = time.monotonic()
    assert run(group, *python(BUSY))[0] == 0
    wall = time.monotonic() - started
    used = group.usage().cpu_seconds
    assert used is not None
    assert 0.01 < used < 0.5 * wall
    assert group.throttled()


@real
def test_a_modest_program_trips_nothing(group: Group) -> None:
    assert run(group, "/bin/echo", "hello") == (0, "hello\n")
    used = group.usage()
    assert not used.oom_killed
    assert not used.pids_denied
    assert not group.throttled()
    assert used.peak_memory_bytes
    assert used.cpu_seconds
    assert used.cpu_seconds < 0.1


@real
@pytest.mark.parametrize(
    "program", [python(BOMB), ("/bin/sh", "-c", DAEMONS)], ids=["bomb", "daemons"]
)
def test_kill_reaches_everything(group: Group, program: tuple[str, ...]) -> None:
    process = start(group, *program)
    folders = [folder for _, folder in group._places]
    wait_for(lambda: len(cgroup_tree.processes(folders)) >= 4)
    group.kill()
    wait_for(lambda: not cgroup_tree.processes(folders))
    process.communicate(timeout=10)


@real
def test_a_kill_denies_no_forks(group: Group) -> None:
    process = start(group, *python("import os\nwhile True: os.fork() or os._exit(0); os.wait()"))
    time.sleep(0.05)
    group.kill()
    process.communicate(timeout=10)
    assert not group.usage().pids_denied


@real
def test_close_ends_what_runs_and_may_be_repeated(hierarchy: Hierarchy) -> None:
    group = hierarchy.create(SMALL)
    process = start(group, "/bin/sleep", "60")
    folders = [folder for _, folder in group._places]
    wait_for(lambda: process.pid in cgroup_tree.processes(folders[-1:]))
    group.close()
    group.close()
    group.kill()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(SandboxError, match="is gone"):
        group.usage()


@real
def test_groups_inside_count_and_go(hierarchy: Hierarchy) -> None:
    group = hierarchy.create(SMALL)
    nested = []
    for _, folder in group._places:
        for path in (f"{folder}/inner", f"{folder}/inner/most"):
            Path(path).mkdir()
        nested.append(f"{folder}/inner/most/cgroup.procs")
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'read x; exec {sys.executable} -c "{HOG}"'], stdin=-1
    )
    for procs in nested:
        cgroup_tree.write(procs, str(process.pid))
    process.communicate(b"\n", timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert group.usage().oom_killed
    group.close()


@real
def test_two_threads_at_once(hierarchy: Hierarchy) -> None:
    seen: list[Usage] = []

    def work() -> None:
        for _ in range(10):
            group = hierarchy.create(SMALL)
            assert run(group, "/bin/true")[0] == 0
            seen.append(group.usage())
            group.close()
            hierarchy.close()  # the other one needs the parent just now

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 20
    assert not any(used.oom_killed or used.pids_denied for used in seen)


@real
def test_a_larger_share_than_our_own_group_has_is_held_by_that(hierarchy: Hierarchy) -> None:
    """Version 1 refuses the number; the smaller one above holds all the same."""
    outer = hierarchy.create(SMALL)
    inner = Hierarchy(
        attrs.evolve(branch, folder=folder)
        for branch, folder in outer._places
        if branch.version == 1 and "cpu" in branch.controllers
    )
    if inner.branches and (os.cpu_count() or 1) > 1:
        inner.create(Limits(cpus=1)).close()
        inner.close()
    outer.close()


OWNER_PROGRAM = """
import subprocess, sys, time
from isol8tasks_bubblewrap.cgroups import find
from isol8tasks_bubblewrap.owner import Owner
from isol8tasks.model.limits import Limits
hierarchy = find()
group = hierarchy.create(Limits())
with group.task_lists() as lists:
    enter = "".join(f"echo 0 >&{file}; " for file in lists)
    process = subprocess.Popen(["/bin/bash", "-c", enter + "exec sleep 60"], pass_fds=lists)
print(Owner.current(), process.pid, flush=True)
time.sleep(60)
"""


@real
@pytest.mark.parametrize("everywhere", [False, True])
def test_sweep_removes_what_a_killed_runner_left(hierarchy: Hierarchy, everywhere: bool) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM], stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    name, _, pid = runner.stdout.readline().partition(" ")
    owner = Owner.parse(name)
    assert owner is not None
    handle = os.pidfd_open(int(pid))
    hierarchy.sweep(everywhere=everywhere)
    assert leftovers(owner)  # it lives
    runner.kill()
    runner.wait()
    runner.stdout.close()
    assert not select.select([handle], [], [], 0)[0]  # what it started outlived it
    assert hierarchy.sweep(everywhere=everywhere) >= 1
    assert not leftovers(owner)
    assert select.select([handle], [], [], 10)[0]
    os.close(handle)


@pytest.mark.parametrize(
    ("change", "older_than", "goes"),
    [
        ({}, None, False),
        ({"start": 1}, None, True),
        ({"boot": "00000000"}, None, True),
        ({"namespace": 1}, None, False),
        ({"namespace": 1}, 3600, False),
        ({"namespace": 1}, 0, True),
    ],
)
def test_sweep_asks_who_the_owner_is(
    tmp_path: Path, change: dict[str, Any], older_than: float | None, goes: bool
) -> None:
    """Folders are as good as groups here."""
    owner = attrs.evolve(Owner.current(), **change)
    (tmp_path / f"isol8tasks-{owner}" / "0").mkdir(parents=True)
    for other in ("isol8tasks-", "isol8tasks-x", str(owner)):
        (tmp_path / other).mkdir()
    time.sleep(0.01)
    swept = Hierarchy([branch(1, "memory", folder=str(tmp_path))]).sweep(older_than)
    assert swept == goes
    assert len(list(tmp_path.iterdir())) == 4 - goes


@pytest.fixture
def unified() -> Iterator[str]:
    """A group of version 2, which on a version 1 host has hugetlb at most."""
    found = [
        mount.point
        for mount in mounts(Path("/proc/self/mountinfo").read_text())
        if mount.version == 2 and os.access(mount.point, os.W_OK)
    ]
    if not found or Path(found[0], "cgroup.type").exists():
        no_groups("no root of version 2 that is ours")
    folder = f"{found[0]}/isol8test-{os.getpid()}"
    Path(folder).mkdir()
    yield folder
    assert not cgroup_tree.remove([folder])


STEP_ASIDE = """
import json, os, sys
from isol8tasks_bubblewrap.cgroups import Hierarchy
from isol8tasks_bubblewrap.cgroup_layout import Branch
from isol8tasks.model.limits import Limits
folder = sys.argv[1]
own = lambda: open("/proc/self/cgroup").read().split("0::")[1].strip()
open(folder + "/cgroup.procs", "w").write("0")
place = Branch(version=2, folder=folder, top=folder, controllers=frozenset(), vacate=True)
hierarchy = Hierarchy([place])
before = own()
group = hierarchy.create(Limits())
during = own()
with group.task_lists() as lists:
    for number in lists:
        os.set_inheritable(number, True)
    enter = "".join(f"echo 0 >&{number}; " for number in lists)
    script = enter + "echo > " + sys.argv[2] + "; exec sleep 60"
    pid = os.posix_spawn("/bin/bash", ["bash", "-c", script], {"PATH": "/usr/bin:/bin"})
while not os.path.exists(sys.argv[2]):
    pass
left = own()
group.kill()
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
cpu = group.usage().cpu_seconds
group.close()
hierarchy.close()
folders = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
print(json.dumps([before, during, left, own(), code, cpu, folders]))
"""


@real
def test_version_2_steps_aside_kills_at_once_and_comes_back(unified: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEP_ASIDE, unified, str(tmp_path / "begun")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    before, during, left, after, code, cpu, folders = json.loads(done.stdout)
    name = Path(unified).name
    assert before == after
    assert before.endswith(f"/{name}")
    assert during == left
    assert during.startswith(f"{before}/isol8tasks-")
    assert during.endswith("/runner")
    assert code == -signal.SIGKILL
    assert cpu > 0
    assert folders == []


@real
def test_trips_what_is_held(hierarchy: Hierarchy) -> None:
    assert cgroup_trip.trip(hierarchy, lambda group, argv: run(group, *argv)) == dict.fromkeys(
        ALL, True
    )


@real
def test_trips_nothing_where_nothing_is_held(hierarchy: Hierarchy) -> None:
    """A sandbox that is not in its group is what a host without limits looks like."""
    found = cgroup_trip.trip(
        hierarchy, lambda _, argv: subprocess.run(argv, check=False, capture_output=True)
    )
    assert found == dict.fromkeys(ALL, False)


def test_what_tripped_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Hierarchy] = []
    answers = iter([{Limit.MEMORY: False}, {Limit.MEMORY: True}, {Limit.MEMORY: True}])

    def trip(hierarchy: Hierarchy, _: object) -> dict[Limit, bool]:
        tried.append(hierarchy)
        return next(answers)

    monkeypatch.setattr(cgroup_trip, "trip", trip)
    here, there = (Hierarchy([branch(1, "memory", folder=name)]) for name in ("/here", "/there"))
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    assert cgroup_trip.tripped(here, nothing, tmp_path) == {Limit.MEMORY: False}
    assert cgroup_trip.tripped(here, nothing, tmp_path) == {Limit.MEMORY: True}
    assert cgroup_trip.tripped(here, nothing, tmp_path) == {Limit.MEMORY: True}
    assert cgroup_trip.tripped(there, nothing, tmp_path) == {Limit.MEMORY: True}
    assert tried == [here, here, there]
    assert [path.name for path in tmp_path.iterdir()] == ["verified.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "null"])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "verified.json").write_text(text)
    assert cgroup_trip._recall(tmp_path / "verified.json") == []


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
