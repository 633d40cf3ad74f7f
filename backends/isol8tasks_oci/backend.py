"""A backend over a container engine; what differs between engines is behind `Engine`."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from contextlib import ExitStack
from pathlib import Path

import attrs

from isol8tasks.backend.contract import (
    BackendOptions,
    Cancellation,
    LineSink,
    PreparedImage,
    Probe,
    Sandbox,
    SandboxSpec,
)
from isol8tasks.backend.folders import ClaimedFolder, draft_of, make_folder, sweep_claims
from isol8tasks.backend.seccomp import to_json
from isol8tasks.backend.syscalls import FILTER, Filter
from isol8tasks.backend.uids import UidLease
from isol8tasks.backend.watch import MemoryWatch
from isol8tasks.errors import BackendUnavailable, Isol8Error, SandboxError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit
from isol8tasks_oci import groups, probe_image, trial
from isol8tasks_oci.bakery import Bakery
from isol8tasks_oci.client import Connect, ContainerSpec, Engine, Facts, LocalImage
from isol8tasks_oci.container import INIT_PROCESSES, NAME, OWNER, Terms, container_spec
from isol8tasks_oci.far import FarSandbox
from isol8tasks_oci.guard import Guard
from isol8tasks_oci.leftovers import sweep_containers
from isol8tasks_oci.near import NearSandbox, NearShop
from isol8tasks_oci.places import OwnPlaces, Places
from isol8tasks_oci.trial import Findings, Way
from isol8tasks_oci.unshared import UnsharedPlaces
from isol8tasks_oci.waiting import Ceilings

_OF_THE_HOST = frozenset({"", "runc", "crun", "io.containerd.runc.v2"})
"""Runtimes that are known to have no kernel of their own."""

_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


@attrs.frozen(kw_only=True)
class _Found:
    engine: Engine
    facts: Facts
    findings: Findings


class ContainerBackend:
    """Sandboxes that are containers. The engine is asked for with the first use."""

    def __init__(self, name: str, *, connect: Connect, options: BackendOptions) -> None:
        self.name = name
        self._connect = connect
        self._options = options
        self._folder = options.cache / f"{name}-runs"
        self._run = secrets.token_hex(4)
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._facts: Facts | None = None
        self._found: _Found | None = None
        self._places: Places | None = None
        self._guard = Guard()
        self._watch = MemoryWatch(lambda: os.open("/proc", os.O_RDONLY | os.O_CLOEXEC))
        self._claim: ClaimedFolder | None = None
        self._bakery: Bakery | None = None
        self._ready: dict[tuple[Image, Digest], LocalImage] = {}

    def probe(self) -> Probe:
        """Ask the engine what it is, and try once in a boot what it holds."""
        try:
            found = self._tried()
        except Isol8Error as error:
            return Probe(reason=error.message, remedy=error.hint)
        except OSError as error:
            return Probe(
                reason=f"{self.name} cannot be tried: {error}",
                remedy="see that this path can be used; another cache folder can be set with the "
                "setting 'cache' (ISOL8TASKS_CACHE)",
            )
        facts, findings = found.facts, found.findings
        remarks = [*facts.remarks]
        if not findings.near:
            remarks.append(f"files and streams go through the engine, which is slow: {_why(found)}")
        return Probe(
            version=facts.version,
            rootless=facts.rootless,
            capabilities=trial.capabilities(findings, facts),
            reason=f"runtime {self._options.runtime or facts.runtime}",
            remarks=tuple(remarks),
        )

    def _connected(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._connect()
            return self._engine

    def _told(self) -> Facts:
        with self._lock:
            if self._facts is None:
                self._facts = self._connected().facts()
            return self._facts

    def _tried(self) -> _Found:
        with self._lock:
            if self._found is None:
                engine, facts = self._connected(), self._told()
                self._check_runtime(facts)
                make_folder(self._options.cache)
                self._found = _Found(
                    engine=engine, facts=facts, findings=self._findings(engine, facts)
                )
            return self._found

    def _check_runtime(self, facts: Facts) -> None:
        runtime = self._options.runtime
        if runtime is None or "." in runtime:  # a shim's name, which Docker does not list
            return
        if facts.runtimes and runtime not in facts.runtimes:
            raise BackendUnavailable(
                f"{self.name} has no runtime '{runtime}'",
                hint=f"it has {', '.join(facts.runtimes)}; add it to the engine's configuration",
            )

    def _findings(self, engine: Engine, facts: Facts) -> Findings:
        file = self._options.cache / f"verified-{self.name}.json"
        key = trial.key_of(facts, self._options.runtime)
        known = trial.recall(file, key) if facts.local else None
        if known is not None:
            self._choose_places(facts, known.near)
            return known
        image = probe_image.ensure(engine)

        def make(way: Way, spec: SandboxSpec) -> Sandbox:
            self._choose_places(facts, way.near)
            return self._sandbox(engine, spec, image, way)

        found = trial.try_ways(ways(facts, self._options.runtime), make)
        if facts.local and (found.own_kernel or found.tripped >= found.sent):
            trial.remember(file, key, found)
        return found

    def _choose_places(self, facts: Facts, near: bool) -> None:
        if self._places is None and near:
            self._places = UnsharedPlaces(facts.enter) if facts.enter else OwnPlaces()

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> PreparedImage:
        """Find, pull or build an image in the engine's own store."""
        ready = self._baker().prepare(image, base=base, sink=sink, cancel=cancel, timeout=timeout)
        self._ready[ready.prepared.image, ready.prepared.identity] = ready.local
        return ready.prepared

    def images(self) -> tuple[PreparedImage, ...]:
        """The images that were built here."""
        return self._baker().images()

    def remove(self, image: PreparedImage) -> None:
        """Forget a built image."""
        self._baker().remove(image)

    def _baker(self) -> Bakery:
        with self._lock:
            if self._bakery is None:
                self._bakery = Bakery(
                    self._connected(), cache=self._options.cache, images=self._options.images
                )
            return self._bakery

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Start a fresh container whose first process waits; nothing of a stage runs in it yet."""
        found = self._tried()
        findings = found.findings
        way = Way(near=findings.near, sent=findings.sent, own_kernel=findings.own_kernel)
        return self._sandbox(found.engine, spec, self._ready_image(spec.image), way)

    def _ready_image(self, image: PreparedImage) -> LocalImage:
        ready = self._ready.get((image.image, image.identity))
        if ready is None:
            raise SandboxError(f"{self.name} has not prepared the image {image.image}")
        return ready

    def _sandbox(self, engine: Engine, spec: SandboxSpec, image: LocalImage, way: Way) -> Sandbox:
        folder = self._run_folder(engine)
        lease = UidLease(self._options.cache)
        try:
            container = self._container(spec, image, way, lease.uid)
            if not way.near:
                return FarSandbox(engine, spec, container, lease)
            assert self._places is not None  # noqa: S101 -- chosen with the way
            shop = NearShop(
                engine=engine,
                places=self._places,
                guard=self._guard,
                watch=self._watch,
                folder=folder,
                hosts=_hosts_file(self._folder),
                grouped=self._told().grouped and os.geteuid() == 0,
            )
            return NearSandbox(shop, spec, container, lease, ceilings(spec, way))
        except BaseException:
            lease.close()
            raise

    def _container(self, spec: SandboxSpec, image: LocalImage, way: Way, uid: int) -> ContainerSpec:
        terms = Terms(
            seccomp=to_json(_filter(way)),
            sent=way.sent,
            runtime=self._options.runtime,
            own_kernel=way.own_kernel,
        )
        return container_spec(
            spec,
            image,
            terms,
            name=f"{NAME}{self._run}-{secrets.token_hex(6)}",
            uid=uid,
            run=self._run,
            host=platform.node(),
        )

    def _run_folder(self, engine: Engine) -> Path:
        """This run's own; the first use removes what crashed runs left."""
        with self._lock:
            if self._claim is None:
                make_folder(self._folder)
                self._sweep(engine, None)
                self._claim = ClaimedFolder(self._folder)
            return self._claim.path

    def sweep(self, *, older_than: float | None = None) -> int:
        """Remove the containers, mounts and folders of runs that died; none where no engine is."""
        try:
            engine = self._connected()
        except BackendUnavailable:
            return 0
        return self._sweep(engine, older_than)

    def _sweep(self, engine: Engine, older_than: float | None) -> int:
        facts = self._told()
        swept = sweep_containers(engine, OWNER, local=facts.local, older_than=older_than)
        near = self._places or (UnsharedPlaces(facts.enter) if facts.enter else OwnPlaces())
        try:
            return swept + sweep_claims(self._folder, release=near.unmake)
        finally:
            if os.geteuid() == 0:
                groups.sweep(older_than)
            if near is not self._places:
                near.close()

    def close(self) -> None:
        """End what was started for this run, and remove what is its own."""
        with self._lock, ExitStack() as stack:
            for each in (self._engine, self._claim, self._places, self._guard, self._watch):
                if each is not None:
                    stack.callback(each.close)
            self._places = self._claim = self._engine = None


