"""Control groups: what a host lets us use, what is written and what is read, from texts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from isol8tasks_bubblewrap import cgroup_files, cgroup_trip
from isol8tasks_bubblewrap.cgroup_layout import Branch, Missing, decide, held, mounts, own_groups
from isol8tasks_bubblewrap.cgroups import Hierarchy

from isol8tasks.backend.owner import Owner
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

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
            [
                ("memory.limit_in_bytes", "67108864"),
                ("memory.memsw.limit_in_bytes", "67108864"),
                ("memory.kmem.tcp.limit_in_bytes", "8388608"),
            ],
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


def test_what_tripped_is_remembered(tmp_path: Path) -> None:
    tried: list[Hierarchy] = []
    answers = iter([{Limit.MEMORY: False}, {Limit.MEMORY: True}, {Limit.MEMORY: True}])

    def find(hierarchy: Hierarchy, _: object) -> dict[Limit, bool]:
        tried.append(hierarchy)
        return next(answers)

    tripped = partial(cgroup_trip.tripped, cache=tmp_path, find=find)
    here, there = (Hierarchy([branch(1, "memory", folder=name)]) for name in ("/here", "/there"))
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    assert tripped(here, nothing) == {Limit.MEMORY: False}
    assert tripped(here, nothing) == {Limit.MEMORY: True}
    assert tripped(here, nothing) == {Limit.MEMORY: True}
    assert tripped(there, nothing) == {Limit.MEMORY: True}
    assert tried == [here, here, there]
    assert [path.name for path in tmp_path.iterdir()] == ["verified.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "null"])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "verified.json").write_text(text)
    assert cgroup_trip._recall(tmp_path / "verified.json") == []
