"""Control groups: real ones, with processes that want too much."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from isol8tasks_bubblewrap import cgroup_trip, cgroups
from isol8tasks_bubblewrap.cgroup_layout import Branch, Missing
from isol8tasks_bubblewrap.cgroups import Group, Hierarchy, Usage
from isol8tasks_bubblewrap.holder import Holder

from isol8tasks.backend import cgroup_tree
from isol8tasks.backend.owner import Owner
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL = frozenset({Limit.MEMORY, Limit.PIDS, Limit.CPUS})
CG = "/sys/fs/cgroup"
SMALL = Limits(memory=64 << 20, pids=20, cpus=0.25)


def no_groups(reason: str) -> None:
    pytest.skip(f"no control groups here: {reason}")


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
    folders = [folder for _, folder in group._places]
    wait_for(lambda: process.pid in cgroup_tree.processes(folders[-1:]))
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
from isol8tasks.backend import cgroup_tree
from isol8tasks.backend.owner import Owner
from isol8tasks.model.limits import Limits
hierarchy = find()
group = hierarchy.create(Limits())
with group.task_lists() as lists:
    enter = "".join(f"echo 0 >&{file}; " for file in lists)
    process = subprocess.Popen(["/bin/bash", "-c", enter + "exec sleep 60"], pass_fds=lists)
while process.pid not in cgroup_tree.processes([group._places[-1][1]]):
    time.sleep(0.001)
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
    folder = str(tmp_path)
    place = Branch(version=1, folder=folder, top=folder, controllers=frozenset({"memory"}))
    swept = Hierarchy([place]).sweep(older_than)
    assert swept == goes
    assert len(list(tmp_path.iterdir())) == 4 - goes


@real
@pytest.mark.bubblewrap
def test_the_holder_is_never_in_a_group(hierarchy: Hierarchy) -> None:
    """Else it would count, be throttled, and end where there is no memory left."""
    one = attrs.evolve(SMALL, pids=1)
    script = "while read -r line; do echo $line; done < /proc/self/cgroup"
    null = os.open(os.devnull, os.O_RDWR)
    with closing(Holder()) as holder:
        for _ in range(20):
            reader, writer = os.pipe()
            with closing(hierarchy.create(one)) as group, group.task_lists() as lists:
                words = ["/bin/sh", "-c", script]
                holder.spawn(words, (null, writer, writer), uid=None, groups=lists)
                os.close(writer)
                with open(reader, encoding="utf-8") as said:
                    assert hierarchy._name in said.read()
                assert not group.usage().pids_denied
    os.close(null)


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


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
