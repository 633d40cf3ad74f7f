"""What is posted to podman, in full."""

from __future__ import annotations

from typing import Any

import pytest
from isol8tasks_oci.client import HIDDEN, Bind, ContainerSpec, Tmpfs
from isol8tasks_podman.payload import Ground, payload

from isol8tasks.model.network import NetworkMode

GROUND = Ground(profile="/private/filter.json", ceilings={"nofile": 20000, "nproc": 32768})

TYPICAL: dict[str, Any] = {
    "name": "stage",
    "image": "sha256:12",
    "entrypoint": ["/bin/sh", "-c", "true"],
    "command": [],
    "user": "64000:64000",
    "work_dir": "/",
    "labels": {},
    "stdin": False,
    "terminal": False,
    "remove": False,
    "init": True,
    "log_configuration": {"driver": "none"},
    "mounts": [],
    "r_limits": [
        {"type": "nofile", "soft": 20000, "hard": 20000},
        {"type": "nproc", "soft": 32768, "hard": 32768},
    ],
    "env": {},
    "unsetenv": ["HOSTNAME", "TERM", "container"],
    "env_host": False,
    "httpproxy": False,
    "cap_drop": ["ALL"],
    "no_new_privileges": True,
    "privileged": False,
    "seccomp_profile_path": "/private/filter.json",
    "read_only_filesystem": True,
    "read_write_tmpfs": False,
    "image_volume_mode": "ignore",
    "mask": list(HIDDEN),
    "umask": "0022",
    "netns": {"nsmode": "none"},
    "ipcns": {"nsmode": "private"},
    "pidns": {"nsmode": "private"},
    "utsns": {"nsmode": "private"},
    "hostname": "sandbox",
    "systemd": "false",
    "sdnotifyMode": "ignore",
    "healthconfig": {"Test": ["NONE"]},
    "manage_password": False,
    "use_image_hosts": False,
}

MAXIMAL: dict[str, Any] = {
    **TYPICAL,
    "work_dir": "/sandbox/a",
    "labels": {"owner": "me"},
    "stdin": True,
    "mounts": [
        {
            "type": "bind",
            "source": "/places/1",
            "destination": "/sandbox",
            "options": ["rbind", "nosuid", "nodev"],
        },
        {
            "type": "bind",
            "source": "/hosts",
            "destination": "/etc/hosts",
            "options": ["rbind", "nosuid", "nodev", "ro"],
        },
        {
            "type": "tmpfs",
            "source": "tmpfs",
            "destination": "/tmp",
            "options": [
                "size=4096,nr_inodes=7,uid=64000,gid=64000",
                *("mode=1777", "notmpcopyup", "nosuid", "nodev", "noexec", "rw"),
            ],
        },
        {
            "type": "tmpfs",
            "source": "tmpfs",
            "destination": "/work",
            "options": [
                "size=8192,nr_inodes=8,uid=0,gid=0",
                *("mode=1777", "notmpcopyup", "nosuid", "nodev", "exec", "ro"),
            ],
        },
    ],
    "cgroup_parent": "/isol8tasks-x-1",
    "env": {"HOME": "/tmp", "TERM": "dumb"},
    "unsetenv": ["HOSTNAME", "container"],
    "mask": ["/sys/x"],
    "use_image_hosts": True,
    "resource_limits": {
        "memory": {"limit": 1 << 26, "swap": 1 << 26},
        "pids": {"limit": 33},
        "cpu": {"quota": 150_000, "period": 100_000},
    },
}


def spec(**changed: Any) -> ContainerSpec:
    plain: dict[str, Any] = {
        "name": "stage",
        "image": "sha256:12",
        "argv": ("/bin/sh", "-c", "true"),
        "uid": 64000,
        "seccomp": "{}",
    }
    return ContainerSpec(**{**plain, **changed})


def test_a_typical_container_in_full() -> None:
    assert payload(spec(), GROUND) == TYPICAL


def test_a_container_with_everything_in_full() -> None:
    everything = spec(
        env=(("HOME", "/tmp"), ("TERM", "dumb")),
        workdir="/sandbox/a",
        labels=(("owner", "me"),),
        memory=1 << 26,
        cpus=1.5,
        pids=33,
        binds=(
            Bind(source="/places/1", target="/sandbox"),
            Bind(source="/hosts", target="/etc/hosts", read_only=True),
        ),
        tmpfs=(
            Tmpfs(target="/tmp", size=4096, inodes=7, uid=64000),
            Tmpfs(target="/work", size=8192, inodes=8, executable=True, read_only=True),
        ),
        volumes=("/data",),
        hidden=("/sys/x",),
        group="/isol8tasks-x-1",
        interactive=True,
    )
    assert payload(everything, GROUND) == MAXIMAL


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(NetworkMode.NONE, "none"), (NetworkMode.ALLOW, "none"), (NetworkMode.HOST, "host")],
)
def test_networks(mode: NetworkMode, expected: str) -> None:
    assert payload(spec(network=mode), GROUND)["netns"] == {"nsmode": expected}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"pids": 5}, {"pids": {"limit": 5}}),
        ({"cpus": 0.5}, {"cpu": {"quota": 50_000, "period": 100_000}}),
        ({"cpus": 0.001}, {"cpu": {"quota": 1_000, "period": 100_000}}),
        ({"memory": 4096}, {"memory": {"limit": 4096, "swap": 4096}}),
    ],
)
def test_only_stated_limits_are_sent(
    limits: dict[str, float], expected: dict[str, Any] | None
) -> None:
    assert payload(spec(**limits), GROUND).get("resource_limits") == expected
