"""What is asked of a container engine. `isol8tasks_docker` and `isol8tasks_podman` answer it.

Every call is bounded in time and may come from any thread. What an engine refuses is an
`EngineError`; one that does not answer at all is a `NoAnswer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Protocol

import attrs

from isol8tasks.backend.contract import Cancellation, LineSink, Stream
from isol8tasks.errors import SandboxError
from isol8tasks.model.network import NetworkMode

HIDDEN = (
    *(
        f"/proc/1/{place}{name}"
        for name in ("mem", "environ", "maps", "smaps", "auxv", "oom_score_adj", "oom_adj")
        for place in ("", "task/1/")
    ),
    "/proc/1/coredump_filter",
    *("/dev/mqueue", "/sys"),
)
"""What engines do not hide by themselves, and no stage needs.

A container's init has the uid of its program, which could write itself another exit code through
the first two. System calls that reach into other processes are filtered; these files are left.
"""

HIDDEN_BUT_GROUPS = (
    *(path for path in HIDDEN if path != "/sys"),
    *("/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/firmware"),
    *("/sys/hypervisor", "/sys/kernel", "/sys/module", "/sys/power"),
    *(
        f"/sys/fs/{name}"
        for name in (
            "bpf",
            "btrfs",
            "erofs",
            "ext4",
            "f2fs",
            "fuse",
            "nfs",
            "pstore",
            "tmpfs",
            "xfs",
        )
    ),
)
"""The same where a process in the container has to read its own control groups."""

ENGINE_VARIABLES = ("HOSTNAME", "TERM", "container")
"""What engines put into an environment unasked."""

_LONGEST = 500
"""Characters of an error's message: an engine may answer with a page, or with anything."""


class EngineError(SandboxError):
    """The engine refused; `status` is that of HTTP. The message becomes one short line."""

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(_line(message), hint=hint)
        self.status = status

    @property
    def missing(self) -> bool:
        """Whether what was asked about is not there."""
        return self.status == 404


class NoAnswer(EngineError):
    """The engine is not there, or did not answer in time."""


