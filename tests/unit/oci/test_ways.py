"""Which ways to run sandboxes are tried on which engine, and what is held without one."""

from __future__ import annotations

import os

import attrs
import pytest
from isol8tasks_oci.backend import ceilings, ways
from isol8tasks_oci.client import Facts
from isol8tasks_oci.container import INIT_PROCESSES
from isol8tasks_oci.trial import HELD, Way
from isol8tasks_oci.waiting import Ceilings

from isol8tasks.backend.contract import PreparedImage, SandboxSpec
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit, Limits

NOTHING: frozenset[Limit] = frozenset()
NEAR, FAR = Way(near=True, sent=HELD), Way(near=False, sent=HELD)
BARE_NEAR, BARE_FAR = Way(near=True, sent=NOTHING), Way(near=False, sent=NOTHING)
MOUNTING = (NEAR,) if os.geteuid() == 0 else ()
"""Only root can mount where an engine of root sees it."""

ROOTFUL = Facts(version="1", identity="e", rootless=False, local=True, runtime="runc")
ROOTLESS = attrs.evolve(ROOTFUL, rootless=True)
ENTER = ("podman", "unshare")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ROOTFUL, (*MOUNTING, FAR)),
        (attrs.evolve(ROOTFUL, local=False), (FAR,)),
        (attrs.evolve(ROOTFUL, remapped=True), (FAR,)),
        (ROOTLESS, (FAR, BARE_FAR)),
        (attrs.evolve(ROOTLESS, local=False), (FAR, BARE_FAR)),
        (attrs.evolve(ROOTLESS, enter=ENTER), (NEAR, BARE_NEAR, FAR, BARE_FAR)),
        (attrs.evolve(ROOTLESS, enter=ENTER, local=False), (FAR, BARE_FAR)),
    ],
    ids=[
        "root's",
        "remote",
        "with uids of its own",
        "rootless",
        "remote and rootless",
        "rootless, with a way in",
        "remote, with a way in elsewhere",
    ],
)
def test_the_ways_to_try_the_best_first(facts: Facts, expected: tuple[Way, ...]) -> None:
    assert ways(facts) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (HELD, Ceilings()),
        (NOTHING, Ceilings(memory=1 << 26, processes=10 + INIT_PROCESSES)),
        ({Limit.MEMORY}, Ceilings(processes=10 + INIT_PROCESSES)),
        ({Limit.PIDS}, Ceilings(memory=1 << 26)),
    ],
)
def test_what_an_engine_does_not_hold_is_held_per_process(
    sent: frozenset[Limit], expected: Ceilings
) -> None:
    image = PreparedImage(image=Image("x:1"), identity=Digest.of(b""))
    limits = Limits(memory=1 << 26, cpus=1, pids=10, disk=1 << 20)
    spec = SandboxSpec(name="s", image=image, limits=limits)
    assert ceilings(spec, Way(near=True, sent=frozenset(sent))) == expected
