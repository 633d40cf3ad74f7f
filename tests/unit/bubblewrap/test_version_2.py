"""Control groups of version 2: who is in one that passes controllers on has to leave it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isol8tasks_bubblewrap.cgroup_layout import mounts

from isol8tasks.backend import cgroup_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.bubblewrap]


@pytest.fixture
def unified() -> Iterator[tuple[str, str]]:
    """A group, and a controller that it may pass on: on a version 1 host hugetlb, or none."""
    found = [
        mount.point
        for mount in mounts(Path("/proc/self/mountinfo").read_text())
        if mount.version == 2 and os.access(mount.point, os.W_OK)
    ]
    if not found or Path(found[0], "cgroup.type").exists():
        pytest.skip("no control groups here: no root of version 2 that is ours")
    passed_on = Path(found[0], "cgroup.subtree_control")
    before = passed_on.read_text().split()
    controller = next(iter(Path(found[0], "cgroup.controllers").read_text().split()), "")
    if controller not in before:
        passed_on.write_text(f"+{controller}")
    folder = f"{found[0]}/isol8test-{os.getpid()}"
    Path(folder).mkdir()
    yield folder, controller
    assert not cgroup_tree.remove([folder])
    if controller not in before:
        passed_on.write_text(f"-{controller}")


STEP_ASIDE = """
import json, os, select, sys, time
from isol8tasks_bubblewrap.cgroups import Hierarchy
from isol8tasks_bubblewrap.cgroup_layout import Branch
from isol8tasks_bubblewrap.holder import Holder
from isol8tasks.model.limits import Limits
folder, begun, controllers = sys.argv[1], sys.argv[2], sys.argv[3].split()
open(folder + "/cgroup.procs", "w").write("0")

def group_of(pid):
    return open(f"/proc/{pid}/cgroup").read().split("0::")[1].strip()

def everybody():
    outer = holder._process.pid
    (inner,) = open(f"/proc/{outer}/task/{outer}/children").read().split()
    return [group_of(pid) for pid in (os.getpid(), outer, inner)]

holder = Holder()
assert holder.sized
place = Branch(
    version=2, folder=folder, top=folder, controllers=frozenset(controllers),
    enable=tuple(controllers), vacate=True,
)
hierarchy = Hierarchy([place])
before = everybody()
group = hierarchy.create(Limits())
during = everybody()
with group.task_lists() as lists:
    null = os.open(os.devnull, os.O_RDWR)
    script = f"echo $$ > {begun}; exec sleep 60"
    holder.spawn(["/bin/bash", "-c", script], (null, null, null), uid=None, groups=lists)
while not (os.path.exists(begun) and os.path.getsize(begun)):
    time.sleep(0.001)
with open(group._places[0][1] + "/cgroup.procs") as file:
    (program,) = file.read().split()
left = everybody()
handle = os.pidfd_open(int(program))
group.kill()

ended = bool(select.select([handle], [], [], 10)[0])
cpu = group.usage().cpu_seconds
group.close()
holder.close()
hierarchy.close()
folders = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
passed_on = open(folder + "/cgroup.subtree_control").read().split()
print(json.dumps([before, during, left, group_of(os.getpid()), ended, cpu, folders, passed_on]))
"""


def test_all_of_us_step_aside_and_come_back(unified: tuple[str, str], tmp_path: Path) -> None:
    folder, controller = unified
    done = subprocess.run(
        [sys.executable, "-c", STEP_ASIDE, folder, str(tmp_path / "begun"), controller],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    before, during, left, after, ended, cpu, folders, passed_on = json.loads(done.stdout)
    assert set(before) == {after}
    assert after.endswith(f"/{Path(folder).name}")
    assert during == left
    (aside,) = set(during)
    assert aside.startswith(f"{after}/isol8tasks-")
    assert aside.endswith("/runner")
    assert ended
    assert cpu > 0
    assert folders == passed_on == []
