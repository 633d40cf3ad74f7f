"""Podman's API service, started for ourselves: podman has no daemon that would be there already."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from isol8tasks.errors import BackendUnavailable
from isol8tasks_podman.complaint import unavailable

_PATIENCE = 20.0
_GRACE = 10.0
_END = 4096

_KEEPER = """\
exec 3<&0 </dev/null
"$@" 3<&- &
service=$!
{
  read -r _ <&3
  builds= inner=
  for helper in $(cat /proc/"$service"/task/*/children); do
    case $(tr '\\0' ' ' </proc/"$helper"/cmdline) in
      buildah-*) kill "$helper"; builds=1 ;;
      *"system service"*) inner="$inner $helper" ;;
    esac
  done
  [ -z "$builds" ] || sleep 0.5
  kill "$service" $inner
  tries=0
  while kill -0 "$service" && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -9 "$service" $inner
} 2>/dev/null &
watch=$!
exec 3<&-
wait "$service"
code=$?
kill "$watch" 2>/dev/null
exit "$code"
"""
"""Ends the service when its standard input ends: when we close that, or die of whatever.

Builds end first, so that the service can clean up behind them. Without subordinate uids the service
runs in a child of its own, which does not end with it."""

_STRANGE = ("CONTAINER_HOST", "CONTAINER_CONNECTION", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET")
"""What would make it talk to another service, or to whoever started us."""


class Service:
    """A service on a socket in a private folder, for as long as we live and do not close it.

    It has a session of its own, so that the terminal's Ctrl-C is for us to act on, and a working
    directory that every user can read: without root, podman insists on that.
    """

    def __init__(self, program: str, path: Path, *, runtime: str | None = None) -> None:
        self._path = path
        self._log = path.with_suffix(".log")
        with self._log.open("wb") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "sh", *command(program, path, runtime)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(os.environ),
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{self._path}"

    def wait(self) -> None:
        """Return when it answers; BackendUnavailable says why it does not. Close it also then."""
        deadline = time.monotonic() + _PATIENCE
        while not self._listens():
            if self._keeper.poll() is not None:
                raise self._trouble()
            if time.monotonic() > deadline:
                raise self._trouble(f"it did not answer within {_PATIENCE:g} s")
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self._path))
            return True
        return False

    def _trouble(self, otherwise: str = "") -> BackendUnavailable:
        said = self._log.read_bytes()[-_END:].decode(errors="replace")
        return unavailable(said or otherwise)

    def interrupt(self) -> None:
        """End what its builds run, of which there is at most one at a time for each build."""
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal() and _runs_for(int(entry.name), self._keeper.pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(entry.name), signal.SIGTERM)

    def end(self) -> None:
        """Ask it to end what it does, and itself; returns at once, and may be repeated."""
        assert self._keeper.stdin is not None  # noqa: S101 -- it is a pipe
        with suppress(OSError):
            self._keeper.stdin.close()

    def close(self) -> None:
        """End it and wait for that; may be repeated."""
        self.end()
        try:
            self._keeper.wait(_GRACE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._keeper.pid, signal.SIGKILL)
            self._keeper.wait()
        for path in (self._path, self._log):
            path.unlink(missing_ok=True)


def _runs_for(pid: int, keeper: int) -> bool:
    """Whether it is buildah's helper, a child of a service with this keeper."""
    with suppress(OSError, ValueError, IndexError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"buildah-"):
            return _parent(_parent(pid)) == keeper
    return False


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command(program: str, path: Path, runtime: str | None = None) -> tuple[str, ...]:
    """How it is started: without a time, it would end some seconds after its last request."""
    chosen = ("--runtime", runtime) if runtime else ()
    return (program, *chosen, "system", "service", "--time", "0", f"unix://{path}")


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Its environment: ours, for the proxies and configuration files that are named there."""
    return {name: value for name, value in ours.items() if name not in _STRANGE}