def ways(facts: Facts, runtime: str | None = None) -> tuple[Way, ...]:
    """The ways to try, the best first.

    One whose kernel is its own is found out first: it may not start at all within low limits, and
    what can be seen of it from this host is no process of the stage.
    """
    other = (runtime or facts.runtime).rpartition("/")[2] not in _OF_THE_HOST
    alone = (Way(near=False, sent=trial.HELD, own_kernel=True),)
    mountable = facts.enter or (os.geteuid() == 0 and not facts.rootless and not facts.remapped)
    nears = (True, False) if facts.local and mountable else (False,)
    sents = (trial.HELD, frozenset[Limit]()) if facts.rootless else (trial.HELD,)
    usual = tuple(Way(near=near, sent=sent) for near in nears for sent in sents)
    return alone + usual if other and facts.local and not facts.rootless else usual


def _filter(way: Way) -> Filter:
    if way.own_kernel:
        return FILTER.alone()
    return FILTER if Limit.MEMORY in way.sent else FILTER.counted()


def ceilings(spec: SandboxSpec, way: Way) -> Ceilings:
    """Per process, where the engine is not asked to hold the whole."""
    limits = spec.limits
    return Ceilings(
        memory=None if Limit.MEMORY in way.sent else limits.memory,
        processes=None if Limit.PIDS in way.sent else limits.pids + INIT_PROCESSES,
    )


def _hosts_file(folder: Path) -> Path:
    """What a container without a network has as /etc/hosts; written once."""
    file = folder / "hosts"
    if not file.is_file():
        draft = draft_of(file)
        draft.write_text(_HOSTS)
        draft.chmod(0o644)
        draft.replace(file)
    return file


def _why(found: _Found) -> str:
    if found.findings.remark:
        return found.findings.remark
    return "only root can mount what both see" if found.facts.local else "it is not on this host"
