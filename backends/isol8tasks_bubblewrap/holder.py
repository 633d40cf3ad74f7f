"""Our side of the holder, the process that owns the sandboxes of a run (see `_holder.py`)."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isol8tasks.errors import SandboxError

_PROGRAM = Path(__file__).with_name("_holder.py")


class Holder:
    """Starts the holder with its first use, and ends it, with all it started, when closed.

    Requests are answered one at a time; each takes a millisecond or two.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._sized = False
        self.own_users = False
        """Whether it has its own user namespace, in which its caller may look into everything."""
        self.reason = ""
        """Why it has no namespaces of its own, where it has none."""

    @property
    def sized(self) -> bool:
        """Whether it has namespaces of its own, and so can bound the size of folders."""
        with self._lock:
            self._connected()
            return self._sized

    def make(self, folder: Path, *, uid: int, size: int, inodes: int) -> int:
        """Make the writable places of a sandbox; an open folder, the one behind /sandbox."""
        request = {"do": "make", "folder": str(folder), "uid": uid, "size": size, "inodes": inodes}
        return self._ask(request)[0]

    def unmake(self, folder: Path) -> None:
        """Free what `make` made; a folder without bounds stays, for the caller to remove."""
        self._ask({"do": "unmake", "folder": str(folder)})

    def spawn(
        self,
        words: Sequence[str],
        files: Sequence[int],
        *,
        uid: int | None,
        groups: Sequence[int] = (),
        cpus: Sequence[int] = (),
    ) -> None:
        """Start a program as this uid with these files as its 0, 1, 2 and so on.

        `groups` are open task lists of control groups; the program is born in them. `cpus` are the
        processors that it may use, all of ours when there are none.
        """
        with os.fdopen(os.memfd_create("words", os.MFD_CLOEXEC), "wb") as command:
            command.write(b"\0".join(word.encode(errors="surrogateescape") for word in words))
            command.flush()
            request = {"do": "spawn", "uid": uid, "groups": len(groups), "cpus": list(cpus)}
            self._ask(request, (command.fileno(), *files, *groups))

    def pidfd(self, pid: int) -> int:
        """A handle on a process that is named by its number among the holder's."""
        return self._ask({"do": "pidfd", "pid": pid})[0]

    def proc(self) -> int:
        """An open /proc that shows the processes of all sandboxes, and hardly any other."""
        return self._ask({"do": "proc"})[0]

    def close(self) -> None:
        """End the holder and every process that it started; may be repeated."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            if self._process is not None:
                self._process.wait()
            self._socket = self._process = None

    def _ask(self, request: dict[str, Any], files: Sequence[int] = ()) -> list[int]:
        with self._lock:
            connection = self._connected()
            try:
                _send(connection, request, files)
                reply, back = _receive(connection)
            except OSError as error:
                raise SandboxError(f"the sandboxes' holder is gone: {error}") from error
        if "error" in reply:
            raise SandboxError(f"cannot {request['do']} a sandbox: {reply['error']}")
        return back

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = self._start()
        return self._socket

    def _start(self) -> socket.socket:
        connection = self._try(sized=True)
        self._sized = connection is not None
        connection = connection or self._try(sized=False)
        if connection is None:
            raise SandboxError(f"the sandboxes' holder did not start: {self.reason}")
        return connection

    def _try(self, *, sized: bool) -> socket.socket | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mode = "sized" if sized else "plain"
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), str(theirs.fileno()), mode],
                stdin=subprocess.DEVNULL,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the terminal's Ctrl-C is for us to act on
            )
        greeting, _ = _receive(ours)
        if "error" not in greeting:
            self._process = process
            self.own_users = bool(greeting["own_users"])
            return ours
        self.reason = greeting["error"]
        ours.close()
        process.wait()
        return None


def _send(connection: socket.socket, request: dict[str, Any], files: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    connection.sendmsg([json.dumps(request).encode()], rights)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One answer and its files; an answer says that it is one, silence that nobody is there."""
    space = socket.CMSG_SPACE(4 * 4)
    message, ancillary, _, _ = connection.recvmsg(1 << 16, space, socket.MSG_CMSG_CLOEXEC)
    if not message:
        raise SandboxError("the sandboxes' holder is gone")
    files = array.array("i")
    for _, _, content in ancillary:
        files.frombytes(content[: len(content) - len(content) % 4])
    return json.loads(message), list(files)
