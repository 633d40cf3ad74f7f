"""Limits per process, where the kernel keeps no account of the whole tree."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

from isol8tasks.model.limits import Limit, Limits

PRLIMIT = Path("/usr/bin/prlimit")
"""From util-linux, in the sandbox too. It sets the limits in there, where the count of processes
is the sandbox's own, and then only executes the program."""


_LOADED = ("LD_", "GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH")
"""Variables that make a program load what they name."""


def loaded(name: str) -> bool:
    """Whether a variable would also reach into the program that sets our limits."""
    return name.startswith(_LOADED)


def limited(
    argv: tuple[str, ...],
    limits: Limits,
    held: frozenset[Limit] = frozenset(),
    env: tuple[tuple[str, str], ...] = (),
) -> tuple[str, ...]:
    """The program behind the limits that are not held otherwise.

    What is not found ends with 127, as from a shell. `env` are variables for the program alone.
    """
    if env:
        plain = argv if "=" not in argv[0] else ("/bin/sh", "-c", 'exec "$@"', "sh", *argv)
        argv = ("/usr/bin/env", "--", *(f"{name}={value}" for name, value in env), *plain)
    if not PRLIMIT.exists():
        return ("/usr/bin/env", "--", *argv)
    words = [str(PRLIMIT), "--core=0"]
    if Limit.PIDS not in held:
        words.append(f"--nproc={_clamped(limits.pids, resource.RLIMIT_NPROC)}")
    if Limit.MEMORY not in held:
        words.append(f"--data={_clamped(limits.memory, resource.RLIMIT_DATA)}")
    return (*words, "--", *argv)


def processors(limits: Limits, number: int) -> tuple[int, ...]:
    """The processors that a sandbox may use, whole ones, none for all; its number spreads them."""
    ours = sorted(os.sched_getaffinity(0))
    count = math.ceil(limits.cpus)
    if count >= len(ours):
        return ()
    return tuple(ours[(number + offset) % len(ours)] for offset in range(count))


def _clamped(value: int, kind: int) -> int:
    """No more than we ourselves may have: asking for that would be an error."""
    _, most = resource.getrlimit(kind)
    return value if most == resource.RLIM_INFINITY else min(value, most)