def _line(words: str) -> str:
    """Without the middle of what is too long: engines name the cause at the end."""
    line = " ".join(words.split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2 - 2]} … {line[1 - _LONGEST // 2 :]}"
    return "".join(each if each.isprintable() else "\ufffd" for each in line)


@attrs.frozen(kw_only=True)
class Facts:
    """What an engine says of itself.

    `identity` changes when the engine is another one. `uids` is how many uids a container may have,
    from 0 on. `local` tells that its socket is on this machine, which does not yet mean that it
    shares our files. `grouped` tells that it makes a container's control groups where it is told.
    `enter` is a command that runs a program where the engine's mounts are, for an engine that has
    its own place for them.
    """

    version: str
    identity: str
    rootless: bool
    local: bool
    runtime: str
    runtimes: tuple[str, ...] = ()
    uids: int = 1 << 32
    remapped: bool = False
    swap_held: bool = True
    grouped: bool = False
    enter: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Bind:
    """A path of the engine's host in a container; it keeps the mount options that it has there."""

    source: str
    target: str
    read_only: bool = False


@attrs.frozen(kw_only=True)
class Tmpfs:
    """A folder of a uid in memory, of at most `size` bytes; `executable` allows programs in it."""

    target: str
    size: int
    inodes: int
    uid: int = 0
    executable: bool = False
    read_only: bool = False


@attrs.frozen(kw_only=True)
class ContainerSpec:
    """One container, hardened as far as every engine does it alike.

    Engines always add: no capabilities, no new privileges, a read-only root, an init that reaps, no
    log, the `hidden` paths, no anonymous volumes. `memory` in bytes is also the ceiling of memory
    and swap together. `volumes` are the paths that the image declares as volumes: they must not
    become writable. `group` is the control group to make the container's own in.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    uid: int
    workdir: str = "/"
    labels: tuple[tuple[str, str], ...] = ()
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    network: NetworkMode = NetworkMode.NONE
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    volumes: tuple[str, ...] = ()
    group: str = ""
    seccomp: str = attrs.field(repr=False)
    runtime: str | None = None
    hidden: tuple[str, ...] = HIDDEN
    interactive: bool = False


@attrs.frozen(kw_only=True)
class State:
    """A container as the engine sees it; `pid` is that of its init on the engine's host, or 0."""

    running: bool
    ended: bool
    pid: int
    exit_code: int | None
    oom_killed: bool
    error: str = ""


@attrs.frozen(kw_only=True)
class Listed:
    """A container by its labels; `created` in seconds since the epoch."""

    id: str
    name: str
    labels: tuple[tuple[str, str], ...]
    created: float


@attrs.frozen(kw_only=True)
class LocalImage:
    """An image that the engine has. `id` is that of its content, with the algorithm in front."""

    id: str
    tags: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    user: str = ""


class Channel(Protocol):
    """The streams of a program in a container, through the engine."""

    def send(self, content: bytes) -> None:
        """Write to its standard input; what it does not read any more is dropped."""
        ...

    def pieces(self) -> Iterator[tuple[Stream, bytes]]:
        """What it prints, to the end; EngineError when the connection breaks."""
        ...

    def close(self) -> None:
        """Hang up, also while another thread reads; may be repeated."""
        ...


class Execution(Protocol):
    """A program that was started beside the first one of a container."""

    @property
    def channel(self) -> Channel:
        """Its streams."""
        ...

    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        ...


class Engine(Protocol):
    """A container engine."""

    @property
    def name(self) -> str:
        """Its name: docker or podman."""
        ...

    def facts(self) -> Facts:
        """What it says of itself; asked once."""
        ...

    def create(self, spec: ContainerSpec) -> str:
        """Make a container; its id."""
        ...

    def start(self, container: str) -> None:
        """Start its first program."""
        ...

    def state(self, container: str) -> State:
        """How it is now."""
        ...

    def kill(self, container: str) -> None:
        """Kill everything in it; harmless when nothing runs or it is gone."""
        ...

    def remove(self, container: str) -> None:
        """Kill and forget it, with its volumes; harmless when it is gone."""
        ...

    def attach(self, container: str) -> Channel:
        """The streams of its first program, asked for before it starts."""
        ...

    def execute(
        self,
        container: str,
        argv: tuple[str, ...],
        *,
        uid: int,
        workdir: str = "/",
        env: tuple[tuple[str, str], ...] = (),
    ) -> Execution:
        """Start another program in a running container, as this uid, with all streams open."""
        ...

    def containers(self, label: str) -> tuple[Listed, ...]:
        """All containers, running or not, that have this label."""
        ...

    def image(self, reference: str) -> LocalImage | None:
        """An image by name, digest or id, if the engine has it."""
        ...

    def images(self, repository: str) -> tuple[LocalImage, ...]:
        """The images that have a tag in this repository."""
        ...

    def pull(self, reference: str, *, sink: LineSink, cancel: Cancellation) -> None:
        """Get an image from its registry; EngineError says why that failed."""
        ...

    def build(
        self,
        context: IO[bytes],
        tag: str,
        *,
        arguments: tuple[tuple[str, str], ...],
        network: str,
        sink: LineSink,
        cancel: Cancellation,
        timeout: float,
    ) -> None:
        """Build the Dockerfile in a tar; nothing stays but the image, and the builder's own cache.

        `network` is "default", "none" or "host". EngineError says why it failed; Cancelled and
        TimeoutError when it was stopped.
        """
        ...

    def load(self, root: IO[bytes], tag: str) -> None:
        """Make an image of one layer from the tar of a root file system."""
        ...

    def untag(self, reference: str) -> None:
        """Remove a tag, and the image with its last one; harmless when it is gone."""
        ...

    def close(self) -> None:
        """End what was started for this run."""
        ...


Connect = Callable[[], Engine]
"""Finds the engine; `BackendUnavailable` says why there is none, and the remedy."""
