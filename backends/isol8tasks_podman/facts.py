"""What `podman info` means for us. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isol8tasks_oci.client import Facts

_ALL = 1 << 32


def facts_of(
    info: Mapping[str, Any], *, local: bool, enter: tuple[str, ...] = (), memsw: bool = False
) -> Facts:
    """Facts from the answer to /info. `enter` is kept for what needs it.

    `memsw` tells that control groups of version 1 count swap here. Podman does not say which OCI
    runtimes it knows beside the one it uses.
    """
    host, store = info["host"], info["store"]
    version = str(info["version"]["Version"])
    rootless = bool(host["security"]["rootless"])
    runtime = str(host["ociRuntime"]["name"])
    groups = f"{host.get('cgroupManager', '')} {host.get('cgroupVersion', '')}"
    uidmap = (host.get("idMappings") or {}).get("uidmap") or ()
    return Facts(
        version=version,
        identity=f"podman {version} {store['graphRoot']} {runtime} {groups}",
        rootless=rootless,
        local=local,
        runtime=runtime,
        uids=uids(uidmap),
        remapped=bool(uidmap),
        swap_held=memsw or not host.get("swapTotal") or host.get("cgroupVersion") == "v2",
        grouped=host.get("cgroupManager") == "cgroupfs" and not rootless,
        enter=enter if rootless and local else (),
    )


def uids(uidmap: Sequence[Mapping[str, int]]) -> int:
    """How many uids from 0 on a container may have."""
    if not uidmap:
        return _ALL
    reach = 0
    for part in sorted(uidmap, key=lambda part: part["container_id"]):
        if part["container_id"] > reach:
            break
        reach = max(reach, part["container_id"] + part["size"])
    return reach


def runs(facts: Facts, runtime: str) -> bool:
    """Whether its containers are run by this OCI runtime, a name or a path."""
    return facts.runtime == runtime.rpartition("/")[2]
