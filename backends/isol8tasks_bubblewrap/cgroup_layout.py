"""Which control groups this process may use, decided from what /proc and the mounts say.

Rules: cgroups(7), cgroup-v1 and cgroup-v2 of the kernel's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

import attrs

from isol8tasks.model.limits import Limit

CONTROLLERS = {"memory": Limit.MEMORY, "pids": Limit.PIDS, "cpu": Limit.CPUS}
"""The limit that each controller holds; cpuacct of version 1 only counts."""

DELEGATE = "systemd-run --user --scope -p Delegate=yes isol8tasks …"

_COUNTED = frozenset({*CONTROLLERS, "cpuacct"})


class View(Protocol):
    """The files that decide."""

    def read(self, path: str) -> str | None:
        """The text of a file, None when it is not there or not for us."""
        ...

    def writable(self, path: str) -> bool:
        """Whether this process may write to a file, or make folders in a folder."""
        ...


@attrs.frozen(kw_only=True)
class Branch:
    """The folder of one hierarchy below which groups are made, and what they control there.

    `top` is the mount point. `ours` tells that the folder is the group this process is in. `enable`
    are the controllers that version 2 must be told to pass on; `vacate` that this process has to
    leave the folder first.
    """

    version: int
    folder: str
    top: str
    controllers: frozenset[str]
    ours: bool = True
    enable: tuple[str, ...] = ()
    vacate: bool = False


@attrs.frozen(kw_only=True)
class Missing:
    """Why no group can be made here, and what would change it: one sentence each."""

    reason: str
    remedy: str


@attrs.frozen(kw_only=True)
class Mount:
    """One mounted hierarchy; `root` is the group that its mount point shows."""

    version: int
    root: str
    point: str
    controllers: frozenset[str] = frozenset()


def mounts(mountinfo: str) -> tuple[Mount, ...]:
    """The control group mounts of a mountinfo, see proc_pid_mountinfo(5)."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), [*after.split(" "), "", "", ""][:3]
        if kind in {"cgroup", "cgroup2"}:
            found.append(
                Mount(
                    version=2 if kind == "cgroup2" else 1,
                    root=_unescaped(fields[3]),
                    point=_unescaped(fields[4]),
                    controllers=_COUNTED & frozenset(options.split(",")),
                )
            )
    return tuple(found)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def own_groups(cgroup: str) -> dict[str, str]:
    """Our group by controller, with "" for version 2, from /proc/self/cgroup."""
    groups = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def decide(view: View) -> tuple[Branch, ...] | Missing:
    """Where to make groups: in the version that holds more limits, at a draw in version 2."""
    found = mounts(view.read("/proc/self/mountinfo") or "")
    groups = own_groups(view.read("/proc/self/cgroup") or "")
    if not found:
        return Missing(
            reason="no control groups are mounted here",
            remedy="mount /sys/fs/cgroup, or run on a host that has it",
        )
    both = version_2(found, groups, view), version_1(found, groups, view)
    best = max(both, key=lambda branches: len(held(branches)))
    return best if held(best) else _missing(found)


def held(branches: Iterable[Branch]) -> frozenset[Limit]:
    """The limits that these branches hold together."""
    controllers = {name for branch in branches for name in branch.controllers}
    return frozenset(limit for name, limit in CONTROLLERS.items() if name in controllers)


def _missing(found: Iterable[Mount]) -> Missing:
    if any(mount.controllers for mount in found):
        return Missing(
            reason="no group of memory, pids or cpu (cgroup v1) may be written to by this user",
            remedy="start as root with control groups mounted writable, or in groups that root "
            "handed over to this user",
        )
    return Missing(
        reason="no control group that passes on memory, pids or cpu may be written to by this user",
        remedy=f"start with {DELEGATE}; in a container as its only process, with control groups "
        "mounted writable",
    )


def version_1(found: Iterable[Mount], groups: dict[str, str], view: View) -> tuple[Branch, ...]:
    """One branch for each hierarchy with a controller that counts and a group we may write to."""
    places: dict[frozenset[str], Branch] = {}
    for mount in found:
        if mount.version != 1 or not mount.controllers:
            continue
        branch = _branch_1(mount, groups, view)
        known = places.get(mount.controllers)
        if branch is not None and (known is None or (branch.ours and not known.ours)):
            places[mount.controllers] = branch
    return tuple(places.values())


def _branch_1(mount: Mount, groups: dict[str, str], view: View) -> Branch | None:
    path = next((groups[name] for name in sorted(mount.controllers) if name in groups), None)
    own = None if path is None else _shown(path, mount)
    ours = own is not None and view.read(f"{own}/cgroup.procs") is not None
    folder = own if own is not None and ours else mount.point
    if not view.writable(folder):
        return None
    return Branch(
        version=1,
        folder=folder,
        top=mount.point,
        controllers=mount.controllers,
        ours=ours,
    )


def _shown(path: str, mount: Mount) -> str | None:
    """Where a mount shows a group, None when the group is outside of what it shows."""
    if ".." in path.split("/") or ".." in mount.root.split("/"):
        return None
    root = mount.root.rstrip("/")
    if path != root and not path.startswith(f"{root}/"):
        return None
    return (mount.point.rstrip("/") + path[len(root) :]).rstrip("/")


def version_2(found: Iterable[Mount], groups: dict[str, str], view: View) -> tuple[Branch, ...]:
    """Our own group or the nearest above it that holds the most limits."""
    best: tuple[Branch, ...] = ()
    for mount in found:
        own = _shown(groups.get("", "/.."), mount) if mount.version == 2 else None
        for folder in () if own is None else _upwards(own, mount.point):
            branch = _branch_2(folder, mount.point, view, ours=folder == own)
            if branch is not None and len(held((branch,))) > len(held(best)):
                best = (branch,)
    return best


def _upwards(folder: str, top: str) -> Iterator[str]:
    while len(folder) > len(top):
        yield folder
        folder = folder.rpartition("/")[0]
    yield top


def _branch_2(folder: str, top: str, view: View, *, ours: bool) -> Branch | None:
    if not (view.writable(folder) and view.writable(f"{folder}/cgroup.procs")):
        return None
    passed_on = _words(view, f"{folder}/cgroup.subtree_control")
    enable = (_words(view, f"{folder}/cgroup.controllers") & set(CONTROLLERS)) - passed_on
    vacate = bool(enable) and ours and _alone(folder, view)
    may = view.writable(f"{folder}/cgroup.subtree_control") and (vacate or _empty(folder, view))
    enable = enable if may else frozenset()
    return Branch(
        version=2,
        folder=folder,
        top=top,
        controllers=frozenset((passed_on & set(CONTROLLERS)) | enable),
        ours=ours,
        enable=tuple(sorted(enable)),
        vacate=vacate and may,
    )


def _alone(folder: str, view: View) -> bool:
    """Whether we are the only process in a group that has to be empty of processes."""
    me = (view.read("/proc/self/stat") or "").partition(" ")[0]
    inside = (view.read(f"{folder}/cgroup.procs") or "").split()
    return inside == [me] and not _is_root(folder, view)


def _empty(folder: str, view: View) -> bool:
    return _is_root(folder, view) or not (view.read(f"{folder}/cgroup.procs") or "").strip()


def _is_root(folder: str, view: View) -> bool:
    """Only the real root, the one without a type, passes controllers on with processes in it."""
    return view.read(f"{folder}/cgroup.type") is None


def _words(view: View, path: str) -> frozenset[str]:
    return frozenset((view.read(path) or "").split())
