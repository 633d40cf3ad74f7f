"""The backend: which bwrap, what it can do here, its images and its sandboxes."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from isol8tasks.backend.contract import (
    BackendOptions,
    Cancellation,
    LineSink,
    PreparedImage,
    Probe,
    SandboxSpec,
    Stream,
)
from isol8tasks.backend.folders import ClaimedFolder, make_folder, sweep_claims
from isol8tasks.backend.uids import UidLease
from isol8tasks.errors import BackendUnavailable
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.argv import Layout
from isol8tasks_bubblewrap.bake import BakedImage, Baker
from isol8tasks_bubblewrap.cgroups import find
from isol8tasks_bubblewrap.holder import Holder
from isol8tasks_bubblewrap.host import identity_files, userland
from isol8tasks_bubblewrap.process import BwrapProcess, Launcher
from isol8tasks_bubblewrap.sandbox import BubblewrapSandbox, Workshop
from isol8tasks_bubblewrap.trial import Trial, try_host


class Bubblewrap:
    """Sandboxes by bubblewrap. As root each runs as an unprivileged uid of its own."""

    name = "bubblewrap"

    def __init__(self, options: BackendOptions) -> None:
        self._cache = options.cache
        self._runtime = options.runtime
        self._holder = Holder()
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._trial: Trial | None = None
        self._runs: ClaimedFolder | None = None
        self._bake_lease: UidLease | None = None
        self._baked: dict[PreparedImage, BakedImage] = {}

    def probe(self) -> Probe:
        """Try what this host gives, in trivial sandboxes; once, and the limits once in a boot."""
        return self._tried().probe

    def _tried(self) -> Trial:
        with self._lock:
            if self._trial is None:
                self._trial = (
                    Trial(
                        probe=Probe(reason=f"there is no runtime '{self._runtime}' for bubblewrap")
                    )
                    if self._runtime is not None
                    else try_host(self._cache, self._holder)
                )
            return self._trial

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> PreparedImage:
        """Find or bake an image in the store below the cache folder."""
        baked = self._baker().prepare(image, base=base, sink=sink, cancel=cancel, timeout=timeout)
        self._baked[baked.prepared] = baked
        return baked.prepared

    def images(self) -> tuple[PreparedImage, ...]:
        """The images in the store."""
        return self._baker().images()

    def remove(self, image: PreparedImage) -> None:
        """Forget a baked image."""
        self._baker().remove(image)

    def _baker(self) -> Baker:
        with self._lock:
            if self._bake_lease is None:
                make_folder(self._cache)
                self._bake_lease = UidLease(self._cache)
            return Baker(
                root=self._cache,
                run_in_sandbox=self._run_bake,
                bake_uid=self._bake_lease.host_uid,
            )

    def _run_bake(
        self,
        argv: tuple[str, ...],
        *,
        mounts: Sequence[tuple[str, str]],
        writable: Sequence[tuple[str, str]],
        env: Mapping[str, str],
        sink: Callable[[Stream, bytes], None],
        cancel: Cancellation,
        timeout: float,
    ) -> Exit:
        """One program of a bake, with the host's network."""
        assert self._bake_lease is not None  # noqa: S101 -- the baker was made with it
        host_mounts, links = userland()
        files = identity_files(self._cache, NetworkMode.HOST)
        layout = Layout(
            uid=self._bake_lease.uid,
            argv=argv,
            read_only=(*host_mounts, *files, *mounts),
            writable=tuple(writable),
            links=links,
            network=NetworkMode.HOST,
            env=tuple(env.items()),
            tmp_bytes=4 << 30,
        )
        with ExitStack() as stack:
            lists: tuple[int, ...] = ()
            if (hierarchy := self._tried().hierarchy) is not None:
                group = hierarchy.create(_bake_limits())
                stack.callback(group.close)
                lists = stack.enter_context(group.task_lists())
            launcher, user = self._launcher(), self._bake_lease.host_uid
            process = launcher.start(layout, user=user, groups=lists)
            return _finished(process, sink, cancel, timeout)

    def _launcher(self) -> Launcher:
        trial = self._tried()
        if trial.launcher is None:
            raise BackendUnavailable(f"bubblewrap: {trial.probe.reason}", hint=trial.probe.remedy)
        return trial.launcher

    def create(self, spec: SandboxSpec) -> BubblewrapSandbox:
        """Make a fresh sandbox; nothing runs in it yet."""
        shop = Workshop(
            launcher=self._launcher(),
            cache=self._cache,
            folder=self._run_folder(),
            hierarchy=self._tried().hierarchy,
            held=self._tried().held,
            watch=self._tried().watch,
        )
        return BubblewrapSandbox(shop, spec, self._baked[spec.image], next(self._numbers))

    def _run_folder(self) -> Path:
        with self._lock:
            if self._runs is None:
                parent = self._cache / "runs"
                make_folder(parent)
                self.sweep()
                self._runs = ClaimedFolder(parent, mode=0o711)
            return self._runs.path

    def sweep(self, *, older_than: float | None = None) -> int:
        """Remove the folders and control groups of runs that died; their processes did too.

        Folders carry a lock that the kernel releases with its owner, wherever that ran; only the
        owner of a control group may be in a process namespace that hides it.
        """
        groups = find()
        swept = groups.sweep(older_than, everywhere=True) if groups is not None else 0
        return swept + sweep_claims(self._cache / "runs") + self._baker().sweep()

    def close(self) -> None:
        """End the holder, and with it all that still runs, and remove what is this run's."""
        if self._trial is not None and self._trial.watch is not None:
            self._trial.watch.close()
        self._holder.close()
        with self._lock:
            if self._trial is not None and self._trial.hierarchy is not None:
                self._trial.hierarchy.close()
            if self._runs is not None:
                self._runs.close()
            if self._bake_lease is not None:
                self._bake_lease.close()
            self._runs = self._bake_lease = None


def _bake_limits() -> Limits:
    """Packages that build run strangers' code: it gets most of the machine, and not all."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Limits(memory=machine * 3 // 4, pids=4096, cpus=os.cpu_count() or 1)


def _finished(
    process: BwrapProcess,
    sink: Callable[[Stream, bytes], None],
    cancel: Cancellation,
    timeout: float,
) -> Exit:
    """See a process to its end, within its time and as long as nobody cancels."""
    late = threading.Event()

    def expire() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout, expire)
    timer.start()
    unsubscribe = cancel.on_cancel(process.kill)
    try:
        ended = process.finish(sink)
    finally:
        timer.cancel()
        unsubscribe()
    return attrs.evolve(ended, limit=Limit.TIMEOUT) if late.is_set() else ended
