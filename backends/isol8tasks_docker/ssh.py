"""The way to a daemon over ssh."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from urllib.parse import SplitResult, urlsplit

from isol8tasks.errors import BackendUnavailable
from isol8tasks_docker.address import SOCKET

_PATIENCE = 60
"""Seconds for ssh to log in."""
_PLAIN = re.compile(r"[A-Za-z0-9._/+-]{1,64}")
"""Folders whose sockets have paths that the kernel takes, and that mean nothing else to `-L`."""
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "20",
    "ControlMaster": "no",
    "ControlPath": "none",  # a shared connection would keep our socket when we are gone
    "LogLevel": "INFO",  # tells why a connection was refused over there
    "RemoteCommand": "none",
    "ServerAliveInterval": "15",
}


class Tunnel:
    """A daemon's socket on another machine, `ssh://[USER@]HOST[:PORT][/SOCKET]`, while we live.

    The `ssh` program is used, as by `docker`: it knows the user's configuration, keys and hosts.
    The SDK's own ways (docker-py 7.2) do not carry a sandbox: with paramiko each stream is one of
    the ten sessions that sshd allows, with the program a read waits until its buffer is full.

    BackendUnavailable says why there is none.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        if self._parts.password is not None:
            raise BackendUnavailable(
                "DOCKER_HOST has a password for ssh, which cannot be used",
                hint="use a key, and an agent that holds it",
            )
        if shutil.which("ssh") is None:
            raise BackendUnavailable(
                "docker is to be reached by ssh, which is not installed",
                hint="apt-get install openssh-client, or point DOCKER_HOST at a socket",
            )
        with ExitStack() as undo:
            self._folder = tempfile.mkdtemp(prefix="isol8tasks-ssh-", dir=_parent())
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._errors = undo.enter_context(tempfile.TemporaryFile())
            process = undo.enter_context(self._started())
            undo.callback(_kill, process)
            if not _echoes(process):
                _kill(process)
                process.wait()
                raise self._refused(self.complaint or "it does not answer")
            self._undo = undo.pop_all()

    @property
    def url(self) -> str:
        """Our end of it."""
        return f"unix://{self._folder}/docker.sock"

    def _started(self) -> subprocess.Popen[bytes]:
        """The shell around it tidies up when we were killed."""
        words = command(self._parts, f"{self._folder}/docker.sock")
        return subprocess.Popen(
            ["/bin/sh", "-c", '"$@"; rm -rf "$0"', self._folder, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for us: we still have to end containers
        )

    def _refused(self, words: str) -> BackendUnavailable:
        where = _destination(self._parts)
        return BackendUnavailable(
            f"ssh does not get to {where}: {words}",
            hint=f"log in once with 'ssh {where}'; it has to know the host's key and to work "
            "without a question",
        )

    @property
    def complaint(self) -> str:
        """The last that ssh said, which is why it gave up."""
        said = os.pread(self._errors.fileno(), 1 << 16, 0).decode(errors="replace")
        return (said.strip().splitlines() or [""])[-1]

    def close(self) -> None:
        """Hang up; may be repeated."""
        undo, self._undo = self._undo, ExitStack()
        undo.close()


def command(parts: SplitResult, socket: str) -> list[str]:
    """Forward the daemon's socket, and copy standard input until that ends, be it by our death."""
    options = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
    forward = f"{socket}:{parts.path if parts.path.strip('/') else SOCKET}"
    return ["ssh", *options, "-aTx", "-L", forward, "--", _destination(parts), "cat"]


def _parent() -> str:
    usual = tempfile.gettempdir()
    return usual if _PLAIN.fullmatch(usual) else "/tmp"  # noqa: S108 -- for mkdtemp


def _destination(parts: SplitResult) -> str:
    return f"ssh://{parts.netloc}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _echoes(process: subprocess.Popen[bytes]) -> bool:
    """Whether the far side answers: then our end is there, too."""
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101 -- pipes
    with suppress(BrokenPipeError):
        process.stdin.write(b"\n")
        process.stdin.flush()
    poll = select.poll()  # `select` takes no descriptor above 1023
    poll.register(process.stdout, select.POLLIN)
    return bool(poll.poll(_PATIENCE * 1000)) and bool(
        process.stdout.read(1)
    )  # a shell over there may speak first
