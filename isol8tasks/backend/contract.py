"""What a backend promises. A backend knows sandboxes, and nothing of scheduling or wording.

Everything here may be called from any thread. Errors are `isol8tasks.errors`: `ImageError` from
`prepare`, `SandboxError` from a sandbox; `Cancelled` when the cancellation passed in fires.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Protocol

import attrs

from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit, Limits
from isol8tasks.model.network import Network, NetworkMode
from isol8tasks.model.result import Exit


class Stream(enum.StrEnum):
    """The two streams of a program."""

    STDOUT = "stdout"
    STDERR = "stderr"


OutputSink = Callable[[Stream, bytes], None]
"""Takes what a program printed, as it comes, from one thread at a time."""

LineSink = Callable[[str], None]
"""Takes the lines that a bake prints."""


class Cancellation(Protocol):
    """Somebody else's wish to stop."""

    @property
    def cancelled(self) -> bool:
        """Whether to stop; never goes back to False."""
        ...

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when cancelled, at once if it already is; returns the unsubscription."""
        ...


@attrs.frozen(kw_only=True)
class Capabilities:
    """What this host gives through one backend.

    Wall time and output size are the engine's own business and always enforced. A network mode,
    an image kind or a layer kind that is not listed is refused. `explained` says by what a limit is
    held, or why it is not, and what would hold it more firmly.
    """

    limits: tuple[tuple[Limit, Enforcement], ...] = ()
    explained: tuple[tuple[Limit, str, str], ...] = ()
    networks: frozenset[NetworkMode] = frozenset({NetworkMode.NONE})
    images: frozenset[ImageKind] = frozenset()
    layers: frozenset[LayerKind] = frozenset()
    host_bound: bool = False

    def enforcement(self, limit: Limit) -> Enforcement:
        """How firmly a limit is held here; what is not listed is not held."""
        if limit in {Limit.TIMEOUT, Limit.OUTPUT}:
            return Enforcement.ENFORCED
        return dict(self.limits).get(limit, Enforcement.NONE)

    def explanation(self, limit: Limit) -> tuple[str, str]:
        """Why a limit is held as it is, and the remedy, if there is one."""
        if limit in {Limit.TIMEOUT, Limit.OUTPUT}:
            return "by the engine", ""
        found = ((why, remedy) for name, why, remedy in self.explained if name is limit)
        return next(found, ("", ""))


@attrs.frozen(kw_only=True)
class Probe:
    """What trying a trivial sandbox showed. Without `capabilities` the backend is unusable here.

    `own_uids` tells that sandboxes that run at a time have unprivileged uids of their own.
    `reason` says what was found, `remedy` what would change it, `remarks` what else is worth
    knowing: one sentence each.
    """

    version: str = ""
    rootless: bool = False
    own_uids: bool = True
    capabilities: Capabilities | None = None
    reason: str = ""
    remedy: str = ""
    remarks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PreparedImage:
    """An image that is ready: `identity` is what a run's result depends on.

    `baked` tells whether this call had to bake it.
    """

    image: Image
    identity: Digest
    baked: bool = False


@attrs.frozen(kw_only=True)
class SandboxSpec:
    """One sandbox.

    `env` is complete but for PATH, HOME, TMPDIR and LANG, which every sandbox has, and what the
    image brings. `workdir` is relative to the sandbox root, "" for the root itself.
    """

    name: str
    image: PreparedImage
    limits: Limits = Limits()
    network: Network = Network()
    env: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    workdir: str = ""


class EntryKind(enum.StrEnum):
    """What a path of an input tree is. Folders are implied."""

    FILE = "file"
    SYMLINK = "symlink"


@attrs.frozen(kw_only=True)
class TreeEntry:
    """One path of an input tree, relative to the sandbox root, normalised, without `..`.

    `source` opens the content of a file; `target` is the text of a symbolic link, which stays
    inside the tree.
    """

    path: str
    kind: EntryKind = EntryKind.FILE
    executable: bool = False
    target: str = ""
    source: Callable[[], IO[bytes]] | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class Fetched:
    """What came out: sorted paths relative to the sandbox root, each at that path below the target.

    `unmatched` are the globs that matched nothing.
    """

    paths: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()


class Sandbox(Protocol):
    """One sandbox, used once."""

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Place inputs; only before `run`."""
        ...

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Run one program to its end, feeding the sink meanwhile; only once.

        A program that is not there ends with code 127, one that cannot be executed with 126.
        """
        ...

    def kill(self) -> None:
        """End every process of the sandbox; harmless after `run` and when repeated.

        Before `run` it makes that end at once, with code None.
        """
        ...

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        """Copy the regular files below the working directory that match; after `run`.

        No link is followed; a match that is not a regular file or a folder, or more than
        `max_bytes` in all, is an `OutputRefused`.
        """
        ...

    def close(self) -> None:
        """Leave nothing behind; may be repeated."""
        ...


class OutputRefused(Exception):
    """An output that must not reach the host: the stage does not pass."""


class Backend(Protocol):
    """One way to supply sandboxes."""

    @property
    def name(self) -> str:
        """The name that `--backend` takes."""
        ...

    def probe(self) -> Probe:
        """Run a trivial sandbox and say what works here; never raises for what is missing."""
        ...

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> PreparedImage:
        """Find or bake an image; idempotent, and safe when two processes race.

        `base` is the folder that paths in the image are relative to, `timeout` in seconds.
        """
        ...

    def images(self) -> tuple[PreparedImage, ...]:
        """The images that are baked here."""
        ...

    def remove(self, image: PreparedImage) -> None:
        """Forget a baked image."""
        ...

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a fresh sandbox, never one used before; nothing runs in it yet."""
        ...

    def sweep(self, *, older_than: float | None = None) -> int:
        """Remove what crashed runs left behind; how many things that was.

        What cannot be told to be left behind, as its owner is in another process namespace, goes
        only when it is older than so many seconds.
        """
        ...

    def close(self) -> None:
        """End what the backend itself holds; its sandboxes are closed already."""
        ...


@attrs.frozen(kw_only=True)
class BackendOptions:
    """What the composition root tells a backend.

    `cache` is where it may keep things between runs; `images` is what an image name stands for
    here: pairs of a name such as `python:3.12` and a reference.
    """

    cache: Path
    runtime: str | None = None
    images: tuple[tuple[str, str], ...] = ()


BackendFactory = Callable[[BackendOptions], Backend]
"""What an entry point of the group `isol8tasks.backends` names."""
