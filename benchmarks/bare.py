"""bwrap by hand: the same flags as the backend's, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import bench
from isol8tasks_bubblewrap.argv import SYSTEM_PATH, Layout, bwrap_options
from isol8tasks_bubblewrap.binary import candidates
from isol8tasks_bubblewrap.host import identity_files, userland
from isol8tasks_bubblewrap.rlimits import limited

from isol8tasks.backend.seccomp import host_filter
from isol8tasks.backend.uids import UidLease
from isol8tasks.model.limits import Limits
from isol8tasks.model.network import NetworkMode


@attrs.frozen(kw_only=True)
class BareBwrap:
    """A sandbox by hand. `user` is the host uid to become first, None to stay who we are."""

    bwrap: str
    options: tuple[str, ...]
    program: tuple[str, ...]
    system_calls: Path
    user: int | None

    @property
    def identity(self) -> dict[str, Any]:
        """Arguments for Popen."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    @property
    def command(self) -> tuple[str, ...]:
        """One command line, for callers that can neither open the filter nor change their user."""
        words = ["sh", "-c", f'exec "$@" 9<{self.system_calls}', "sh"]
        if self.user is not None:
            words += ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return (*words, *self._argv(9))

    def _argv(self, file: int) -> tuple[str, ...]:
        return (self.bwrap, *self.options, "--seccomp", str(file), "--", *self.program)

    def run(self) -> None:
        """One sandbox, which must succeed."""
        with self.system_calls.open("rb") as file:
            number = file.fileno()
            bench.checked(self._argv(number), cwd="/", env={}, pass_fds=[number], **self.identity)


@contextmanager
def bare_bwrap(place: Path, *program: str) -> Iterator[BareBwrap]:
    """The sandbox that the backend gives a stage with default limits and an `Image.bash()`.

    All share one set of plain folders behind /sandbox, /tmp and /dev/shm, where the backend makes a
    sized one for each, and there are no control groups.
    """
    cache, places = place / "cache", place / "bare"
    with closing(UidLease(cache)) as lease:
        for name in ("sandbox", "tmp", "shm"):
            (places / name).mkdir(parents=True)
            if lease.host_uid is not None:
                os.chown(places / name, lease.host_uid, lease.host_uid)
        mounts, links = userland()
        layout = Layout(
            uid=lease.uid,
            argv=limited(program, Limits()),
            read_only=(*mounts, *identity_files(cache, NetworkMode.NONE)),
            links=links,
            places=str(places),
            env=(("PATH", SYSTEM_PATH), ("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8")),
        )
        system_calls = place / "system-calls"
        system_calls.write_bytes(host_filter())
        yield BareBwrap(
            bwrap=str(next(candidates(cache)).usable),
            options=tuple(bwrap_options(layout)),
            program=layout.argv,
            system_calls=system_calls,
            user=lease.host_uid,
        )
