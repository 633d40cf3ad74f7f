"""How a container's first process ended, from the kernel where it tells, else from the engine."""

from __future__ import annotations

import fcntl
import os
import signal
import struct

import attrs

_GET_INFO = 0xC040FF0B
_EXITED = 1 << 3
_INFO = struct.Struct("=QQ12I")
"""struct pidfd_info of linux/pidfd.h in its first version, where exit_code comes last."""


@attrs.frozen(kw_only=True)
class Ended:
    """The exit code, as a shell would give it; None when the init itself was killed."""

    code: int | None
    oom_killed: bool | None = None


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that was reaped, whoever reaped it; None while it is a zombie.

    Linux 6.15 and later tell that (PIDFD_GET_INFO with PIDFD_INFO_EXIT); OSError elsewhere.
    """
    try:
        asked = _asked(pidfd)
    except ProcessLookupError:  # also said of one that is reaped in this very moment
        asked = _asked(pidfd)
    mask, *rest = _INFO.unpack(bytes(asked))
    return int(rest[-1]) if mask & _EXITED else None


def _asked(pidfd: int) -> bytearray:
    asked = bytearray(_INFO.pack(_EXITED, *[0] * 13))
    fcntl.ioctl(pidfd, _GET_INFO, asked)
    return asked


def from_status(status: int) -> Ended:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        return Ended(code=None)
    return Ended(code=os.waitstatus_to_exitcode(status))


def signal_name(code: int | None) -> str | None:
    """The signal behind a code above 128, by the convention of shells, which inits follow too."""
    try:
        return signal.Signals(code - 128).name if code is not None and code > 128 else None
    except ValueError:
        return None
