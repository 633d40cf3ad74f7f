"""Believe a limit only after it tripped, and remember that for as long as this boot lasts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from isol8tasks import __version__
from isol8tasks.backend.folders import draft_of
from isol8tasks.model.limits import Limit, Limits
from isol8tasks_bubblewrap.cgroups import Group, Hierarchy

Run = Callable[[Group, tuple[str, ...]], object]
"""Runs a program (argv; /bin/sh and sleep) in a trivial sandbox inside a group, to its end.

However the program ends is fine, and what it prints is of no interest.
"""

_LOW = {
    Limit.MEMORY: Limits(memory=16 << 20),
    Limit.PIDS: Limits(pids=12),
    Limit.CPUS: Limits(cpus=0.2),
}
_PROGRAMS = {
    Limit.MEMORY: f"x=0123456789abcdef; for i in {'x ' * 22}; do x=$x$x; done",  # 64 MiB
    Limit.PIDS: " | ".join([":"] * 24),
    Limit.CPUS: "(sleep 0.1; kill $$) & while :; do :; done",
}
"""Each goes well past its limit, and ends soon where that is not held."""

_MOST_REMEMBERED = 16
_TRIES = 4


def trip(hierarchy: Hierarchy, run: Run) -> dict[Limit, bool]:
    """Trip every limit that the hierarchy claims to hold; which of them did. Takes 0.2 s.

    More than once, as on a loaded machine a busy program may not get as much as its limit.
    """
    return {
        limit: any(_trip(hierarchy, run, limit) for _ in range(_TRIES))
        for limit in _LOW
        if limit in hierarchy.holds
    }


def _trip(hierarchy: Hierarchy, run: Run, limit: Limit) -> bool:
    group = hierarchy.create(_LOW[limit])
    try:
        started = time.monotonic()
        run(group, ("/bin/sh", "-c", _PROGRAMS[limit]))
        return _held(group, limit, time.monotonic() - started)
    finally:
        group.close()


def _held(group: Group, limit: Limit, wall: float) -> bool:
    """Of the processor the kernel has to say so: on a loaded machine little use proves nothing."""
    used = group.usage()
    if limit is Limit.MEMORY:
        return used.oom_killed
    if limit is Limit.PIDS:
        return used.pids_denied
    return group.throttled() and (used.cpu_seconds is None or used.cpu_seconds < 0.75 * wall)


def tripped(
    hierarchy: Hierarchy,
    run: Run,
    cache: Path,
    *,
    find: Callable[[Hierarchy, Run], dict[Limit, bool]] = trip,
) -> dict[Limit, bool]:
    """What `find` found earlier in this boot, else now; only a full success is remembered."""
    file, key = cache / "verified.json", _key(hierarchy)
    known = _recall(file)
    if key in known:
        return dict.fromkeys(hierarchy.holds, True)
    found = find(hierarchy, run)
    if all(found.values()):
        _remember(file, [*known, key])
    return found


def _key(hierarchy: Hierarchy) -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    places = (
        f"{branch.folder}={'+'.join(sorted(branch.controllers))}" for branch in hierarchy.branches
    )
    return " ".join((boot, str(os.geteuid()), __version__, *sorted(places)))


def _recall(file: Path) -> list[str]:
    """The keys of what tripped; a damaged file says nothing."""
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text())
        if isinstance(known, list) and all(isinstance(key, str) for key in known):
            return known
    return []


def _remember(file: Path, keys: list[str]) -> None:
    """Losing this costs a quarter of a second the next time, so it never fails."""
    draft = draft_of(file)
    with suppress(OSError):
        draft.write_text(json.dumps(keys[-_MOST_REMEMBERED:], indent=1))
        draft.replace(file)
