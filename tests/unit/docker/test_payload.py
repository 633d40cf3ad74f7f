"""What Docker is told of a container: whole, so that nothing comes or goes unseen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from isol8tasks_docker.payload import MASKED, READ_ONLY, payload
from isol8tasks_oci.client import HIDDEN, Bind, ContainerSpec, Tmpfs

from isol8tasks.model.network import NetworkMode

TYPICAL = ContainerSpec(
    name="isol8tasks-r-c",
    image="sha256:1",
    argv=("/bin/sh", "-c", "exit 3", "sh", "isol8tasks-r-c"),
    env=(("A", "b=c"), ("EMPTY", "")),
    uid=64001,
    workdir="/sandbox/work",
    labels=(("isol8tasks.owner", "o"), ("isol8tasks.stage", "unit")),
    memory=512 << 20,
    cpus=1.5,
    pids=257,
    binds=(
        Bind(source="/cache/places/sandbox", target="/sandbox"),
        Bind(source="/cache/hosts", target="/etc/hosts", read_only=True),
    ),
    seccomp='{"defaultAction":"SCMP_ACT_ERRNO"}',
)

TYPICAL_PAYLOAD: dict[str, Any] = {
    "Image": "sha256:1",
    "Entrypoint": ["/bin/sh", "-c", "exit 3", "sh", "isol8tasks-r-c"],
    "Cmd": [],
    "Env": ["A=b=c", "EMPTY="],
    "User": "64001:64001",
    "WorkingDir": "/sandbox/work",
    "Hostname": "sandbox",
    "Labels": {"isol8tasks.owner": "o", "isol8tasks.stage": "unit"},
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Tty": False,
    "NetworkDisabled": True,
    "Healthcheck": {"Test": ["NONE"]},
    "HostConfig": {
        "Init": True,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": [
            "no-new-privileges:true",
            'seccomp={"defaultAction":"SCMP_ACT_ERRNO"}',
        ],
        "MaskedPaths": [*MASKED, *HIDDEN],
        "ReadonlyPaths": list(READ_ONLY),
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "IpcMode": "private",
        "NetworkMode": "none",
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/cache/places/sandbox",
                "Target": "/sandbox",
                "ReadOnly": False,
                "BindOptions": {"Propagation": "rprivate"},
            },
            {
                "Type": "bind",
                "Source": "/cache/hosts",
                "Target": "/etc/hosts",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rprivate"},
            },
        ],
        "Tmpfs": {},
        "Memory": 512 << 20,
        "MemorySwap": 512 << 20,
        "NanoCpus": 1_500_000_000,
        "PidsLimit": 257,
    },
}

MAXIMAL = ContainerSpec(
    name="isol8tasks-r-c",
    image="sha256:2",
    argv=("/bin/cat",),
    uid=64999,
    memory=1,
    cpus=0.1,
    pids=2,
    network=NetworkMode.HOST,
    tmpfs=(
        Tmpfs(target="/sandbox", size=1 << 20, inodes=1024, uid=64999, executable=True),
        Tmpfs(target="/tmp", size=4096, inodes=64, uid=64999),
        Tmpfs(target="/hidden", size=0, inodes=1, read_only=True),
    ),
    volumes=("/data", "/tmp", "/var/lib/a,b c"),
    group="/isol8tasks-x-1",
    seccomp="{}",
    runtime="runsc",
    hidden=("/sys",),
    interactive=True,
)

MAXIMAL_PAYLOAD: dict[str, Any] = {
    "Image": "sha256:2",
    "Entrypoint": ["/bin/cat"],
    "Cmd": [],
    "Env": [],
    "User": "64999:64999",
    "WorkingDir": "/",
    "Hostname": "sandbox",
    "Labels": {},
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
    "OpenStdin": True,
    "StdinOnce": True,
    "Tty": False,
    "NetworkDisabled": False,
    "Healthcheck": {"Test": ["NONE"]},
    "HostConfig": {
        "Init": True,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", "seccomp={}"],
        "MaskedPaths": [*MASKED, "/sys"],
        "ReadonlyPaths": list(READ_ONLY),
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "IpcMode": "private",
        "Mounts": [],
        "Tmpfs": {
            "/sandbox": "rw,nosuid,nodev,exec,mode=1777,size=1048576,nr_inodes=1024,"
            "uid=64999,gid=64999",
            "/tmp": "rw,nosuid,nodev,noexec,mode=1777,size=4096,nr_inodes=64,uid=64999,gid=64999",
            "/hidden": "ro,nosuid,nodev,noexec,mode=1777,size=0,nr_inodes=1,uid=0,gid=0",
            "/data": "ro,size=4k,nr_inodes=2",
            "/var/lib/a,b c": "ro,size=4k,nr_inodes=2",
        },
        "NetworkMode": "host",
        "Memory": 1,
        "MemorySwap": 1,
        "NanoCpus": 100_000_000,
        "PidsLimit": 2,
        "CgroupParent": "/isol8tasks-x-1",
        "Runtime": "runsc",
    },
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [(TYPICAL, TYPICAL_PAYLOAD), (MAXIMAL, MAXIMAL_PAYLOAD)],
    ids=["typical", "maximal"],
)
def test_the_whole_of_it(spec: ContainerSpec, expected: dict[str, Any]) -> None:
    assert payload(spec) == expected
    assert json.loads(json.dumps(payload(spec))) == expected


BARE = ContainerSpec(name="n", image="i", argv=("true",), uid=64000, seccomp="{}")


def test_what_is_not_to_be_held_is_not_mentioned() -> None:
    limits = {"Memory", "MemorySwap", "NanoCpus", "PidsLimit", "Runtime"}
    assert not limits & payload(BARE)["HostConfig"].keys()


@pytest.mark.parametrize(
    ("network", "mode"),
    [(NetworkMode.NONE, "none"), (NetworkMode.ALLOW, "none"), (NetworkMode.HOST, "host")],
)
def test_only_an_explicit_word_gives_a_network(network: NetworkMode, mode: str) -> None:
    spec = ContainerSpec(
        name="n", image="i", argv=("true",), uid=64000, seccomp="{}", network=network
    )
    assert payload(spec)["HostConfig"]["NetworkMode"] == mode
    assert not payload(spec)["NetworkDisabled"]


def test_the_network_is_refused_by_mode_too() -> None:
    assert payload(TYPICAL)["HostConfig"]["NetworkMode"] == "none"


@pytest.mark.parametrize("volume", ["/sandbox", "/sandbox/", "/etc/hosts"])
def test_a_volume_of_the_image_does_not_hide_what_is_bound(volume: str) -> None:
    spec = ContainerSpec(
        name="n",
        image="i",
        argv=("true",),
        uid=64000,
        seccomp="{}",
        binds=TYPICAL.binds,
        volumes=(volume,),
    )
    assert payload(spec)["HostConfig"]["Tmpfs"] == {}


@pytest.mark.parametrize("path", ["/proc/1/mem", "/proc/1/task/1/mem", "/proc/kcore", "/proc/keys"])
def test_what_reaches_other_processes_is_masked(path: str) -> None:
    assert path in payload(BARE)["HostConfig"]["MaskedPaths"]


def test_secrets_are_in_the_body_and_nowhere_else() -> None:
    spec = ContainerSpec(
        name="n", image="i", argv=("true",), uid=64000, seccomp="{}", env=(("TOKEN", "s3cret"),)
    )
    assert "s3cret" not in repr(spec)
    assert payload(spec)["Env"] == ["TOKEN=s3cret"]
