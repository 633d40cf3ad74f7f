"""Which containers are left behind, and which are not ours to judge."""

from __future__ import annotations

import platform
import subprocess
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci.client import Listed
from isol8tasks_oci.container import NAME, OWNER
from isol8tasks_oci.leftovers import sweep_containers

from isol8tasks.backend.owner import Owner

if TYPE_CHECKING:
    from tests.unit.oci.conftest import MemoryEngine

US = Owner.current()
OTHER_BOOT = "00000000" if US.boot != "00000000" else "11111111"
HOUR = 3600.0


def _dead() -> Owner:
    child = subprocess.Popen(["true"])
    child.wait()
    return attrs.evolve(US, pid=child.pid)


OWNERS = {
    "a living owner": US,
    "its number is somebody else's now": attrs.evolve(US, start=US.start + 1),
    "a dead owner": _dead(),
    "another pid namespace": attrs.evolve(US, namespace=US.namespace + 1),
    "another boot": attrs.evolve(US, boot=OTHER_BOOT),
    "another boot and namespace": attrs.evolve(US, boot=OTHER_BOOT, namespace=1),
}


def container(name: str, owner: str, age: float = HOUR, host: str = "") -> Listed:
    labels = ((OWNER, owner), ("isol8tasks.host", host or platform.node()))
    return Listed(id=name, name=f"{NAME}{name}", labels=labels, created=time.time() - age)


@pytest.mark.parametrize(
    ("owner", "local", "older_than", "goes"),
    [
        ("a living owner", True, None, False),
        ("a living owner", True, 0.0, False),
        ("a living owner", False, 0.0, False),
        ("its number is somebody else's now", True, None, True),
        ("a dead owner", True, None, True),
        ("a dead owner", False, None, True),
        ("a dead owner", True, 2 * HOUR, True),
        ("another pid namespace", True, None, False),
        ("another pid namespace", True, 2 * HOUR, False),
        ("another pid namespace", True, HOUR / 2, True),
        ("another pid namespace", False, HOUR / 2, True),
        ("another boot", True, None, True),
        ("another boot", False, None, False),
        ("another boot", False, 2 * HOUR, False),
        ("another boot", False, HOUR / 2, True),
        ("another boot and namespace", False, None, False),
        ("another boot and namespace", True, None, True),
    ],
)
def test_what_is_left(
    engine: MemoryEngine, owner: str, local: bool, older_than: float | None, goes: bool
) -> None:
    engine.listed = [container("c", str(OWNERS[owner]))]
    swept = sweep_containers(engine, OWNER, local=local, older_than=older_than)
    assert swept == goes
    assert bool(engine.listed) is not goes


@pytest.mark.parametrize(
    ("owner", "older_than", "goes"),
    [
        ("a dead owner", None, True),
        ("another boot", None, False),
        ("another boot", 2 * HOUR, False),
        ("another boot", HOUR / 2, True),
        ("another boot and namespace", None, False),
    ],
)
def test_behind_a_local_socket_another_host_may_be(
    engine: MemoryEngine, owner: str, older_than: float | None, goes: bool
) -> None:
    """As `ssh -L` forwards it; a living owner there has another boot, and its own host's name."""
    engine.listed = [container("c", str(OWNERS[owner]), host="elsewhere")]
    assert sweep_containers(engine, OWNER, local=True, older_than=older_than) == goes


@pytest.mark.parametrize("text", ["", "x", "1-2-3", " {dead}", "{dead}\n", "{dead}-", "{dead}-1"])
def test_a_label_that_we_did_not_write_is_nobody_s(engine: MemoryEngine, text: str) -> None:
    engine.listed = [container("c", text.format(dead=OWNERS["a dead owner"]))]
    assert sweep_containers(engine, OWNER, local=True, older_than=0.0) == 0
    assert engine.calls == []


def test_a_foreign_container_stays(engine: MemoryEngine) -> None:
    foreign = Listed(id="foreign", name="web", labels=(("maintainer", "me"),), created=0.0)
    engine.listed = [foreign, container("ours", str(OWNERS["a dead owner"]))]
    assert sweep_containers(engine, OWNER, local=True, older_than=0.0) == 1
    assert engine.listed == [foreign]
    assert engine.calls == [("remove", "ours")]


def test_all_that_are_left_go(engine: MemoryEngine) -> None:
    engine.listed = [container(str(number), str(OWNERS["a dead owner"])) for number in range(5)]
    assert sweep_containers(engine, OWNER, local=True, older_than=None) == 5
    assert engine.listed == []


def test_one_that_cannot_be_removed_does_not_keep_the_others(engine: MemoryEngine) -> None:
    engine.listed = [container(name, str(OWNERS["a dead owner"])) for name in ("a", "b", "c")]
    engine.stuck = frozenset({"b"})
    assert sweep_containers(engine, OWNER, local=True, older_than=None) == 2
    assert [each.id for each in engine.listed] == ["b"]


def test_an_image_hands_its_labels_down_and_not_its_name(engine: MemoryEngine) -> None:
    """Somebody else's container of such an image is not ours."""
    labels = ((OWNER, str(OWNERS["a dead owner"])),)
    engine.listed = [Listed(id="foreign", name="web", labels=labels, created=0.0)]
    assert sweep_containers(engine, OWNER, local=True, older_than=0.0) == 0
    assert [each.id for each in engine.listed] == ["foreign"]
