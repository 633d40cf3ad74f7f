"""From a sandbox's spec to a container's. Pure."""

from __future__ import annotations

import re

import attrs

from isol8tasks.backend.contract import SandboxSpec
from isol8tasks.backend.owner import Owner
from isol8tasks.model.limits import Limit
from isol8tasks_oci.client import ContainerSpec, LocalImage

OWNER = "isol8tasks.owner"
"""The label by which what crashed runs left is found."""

NAME = "isol8tasks-"
"""What the names of all our containers begin with."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FIXED = (("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp"))  # noqa: S108
_ODD = re.compile(r"[^A-Za-z0-9_.-]")

INIT_PROCESSES = 1
"""Processes beside the program's: the init that reaps."""

_KERNEL_THREADS, _THREADS_EACH = 64, 16
"""Where the runtime has a kernel of its own: its threads, and those for each process.

gVisor takes 44 to start, and 9 for a process that sleeps (20221219, platform ptrace). One too few
ends all of it.
"""


@attrs.frozen(kw_only=True)
class Terms:
    """How containers are made on one engine.

    `sent` are the limits that it is asked to hold. `own_kernel` is that of the runtime.
    """

    seccomp: str = attrs.field(repr=False)
    sent: frozenset[Limit]
    runtime: str | None = None
    own_kernel: bool = False


def container_spec(
    spec: SandboxSpec, image: LocalImage, terms: Terms, *, name: str, uid: int, run: str, host: str
) -> ContainerSpec:
    """The container, without what depends on where it runs: first program, folders, streams."""
    limits = spec.limits
    return ContainerSpec(
        name=name,
        image=image.id,
        argv=(),
        env=environment(spec, image),
        uid=uid,
        labels=labels(run=run, stage=spec.name, host=host, owner=Owner.current()),
        memory=limits.memory if Limit.MEMORY in terms.sent else None,
        cpus=limits.cpus if Limit.CPUS in terms.sent else None,
        pids=_pids(limits.pids, terms) if Limit.PIDS in terms.sent else None,
        network=spec.network.mode,
        volumes=image.volumes,
        seccomp=terms.seccomp,
        runtime=terms.runtime,
    )


def _pids(most: int, terms: Terms) -> int:
    if terms.own_kernel:
        return _KERNEL_THREADS + _THREADS_EACH * most
    return most + INIT_PROCESSES


def environment(spec: SandboxSpec, image: LocalImage) -> tuple[tuple[str, str], ...]:
    """What is added to the image's own environment; the image's PATH stays."""
    path = () if any(name == "PATH" for name, _ in image.env) else (("PATH", PATH),)
    pairs = dict((*path, *_FIXED, *spec.image.image.environment, *spec.env))
    return tuple(sorted(pairs.items()))


def labels(*, run: str, stage: str, host: str, owner: Owner) -> tuple[tuple[str, str], ...]:
    """Whose container it is: for people, and for `sweep`."""
    return (
        ("isol8tasks.host", host),
        (OWNER, str(owner)),
        ("isol8tasks.pid", str(owner.pid)),
        ("isol8tasks.run", run),
        ("isol8tasks.stage", _ODD.sub("_", stage)[:100]),
    )
