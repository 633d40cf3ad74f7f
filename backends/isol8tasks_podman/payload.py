"""From a container's spec to what podman's API takes: libpod's SpecGenerator. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from isol8tasks_oci.client import ENGINE_VARIABLES, Bind, ContainerSpec, Tmpfs

from isol8tasks.model.network import NetworkMode

_PERIOD = 100_000
_LEAST_QUOTA = 1_000
"""Microseconds; the kernel takes no less."""

_HOSTS = "/etc/hosts"


@attrs.frozen(kw_only=True)
class Ground:
    """What holds for all containers of one service.

    `profile` is the system call filter as a file of the service's host. `ceilings` are rlimits that
    are always sent, for those that podman is configured to set may be more than it has itself.
    """

    profile: str
    ceilings: Mapping[str, int]


def payload(spec: ContainerSpec, ground: Ground) -> dict[str, Any]:
    """What is posted to /containers/create."""
    found: dict[str, Any] = {
        "name": spec.name,
        "image": spec.image,
        "entrypoint": list(spec.argv),
        "command": [],
        "user": f"{spec.uid}:{spec.uid}",
        "work_dir": spec.workdir,
        "labels": dict(spec.labels),
        "stdin": spec.interactive,
        "terminal": False,
        "remove": False,
        "init": True,
        "log_configuration": {"driver": "none"},
        "mounts": [*map(_bind, spec.binds), *map(_tmpfs, spec.tmpfs)],
        "r_limits": _rlimits(ground.ceilings),
        **_environment(spec),
        **_hardening(spec, ground),
        **_namespaces(spec),
        **_unasked(spec),
    }
    if spec.group:
        found["cgroup_parent"] = spec.group
    if limits := _resources(spec):
        found["resource_limits"] = limits
    return found


def _environment(spec: ContainerSpec) -> dict[str, Any]:
    declared = dict(spec.env)
    return {
        "env": declared,
        "unsetenv": [name for name in ENGINE_VARIABLES if name not in declared],
        "env_host": False,
        "httpproxy": False,
    }


def _hardening(spec: ContainerSpec, ground: Ground) -> dict[str, Any]:
    """The mask adds to podman's own."""
    return {
        "cap_drop": ["ALL"],
        "no_new_privileges": True,
        "privileged": False,
        "seccomp_profile_path": ground.profile,
        "read_only_filesystem": True,
        "read_write_tmpfs": False,
        "image_volume_mode": "ignore",  # so that the paths stay part of the read-only root
        "mask": list(spec.hidden),
        "umask": "0022",
    }


def _namespaces(spec: ContainerSpec) -> dict[str, Any]:
    network = "host" if spec.network is NetworkMode.HOST else "none"
    private = {"nsmode": "private"}
    return {
        "netns": {"nsmode": network},
        "ipcns": private,
        "pidns": private,
        "utsns": private,
        "hostname": "sandbox",
    }


def _unasked(spec: ContainerSpec) -> dict[str, Any]:
    """Switches off what podman does of its own accord, or because an image says so."""
    return {
        "systemd": "false",
        "sdnotifyMode": "ignore",
        "healthconfig": {"Test": ["NONE"]},
        "manage_password": False,  # no line for the uid in /etc/passwd
        "use_image_hosts": any(bind.target == _HOSTS for bind in spec.binds),
    }


def _bind(bind: Bind) -> dict[str, Any]:
    """Podman keeps what a source has of noexec, unless an option contradicts it."""
    options = ["rbind", "nosuid", "nodev"]
    return {
        "type": "bind",
        "source": bind.source,
        "destination": bind.target,
        "options": [*options, "ro"] if bind.read_only else options,
    }


def _tmpfs(tmpfs: Tmpfs) -> dict[str, Any]:
    """Podman refuses options that it does not know, but looks no further than an equals sign.

    Where the image has that folder its mode wins over ours, by runc's doing: hence the owner.
    """
    options = (
        f"size={tmpfs.size},nr_inodes={tmpfs.inodes},uid={tmpfs.uid},gid={tmpfs.uid}",
        "mode=1777",
        "notmpcopyup",
        "nosuid",
        "nodev",
        "exec" if tmpfs.executable else "noexec",
        "ro" if tmpfs.read_only else "rw",
    )
    return {
        "type": "tmpfs",
        "source": "tmpfs",
        "destination": tmpfs.target,
        "options": list(options),
    }


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spec.memory is not None:
        found["memory"] = {"limit": spec.memory, "swap": spec.memory}
    if spec.pids is not None:
        found["pids"] = {"limit": spec.pids}
    if spec.cpus is not None:
        quota = max(_LEAST_QUOTA, round(spec.cpus * _PERIOD))
        found["cpu"] = {"quota": quota, "period": _PERIOD}
    return found


def _rlimits(most: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"type": name, "soft": value, "hard": value} for name, value in sorted(most.items())]
