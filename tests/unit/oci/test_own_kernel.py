"""A runtime that brings a kernel of its own: what is tried, sent and said."""

from __future__ import annotations

import attrs
import pytest
from isol8tasks_oci import trial
from isol8tasks_oci.backend import ways
from isol8tasks_oci.client import Facts, LocalImage
from isol8tasks_oci.container import Terms, container_spec

from isol8tasks.backend.contract import PreparedImage, SandboxSpec
from isol8tasks.errors import SandboxError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Enforcement, Limit, Limits
from isol8tasks.model.result import Exit

FACTS = Facts(version="1", identity="x", rootless=False, local=True, runtime="runc")
SAID = "kernel 4.4.0\ntoken word\nfilter 0\ndisk 0\n"
OOM = Exit(code=None, limit=Limit.MEMORY)


def test_its_end_for_want_of_memory_is_what_is_looked_for() -> None:
    assert trial.tripped_alone(SAID, OOM, "word") == {Limit.MEMORY, Limit.DISK}
    assert trial.tripped_alone(SAID, Exit(code=7), "word") == {Limit.DISK}


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ("", Exit(code=3)),  # it has the host's kernel
        (SAID.replace("word", "other"), OOM),
        (SAID.replace("kernel", "colonel"), OOM),
        (SAID, Exit(code=1)),
        (SAID, Exit(code=None)),
        ("", OOM),
    ],
)
def test_anything_else_is_no_trial(said: str, ended: Exit) -> None:
    with pytest.raises(SandboxError, match="a trial ended with"):
        trial.tripped_alone(said, ended, "word")


def test_only_another_runtime_of_this_host_is_asked_for_its_kernel() -> None:
    first, *others = ways(FACTS, "runsc")
    assert (first.own_kernel, first.near, first.sent) == (True, False, trial.HELD)
    assert tuple(others) == ways(FACTS)
    for facts in (attrs.evolve(FACTS, local=False), attrs.evolve(FACTS, rootless=True)):
        assert ways(facts, "runsc") == ways(facts)
    for shared in ("runc", "crun", "/usr/bin/crun", "io.containerd.runc.v2"):
        assert ways(FACTS, shared) == ways(FACTS)


def test_also_where_it_is_the_engine_s_default() -> None:
    facts = attrs.evolve(FACTS, runtime="/usr/local/bin/runsc")
    assert ways(facts) == ways(FACTS, "runsc")
    assert ways(facts, "runc") == ways(FACTS)


def test_its_threads_have_room() -> None:
    image = PreparedImage(image=Image("x"), identity=Digest.of(b""))
    spec = SandboxSpec(name="a", image=image, limits=Limits(pids=10))
    pids = {
        own: container_spec(
            spec,
            LocalImage(id="sha256:0"),
            Terms(seccomp="{}", sent=trial.HELD, own_kernel=own),
            name="isol8tasks-a",
            uid=1,
            run="r",
            host="h",
        ).pids
        for own in (False, True)
    }
    assert pids == {False: 11, True: 224}


def test_processes_are_not_held_exactly() -> None:
    found = trial.Findings(
        near=False,
        sent=trial.HELD,
        tripped=frozenset({Limit.MEMORY, Limit.DISK}),
        own_kernel=True,
    )
    given = trial.capabilities(found, FACTS)
    assert given.enforcement(Limit.MEMORY) is Enforcement.ENFORCED
    assert given.enforcement(Limit.PIDS) is Enforcement.UNVERIFIED
    assert given.enforcement(Limit.CPUS) is Enforcement.UNVERIFIED
