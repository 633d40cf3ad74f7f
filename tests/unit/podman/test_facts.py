"""What `podman info` becomes."""

from __future__ import annotations

from typing import Any

import pytest
from isol8tasks_oci.client import Facts
from isol8tasks_podman.facts import facts_of, runs, uids

MAP = [
    {"container_id": 0, "host_id": 1001, "size": 1},
    {"container_id": 1, "host_id": 100000, "size": 65536},
]


def info(**changed: Any) -> dict[str, Any]:
    """The answer of 4.3, as far as it matters."""
    host = {
        "cgroupManager": "cgroupfs",
        "cgroupVersion": "v1",
        "idMappings": {"uidmap": None, "gidmap": None},
        "ociRuntime": {"name": "runc", "path": "/usr/bin/runc"},
        "security": {"rootless": False},
        "swapTotal": 0,
    }
    return {
        "host": {**host, **changed},
        "store": {"graphRoot": "/store"},
        "version": {"Version": "4.3.1"},
    }


ROOTLESS: dict[str, Any] = {"security": {"rootless": True}, "idMappings": {"uidmap": MAP}}


def test_root() -> None:
    assert facts_of(info(), local=True, enter=("/usr/bin/podman", "unshare")) == Facts(
        version="4.3.1",
        identity="podman 4.3.1 /store runc cgroupfs v1",
        rootless=False,
        local=True,
        runtime="runc",
        grouped=True,
    )


def test_rootless() -> None:
    found = facts_of(info(**ROOTLESS), local=True, enter=("/usr/bin/podman", "unshare"))
    assert (found.rootless, found.uids, found.remapped) == (True, 65537, True)
    assert found.enter == ("/usr/bin/podman", "unshare")


def test_elsewhere_nothing_can_be_entered() -> None:
    assert facts_of(info(**ROOTLESS), local=False, enter=("podman", "unshare")).enter == ()


@pytest.mark.parametrize(
    ("changed", "memsw", "held"),
    [
        ({}, False, True),
        ({"swapTotal": 1}, False, False),
        ({"swapTotal": 1}, True, True),
        ({"swapTotal": 1, "cgroupVersion": "v2"}, False, True),
    ],
)
def test_swap(changed: dict[str, Any], memsw: bool, held: bool) -> None:
    assert facts_of(info(**changed), local=True, memsw=memsw).swap_held is held


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        ([], 1 << 32),
        (MAP[:1], 1),
        (MAP, 65537),
        (MAP[::-1], 65537),
        (MAP[1:], 0),
        ([*MAP, {"container_id": 70000, "host_id": 1, "size": 5}], 65537),
    ],
)
def test_uids_are_counted_from_zero_to_the_first_gap(
    mapped: list[dict[str, int]], expected: int
) -> None:
    assert uids(mapped) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"), [("runc", True), ("/opt/runc", True), ("crun", False)]
)
def test_runtimes(wanted: str, expected: bool) -> None:
    assert runs(facts_of(info(), local=True), wanted) is expected
