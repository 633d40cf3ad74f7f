"""Limits per process, where the kernel keeps no account of the whole tree."""

from __future__ import annotations

from pathlib import Path

from isol8tasks.model.limits import Limits

PRLIMIT = Path("/usr/bin/prlimit")
"""From util-linux, in the sandbox too. It sets the limits in there, where the count of processes
is the sandbox's own, and then only executes the program."""


def limited(argv: tuple[str, ...], limits: Limits) -> tuple[str, ...]:
    """The program behind its limits. What is not found ends with 127, as from a shell."""
    if not PRLIMIT.exists():
        return ("/usr/bin/env", "--", *argv)
    return (
        str(PRLIMIT),
        "--core=0",
        f"--nproc={limits.pids}",
        f"--data={limits.memory}",
        "--",
        *argv,
    )
