"""A control group of ours around each container's own, which an engine removes too early.

What was used is summed up in ours, and can be read there when the container is long gone. Only
where an engine makes groups itself (cgroupfs); systemd would take ours for its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from isol8tasks.backend import cgroup_tree as tree
from isol8tasks.backend.owner import Owner
from isol8tasks.errors import SandboxError
from isol8tasks_oci.container import NAME

ROOT = "/sys/fs/cgroup"
_PATIENCE = 2.0
"""Seconds for an engine's own processes, such as conmon, to leave a group by themselves."""


def name_of(token: str) -> str:
    """A group's name: whose it is, and which one."""
    return f"{NAME}{Owner.current()}-{token}"


def ours_around(group: str) -> str:
    """The group of ours around a container's, an empty text when there is none."""
    outer = os.path.dirname(group)
    return outer if os.path.basename(outer).startswith(NAME) else ""


def remove(name: str, *, root: str = ROOT) -> None:
    """Remove a group from every hierarchy; harmless when it is gone. SandboxError if it stays."""
    left = tuple(f"{top}/{name}" for top in _tops(root) if os.path.exists(f"{top}/{name}"))
    deadline = time.monotonic() + _PATIENCE
    while (left := tree.remove(left, grace=0)) and time.monotonic() < deadline:
        time.sleep(0.005)
    if left := tree.remove(left):
        raise SandboxError(f"cannot remove the control group {left[0]}: it is in use")


def sweep(older_than: float | None, *, root: str = ROOT) -> None:
    """Remove the groups of runs that died, as `Backend.sweep` does with the rest."""
    found = (folder for top in _tops(root) for folder in tree.children(top))
    tree.remove([folder for folder in found if _left(folder, older_than)])


def _tops(root: str) -> Iterator[str]:
    """Version 2 is mounted at the root, the hierarchies of version 1 below it."""
    yield root
    yield from tree.children(root)


def _left(folder: str, older_than: float | None) -> bool:
    name = os.path.basename(folder)
    if not name.startswith(NAME):
        return False
    owner = Owner.parse(name.removeprefix(NAME).rpartition("-")[0])
    if owner is None:
        return False
    # No group outlives a boot: another boot id is another view of this one, as in a container.
    alive = owner.alive() if owner.boot == Owner.current().boot else None
    if alive is not None:
        return not alive
    with suppress(OSError):  # it went just now
        return older_than is not None and time.time() - os.stat(folder).st_mtime > older_than
    return False
