"""Who made something that outlives its maker, in a form that fits a file name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs

_TEXT = re.compile(r"([0-9a-f]{8})-([1-9][0-9]{0,19})-([1-9][0-9]{0,9})-([0-9]{1,20})")
_DEAD = b"ZX"


@attrs.frozen(kw_only=True)
class Owner:
    """One process of one boot: `start` is in clock ticks after boot, so that no reused pid fits.

    `boot` is the first eight digits of the boot id, `namespace` the inode of the pid namespace.
    """

    boot: str
    namespace: int
    pid: int
    start: int

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(boot=_boot(), namespace=_namespace(), pid=pid, start=_life(pid)[1])

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner that `str` wrote, None for any other text."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        namespace, pid, start = map(int, match.groups()[1:])
        return cls(boot=match[1], namespace=namespace, pid=pid, start=start)

    def __str__(self) -> str:
        return f"{self.boot}-{self.namespace}-{self.pid}-{self.start}"

    def alive(self) -> bool | None:
        """Whether the process still runs; None when it is of another pid namespace."""
        if self.boot != _boot():
            return False
        if self.namespace != _namespace():
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass  # somebody else's, and with hidepid its /proc is not ours to see
        try:
            state, start = _life(self.pid)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return start == self.start and state not in _DEAD


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _life(pid: int) -> tuple[bytes, int]:
    """State and start time of a process, fields 3 and 22 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return fields[0], int(fields[19])
