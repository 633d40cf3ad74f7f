"""A sandbox on an engine of this host: the kernel, and not the engine, carries what is urgent.

Its first process waits, so that it can be started ahead of need; its streams are FIFOs of ours, its
files are in a sized mount of ours, and its end is read from the kernel. So nothing of a stage goes
through the engine but create, start and remove.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from isol8tasks.backend.contract import Fetched, OutputSink, SandboxSpec, TreeEntry
from isol8tasks.backend.files import not_placed
from isol8tasks.backend.folders import remove_tree
from isol8tasks.backend.uids import UidLease
from isol8tasks.backend.watch import MemoryWatch
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import Exit
from isol8tasks_oci import groups
from isol8tasks_oci.accounts import Usage
from isol8tasks_oci.client import Bind, ContainerSpec, Engine
from isol8tasks_oci.ended import signal_name
from isol8tasks_oci.first import FirstProcess
from isol8tasks_oci.guard import Guard
from isol8tasks_oci.pipes import Pipes
from isol8tasks_oci.places import Places
from isol8tasks_oci.waiting import Ceilings, command, script

_PIPES = "/run/isol8tasks"
_MOST_ARGUMENTS = 128 << 10
_KILLED = 137


@attrs.frozen(kw_only=True)
class NearShop:
    """What the sandboxes of a run share. `folder` is this run's own.

    `grouped` tells that the engine puts a container into a control group of ours; `watch` looks
    after memory where no control group does.
    """

    engine: Engine
    places: Places
    guard: Guard
    watch: MemoryWatch
    folder: Path
    hosts: Path
    grouped: bool = False


class NearSandbox:
    """One container, started and waiting from the beginning."""

    def __init__(
        self,
        shop: NearShop,
        spec: SandboxSpec,
        container: ContainerSpec,
        lease: UidLease,
        ceilings: Ceilings,
    ) -> None:
        self._shop = shop
        self._spec = spec
        self._uid = lease.uid
        self._ceilings = ceilings
        self._env = container.env
        token = secrets.token_hex(6)
        self._folder = shop.folder / token
        self._group = groups.name_of(token) if shop.grouped else ""
        self._lock = threading.Lock()
        self._killed = False
        self._overgrown = False
        with ExitStack() as undo:
            undo.callback(lease.close)
            self._folder.mkdir(0o700)
            undo.callback(remove_tree, self._folder)
            self._make_places(undo)
            self._pipes = Pipes(self._folder / "pipes")
            undo.callback(self._pipes.close)
            if self._group:
                undo.callback(groups.remove, self._group)
            # By its name, as an answer that never comes may still have made it.
            undo.callback(shop.engine.remove, container.name)
            self._id = shop.engine.create(self._complete(container))
            shop.engine.start(self._id)
            self._first = FirstProcess(shop.engine, self._id, container.name)
            undo.callback(self._first.close)
            undo.callback(shop.guard.drop, self._first.handle)
            shop.guard.add(self._first.handle)
            self._undo = undo.pop_all()

    @property
    def _place(self) -> Path:
        return self._folder / "places"

    def _make_places(self, undo: ExitStack) -> None:
        undo.callback(self._shop.places.unmake, self._place)
        try:
            self._shop.places.make(
                self._place, uid=self._uid, size=self._spec.limits.disk, workdir=self._spec.workdir
            )
        except OSError as error:
            raise SandboxError(f"cannot make a sized folder: {error.strerror}") from error

    def _complete(self, container: ContainerSpec) -> ContainerSpec:
        workdir = "/".join(filter(None, ("/sandbox", self._spec.workdir)))
        declared = frozenset(name for name, _ in self._env)
        return attrs.evolve(
            container,
            argv=("/bin/sh", "-c", script(_PIPES, declared, self._ceilings), "sh", container.name),
            env=(),  # it comes with the command: what an engine knows, it shows and writes down
            group=f"/{self._group}" if self._group else "",
            workdir=workdir,
            binds=(
                Bind(source=f"{self._place}/sandbox", target="/sandbox"),
                Bind(source=f"{self._place}/tmp", target="/tmp"),  # noqa: S108 -- the sandbox's own
                Bind(source=f"{self._place}/shm", target="/dev/shm"),  # noqa: S108
                Bind(source=str(self._pipes.folder), target=_PIPES, read_only=True),
                *self._hosts(),
            ),
        )

    def _hosts(self) -> tuple[Bind, ...]:
        if self._spec.network.mode != "none":
            return ()
        return (Bind(source=str(self._shop.hosts), target="/etc/hosts", read_only=True),)

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Place inputs; only a process that waits runs there yet."""
        try:
            self._shop.places.put(self._place, tree, uid=self._uid)
        except OSError as error:
            raise not_placed(error, self._spec.limits.disk) from error

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Let the waiting process become the program, and see that to its end."""
        if max(map(len, argv)) >= _MOST_ARGUMENTS:
            raise SandboxError("an argument is longer than the 128 KiB that Linux takes")
        with self._lock:
            killed = self._killed
        if killed:
            return self._unstarted()
        try:
            if not self._pipes.greeted(self._first.handle):
                return self._unstarted()
            if stdin:
                self._pipes.give(stdin)
            words = command(argv, self._env, stdin=bool(stdin))
            with self._watched():
                self._pipes.pump(words, sink, self._first.handle)
            return self._judged()
        except BaseException:
            self.kill()
            raise

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Kill it when all of it has too much memory, where nobody else does."""
        namespace = self._first.namespace
        if self._ceilings.memory is None or namespace is None:
            yield
            return
        self._shop.watch.add(namespace, self._ceilings.memory, self._overgrow)
        try:
            yield
        finally:
            self._shop.watch.drop(namespace)

    def _overgrow(self) -> None:
        self._overgrown = True
        self.kill()

    def _unstarted(self) -> Exit:
        if self._killed:
            self._first.wait()  # nothing may run any more when outputs are looked at
            return Exit(code=None)
        code = self._first.ended(ask=False).code
        raise SandboxError(
            f"the container's /bin/sh ended with {code} before it could start the program",
            hint="the image needs a /bin/sh that works",
        )

    @property
    def _held(self) -> bool:
        """Whether the engine was asked to hold the memory of all."""
        return self._ceilings.memory is None

    def _judged(self) -> Exit:
        used = self._first.usage()
        ended = self._first.ended(ask=used.oom_killed is None and self._held)
        killed = ended.oom_killed if used.oom_killed is None else used.oom_killed
        code = None if self._killed and ended.code == _KILLED else ended.code
        limit = Limit.MEMORY if killed or self._overgrown else None
        if limit is None and code not in {0, None} and self._shop.places.full(self._place):
            limit = Limit.DISK
        return attrs.evolve(self._exit(code, used), limit=limit)

    def _exit(self, code: int | None, used: Usage) -> Exit:
        peak = used.peak_memory_bytes
        if peak is not None and self._held:
            peak = min(peak, self._spec.limits.memory)
        return Exit(
            code=code,
            signal=signal_name(code),
            peak_memory_bytes=peak,
            cpu_seconds=used.cpu_seconds,
        )

    def kill(self) -> None:
        """End every process; a later `run` ends at once."""
        with self._lock:
            self._killed = True
        self._first.kill()

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        """Copy out what matches; every process of the sandbox is gone by now."""
        try:
            return self._shop.places.fetch(
                self._place, self._spec.workdir, globs, into, max_bytes=max_bytes
            )
        except OSError as error:
            raise SandboxError(f"cannot copy the outputs: {error.strerror}") from error

    def close(self) -> None:
        """Leave nothing behind; may be repeated."""
        self.kill()  # an engine that does not answer must not keep it running
        with self._lock:
            undo, self._undo = self._undo, ExitStack()
        undo.close()
