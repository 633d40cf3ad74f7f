"""What Docker's API takes for a container. Pure."""

from __future__ import annotations

import posixpath
from typing import Any

from isol8tasks_oci.client import Bind, ContainerSpec, Tmpfs

from isol8tasks.model.network import NetworkMode

HOSTS = "/etc/hosts"

MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list"),
    *("/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"),
)
READ_ONLY = (
    *("/proc/1", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
)
"""Naming paths replaces Docker's own lists, so these hold them too."""


def payload(spec: ContainerSpec) -> dict[str, Any]:
    """The body of "Create a container"."""
    return {
        "Image": spec.image,
        "Entrypoint": list(spec.argv),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in spec.env],
        "User": f"{spec.uid}:{spec.uid}",
        "WorkingDir": spec.workdir,
        "Hostname": "sandbox",
        "Labels": dict(spec.labels),
        "AttachStdin": spec.interactive,
        "AttachStdout": spec.interactive,
        "AttachStderr": spec.interactive,
        "OpenStdin": spec.interactive,
        "StdinOnce": spec.interactive,
        "Tty": False,
        "NetworkDisabled": _without_network(spec),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(spec),
    }


def _without_network(spec: ContainerSpec) -> bool:
    """Whether to leave out all of Docker's networking, which takes half of a container's start.

    The namespace is the same as with mode "none", but /etc/hosts is not supplied: so only where we
    bring one. The mode is sent too, for other engines with this API do not know the word.
    """
    brought = any(bind.target == HOSTS for bind in spec.binds)
    return spec.network is NetworkMode.NONE and brought


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    tmpfs = {each.target: _tmpfs(each) for each in spec.tmpfs}
    taken = {*tmpfs, *(bind.target for bind in spec.binds)}
    volumes = {posixpath.normpath(path) for path in spec.volumes} - taken
    tmpfs |= dict.fromkeys(sorted(volumes), "ro,size=4k,nr_inodes=2")
    config: dict[str, Any] = {
        "Init": True,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={spec.seccomp}"],
        "MaskedPaths": [*MASKED, *spec.hidden],
        "ReadonlyPaths": list(READ_ONLY),
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "IpcMode": "private",
        "NetworkMode": "host" if spec.network is NetworkMode.HOST else "none",
        "Mounts": [_bind(each) for each in spec.binds],
        "Tmpfs": tmpfs,
    }
    if spec.memory is not None:
        config |= {"Memory": spec.memory, "MemorySwap": spec.memory}
    if spec.cpus is not None:
        config["NanoCpus"] = round(spec.cpus * 1e9)
    if spec.pids is not None:
        config["PidsLimit"] = spec.pids
    if spec.group:
        config["CgroupParent"] = spec.group
    if spec.runtime is not None:
        config["Runtime"] = spec.runtime
    return config


def _bind(each: Bind) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": each.source,
        "Target": each.target,
        "ReadOnly": each.read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _tmpfs(each: Tmpfs) -> str:
    words = ["ro" if each.read_only else "rw", "nosuid", "nodev"]
    words += ["exec" if each.executable else "noexec", "mode=1777"]
    words += [f"size={each.size}", f"nr_inodes={each.inodes}"]
    words += [f"uid={each.uid}", f"gid={each.uid}"]
    return ",".join(words)
