"""The rlimits that are sent with every container."""

from __future__ import annotations

import functools
import resource
from pathlib import Path

_MOST_FILES = 1 << 20
"""Podman's own default; more than that may be more than its service has."""


def ceilings() -> dict[str, int]:
    """Our own hard limits: nothing that we start can have more, be it root or not."""
    most = {"nofile": _MOST_FILES, "nproc": _most_processes()}
    ours = {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    }
    return {
        name: most[name] if hard == resource.RLIM_INFINITY else min(hard, most[name])
        for name, hard in ours.items()
    }


@functools.cache
def _most_processes() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text())
