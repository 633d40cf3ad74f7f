"""One sandbox: a folder on the host behind /sandbox, and one bwrap process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import attrs

from isol8tasks.backend.contract import Fetched, OutputSink, SandboxSpec, TreeEntry
from isol8tasks.backend.folders import remove_tree
from isol8tasks.errors import SandboxError
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.argv import SYSTEM_PATH, Layout
from isol8tasks_bubblewrap.bake import BakedImage
from isol8tasks_bubblewrap.files import collect, make_folder, place
from isol8tasks_bubblewrap.host import UidLease, identity_files, userland
from isol8tasks_bubblewrap.process import BwrapProcess, Launcher
from isol8tasks_bubblewrap.rlimits import limited

_MOST_ARGUMENTS = 128 << 10


@attrs.frozen(kw_only=True)
class Workshop:
    """What all sandboxes of a backend share: how to start one, and where their folders are."""

    launcher: Launcher
    cache: Path
    folder: Path


class BubblewrapSandbox:
    """A fresh sandbox; its folder and its uid are nobody else's."""

    def __init__(self, shop: Workshop, spec: SandboxSpec, image: BakedImage, number: int) -> None:
        self._shop = shop
        self._spec = spec
        self._image = image
        self._lease = UidLease(shop.cache)
        self._folder = shop.folder / str(number)
        self._lock = threading.Lock()
        self._process: BwrapProcess | None = None
        self._killed = False
        try:
            self._make_folder()
        except BaseException:
            self._lease.close()
            raise

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700)
        if self._lease.host_uid is not None:
            os.chown(self._folder, self._lease.host_uid, self._lease.host_uid)
        if self._spec.workdir:
            make_folder(self._folder, self._spec.workdir, owner=self._lease.host_uid)

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Place inputs; nothing runs here yet."""
        try:
            place(tree, self._folder, owner=self._lease.host_uid)
        except OSError as error:
            raise SandboxError(f"cannot place the inputs: {error}") from error

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Run one program to its end."""
        if max(map(len, argv)) >= _MOST_ARGUMENTS:
            raise SandboxError("an argument is longer than the 128 KiB that Linux takes")
        with self._lock:
            if self._killed:
                return Exit(code=None)
            self._process = self._shop.launcher.start(
                self._layout(argv), user=self._lease.host_uid, stdin=stdin
            )
        return self._process.finish(sink)

    def _layout(self, argv: tuple[str, ...]) -> Layout:
        mounts, links = userland()
        network = self._spec.network.mode
        return Layout(
            uid=self._lease.uid,
            argv=limited(argv, self._spec.limits),
            read_only=(*mounts, *identity_files(self._shop.cache, network), *self._image.mounts),
            links=links,
            workspace=str(self._folder),
            workdir=self._spec.workdir,
            network=network,
            env=self._environment(),
        )

    def _environment(self) -> tuple[tuple[str, str], ...]:
        env = {
            "PATH": ":".join((*self._image.path, SYSTEM_PATH)),
            "HOME": "/tmp",  # noqa: S108 -- the sandbox's own
            "TMPDIR": "/tmp",  # noqa: S108
            "LANG": "C.UTF-8",
        }
        return tuple({**env, **dict(self._image.env), **dict(self._spec.env)}.items())

    def kill(self) -> None:
        """End every process; a later `run` ends at once."""
        with self._lock:
            self._killed = True
            process = self._process
        if process is not None:
            process.kill()

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        """Copy out what matches; every process of the sandbox is gone by now."""
        try:
            return collect(self._folder, self._spec.workdir, globs, into, max_bytes=max_bytes)
        except OSError as error:
            raise SandboxError(f"cannot copy the outputs: {error}") from error

    def close(self) -> None:
        """Leave nothing behind; may be repeated."""
        self.kill()
        remove_tree(self._folder)
        self._lease.close()
