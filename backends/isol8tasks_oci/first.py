"""The first process of a container, seen from this host."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from isol8tasks.errors import SandboxError
from isol8tasks_oci.accounts import Accounts, Usage
from isol8tasks_oci.client import Engine, State
from isol8tasks_oci.ended import Ended, exit_status, from_status

_GRACE = 10.0
"""Seconds for what takes milliseconds, unless the engine or the kernel is stuck."""


class FirstProcess:
    """A handle on the process whose end is the end of all others in its container.

    `token` is a word of its command line that no other process has. `namespace` is the inode of its
    process namespace, None where that is not for us to see.
    """

    def __init__(self, engine: Engine, container: str, token: str) -> None:
        self._engine = engine
        self._container = container
        self._lock = threading.Lock()
        pid = engine.state(container).pid
        self.handle = self._open(pid, token)
        self._accounts = Accounts(pid, container)
        self.namespace: int | None = None
        with suppress(OSError):
            self.namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino

    def _open(self, pid: int, token: str) -> int:
        """A handle on the right process: its number may be of another pid namespace than ours."""
        try:
            handle = os.pidfd_open(pid)
        except (OSError, ValueError) as error:
            raise self._gone() from error
        deadline = time.monotonic() + _GRACE
        while token.encode() not in _words_of(pid):  # the engine's own program is there first
            if _readable(handle, 0.001) or time.monotonic() > deadline:
                os.close(handle)
                raise self._gone()
        return handle

    def _gone(self) -> SandboxError:
        state = self._engine.state(self._container)
        said = state.error or (
            f"it ended with code {state.exit_code}" if state.ended else "it is not on this host"
        )
        return SandboxError(
            f"the container did not start: {said}",
            hint="the image needs a /bin/sh that works" if state.exit_code in {126, 127} else "",
        )

    def kill(self) -> None:
        """End it, and with it all others; harmless when it is gone."""
        with self._lock:
            if self.handle < 0:
                return
            try:
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
            except ProcessLookupError:
                return
            except PermissionError:
                self._engine.kill(self._container)

    def usage(self) -> Usage:
        """What all of them used; ask as soon as it ended."""
        return self._accounts.read()

    def wait(self) -> None:
        """Wait for the end of a killed one, and so of all others."""
        if not _readable(self.handle, _GRACE):
            raise SandboxError(f"a killed container was not gone after {_GRACE:.0f} s")

    def ended(self, *, ask: bool) -> Ended:
        """How it ended. `ask` wants the engine's word on memory, too."""
        self.wait()
        status = None if ask else self._status()
        if status is not None:
            return from_status(status)
        state = self._engine_state()
        return Ended(code=state.exit_code, oom_killed=state.oom_killed)

    def _status(self) -> int | None:
        """Known when its parent, which is the engine's, has taken note of its end."""
        deadline, pause = time.monotonic() + 1, 0.0002
        with suppress(OSError):  # this kernel does not tell
            while (status := exit_status(self.handle)) is None and time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(2 * pause, 0.01)
            return status
        return None

    def _engine_state(self) -> State:
        deadline, pause = time.monotonic() + _GRACE, 0.001
        while not (state := self._engine.state(self._container)).ended:
            if time.monotonic() > deadline:
                raise SandboxError(f"{self._engine.name} does not say how a container ended")
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return state

    def close(self) -> None:
        """Let go of it; may be repeated."""
        with self._lock:
            if self.handle >= 0:
                os.close(self.handle)
                self._accounts.close()
            self.handle = -1


def _words_of(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def _readable(handle: int, seconds: float) -> bool:
    """Whether a process ended, within so many seconds."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
