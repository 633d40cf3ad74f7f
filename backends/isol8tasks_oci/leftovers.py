"""Containers whose runner is gone."""

from __future__ import annotations

import platform
import time
from contextlib import suppress

from isol8tasks.backend.owner import Owner
from isol8tasks_oci.client import Engine, EngineError, Listed
from isol8tasks_oci.container import NAME

_HOST = "isol8tasks.host"


def sweep_containers(engine: Engine, label: str, *, local: bool, older_than: float | None) -> int:
    """Remove the containers of runs that died; how many that was.

    A foreign container has no such label. What only another host or another process namespace can
    judge goes only when it is older than so many seconds.
    """
    dead = [each for each in engine.containers(label) if _left(each, label, local, older_than)]
    removed = 0
    for each in dead:
        with suppress(EngineError):  # a stuck one keeps no new run, and no other, waiting
            engine.remove(each.id)
            removed += 1
    return removed


def _left(container: Listed, label: str, local: bool, older_than: float | None) -> bool:
    labels = dict(container.labels)
    owner = Owner.parse(labels.get(label, ""))
    if owner is None or not container.name.startswith(NAME):  # an image hands its labels down
        return False
    alive = owner.alive()
    ours = local and labels.get(_HOST) == platform.node()  # a local socket may be a forwarded one
    if alive is False and not ours and owner.boot != Owner.current().boot:
        alive = None  # perhaps another host that uses the same engine
    if alive is None:
        return older_than is not None and time.time() - container.created > older_than
    return not alive
