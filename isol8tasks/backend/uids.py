"""Uids that no two sandboxes have at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from isol8tasks.backend.folders import make_folder
from isol8tasks.errors import SandboxError

FIRST_UID = 64000
MOST_UIDS = 1000


class UidLease:
    """A number that no other sandbox with this cache has as its uid, as long as this is open.

    `host_uid` is the uid that it has on the host when root starts it directly. Nobody else can give
    one: there it is None, and the sandbox runs as its caller or as the engine maps it.
    """

    def __init__(self, cache: Path) -> None:
        self._lock = -1
        self.uid = self._take(cache / "uids")
        self.host_uid = self.uid if os.geteuid() == 0 else None

    def _take(self, folder: Path) -> int:
        if not folder.is_dir():
            make_folder(folder)
        for uid in range(FIRST_UID, FIRST_UID + MOST_UIDS):
            lock = os.open(folder / str(uid), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                self._lock = lock
                return uid
        raise SandboxError(f"more than {MOST_UIDS} sandboxes at a time")

    def close(self) -> None:
        """Give the uid back; may be repeated."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
