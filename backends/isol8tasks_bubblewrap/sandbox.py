"""One sandbox: its writable places, its control group and one bwrap process."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import attrs

from isol8tasks.backend.contract import Fetched, OutputSink, SandboxSpec, TreeEntry
from isol8tasks.backend.files import collect, make_folder, not_placed, place
from isol8tasks.backend.folders import remove_tree
from isol8tasks.backend.uids import UidLease
from isol8tasks.backend.watch import MemoryWatch
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.argv import SYSTEM_PATH, Layout
from isol8tasks_bubblewrap.bake import BakedImage
from isol8tasks_bubblewrap.cgroups import Group, Hierarchy, Usage
from isol8tasks_bubblewrap.host import identity_files, userland
from isol8tasks_bubblewrap.process import BwrapProcess, Launcher
from isol8tasks_bubblewrap.rlimits import limited, loaded, processors

_MOST_ARGUMENTS = 128 << 10
_BYTES_PER_INODE = 4096
_FEWEST_INODES = 1024
_OUR_PROCESSES = 2
"""bwrap and its init, which are in the group too."""


@attrs.frozen(kw_only=True)
class Workshop:
    """What all sandboxes of a backend share: how to start one, and where their folders are.

    `hierarchy` is where control groups are made, None on a host that lets us make none; `held` are
    the limits that they were seen to hold. The others are held per process as well. `watch` looks
    after memory where none does.
    """

    launcher: Launcher
    cache: Path
    folder: Path
    hierarchy: Hierarchy | None = None
    held: frozenset[Limit] = frozenset()
    watch: MemoryWatch | None = None


class BubblewrapSandbox:
    """A fresh sandbox; its places, its group and its uid are nobody else's."""

    def __init__(self, shop: Workshop, spec: SandboxSpec, image: BakedImage, number: int) -> None:
        self._shop = shop
        self._spec = spec
        self._image = image
        self._number = number
        self._places = shop.folder / str(number)
        self._lock = threading.Lock()
        self._process: BwrapProcess | None = None
        self._killed = False
        with ExitStack() as undo:
            self._lease = UidLease(shop.cache)
            undo.callback(self._lease.close)
            self._root = self._make_places(spec.limits)
            undo.callback(self._free_places)
            if spec.workdir:
                make_folder(self._root, spec.workdir, owner=self._lease.host_uid)
            self._group = self._make_group(spec.limits)
            self._undo = undo.pop_all()

    def _make_places(self, limits: Limits) -> int:
        inodes = max(_FEWEST_INODES, limits.disk // _BYTES_PER_INODE)
        holder = self._shop.launcher.holder
        uid = self._lease.host_uid
        owner = os.geteuid() if uid is None else uid
        return holder.make(self._places, uid=owner, size=limits.disk, inodes=inodes)

    def _free_places(self) -> None:
        os.close(self._root)
        self._shop.launcher.holder.unmake(self._places)
        if os.path.lexists(self._places):
            remove_tree(self._places)

    def _make_group(self, limits: Limits) -> Group | None:
        if self._shop.hierarchy is None:
            return None
        return self._shop.hierarchy.create(_with_ours(limits))

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Place inputs; nothing runs here yet."""
        try:
            place(tree, self._root, owner=self._lease.host_uid)
        except OSError as error:
            raise not_placed(error, self._spec.limits.disk) from error

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Run one program to its end."""
        if max(map(len, argv)) >= _MOST_ARGUMENTS:
            raise SandboxError("an argument is longer than the 128 KiB that Linux takes")
        with self._lock:
            if self._killed:
                return Exit(code=None)
            self._process = self._start(argv, stdin)
        try:
            ended = self._process.finish(sink)
        except SandboxError:
            if not self._usage().oom_killed:
                raise
            ended = Exit(code=None)  # the kernel took bwrap itself
        return self._judged(ended, overgrown=self._process.overgrown)

    def _start(self, argv: tuple[str, ...], stdin: bytes) -> BwrapProcess:
        layout, uid = self._layout(argv), self._lease.host_uid
        held = self._shop.held
        cpus = () if Limit.CPUS in held else processors(self._spec.limits, self._number)
        with ExitStack() as stack:
            lists = stack.enter_context(self._group.task_lists()) if self._group else ()
            return self._shop.launcher.start(
                layout,
                user=uid,
                stdin=stdin,
                groups=lists,
                cpus=cpus,
                watch=self._shop.watch,
                memory=self._spec.limits.memory,
            )

    def _usage(self) -> Usage:
        return self._group.usage() if self._group is not None else Usage()

    def _judged(self, ended: Exit, *, overgrown: bool) -> Exit:
        """The exit with what the kernel counted, and the limit that it saw trip, or we."""
        usage = self._usage()
        limit = Limit.MEMORY if usage.oom_killed or overgrown else None
        if limit is None and ended.code != 0 and self._full():
            limit = Limit.DISK
        return attrs.evolve(
            ended,
            limit=limit,
            peak_memory_bytes=usage.peak_memory_bytes,
            cpu_seconds=usage.cpu_seconds,
        )

    def _full(self) -> bool:
        if not self._shop.launcher.holder.sized:
            return False
        space = os.fstatvfs(self._root)
        return not space.f_bfree or not space.f_ffree

    def _layout(self, argv: tuple[str, ...]) -> Layout:
        mounts, links = userland()
        network = self._spec.network.mode
        env = self._environment()
        late = tuple(pair for pair in env if loaded(pair[0]))
        return Layout(
            uid=self._lease.uid,
            argv=limited(argv, self._spec.limits, self._shop.held, late),
            read_only=(*mounts, *identity_files(self._shop.cache, network), *self._image.mounts),
            links=links,
            places=str(self._places),
            workdir=self._spec.workdir,
            network=network,
            env=tuple(pair for pair in env if pair not in late),
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
            return collect(self._root, self._spec.workdir, globs, into, max_bytes=max_bytes)
        except OSError as error:
            raise SandboxError(f"cannot copy the outputs: {error.strerror}") from error

    def close(self) -> None:
        """Leave nothing behind; may be repeated."""
        self.kill()
        with self._lock:
            undo, self._undo = self._undo, ExitStack()
        with undo:
            if self._group is not None:
                self._group.close()


@functools.cache
def _with_ours(limits: Limits) -> Limits:
    """The same, with room for our own processes; few stages differ in their limits."""
    return attrs.evolve(limits, pids=limits.pids + _OUR_PROCESSES)
