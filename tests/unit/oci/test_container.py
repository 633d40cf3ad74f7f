"""What of a sandbox's spec becomes part of the container's."""

from __future__ import annotations

import pytest
from isol8tasks_oci.client import ContainerSpec, LocalImage
from isol8tasks_oci.container import (
    INIT_PROCESSES,
    OWNER,
    PATH,
    Terms,
    container_spec,
    environment,
    labels,
)

from isol8tasks.backend.contract import PreparedImage, SandboxSpec
from isol8tasks.backend.owner import Owner
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.network import Network, NetworkMode

ALL = frozenset({Limit.MEMORY, Limit.CPUS, Limit.PIDS})
LIMITS = Limits(memory=1 << 26, cpus=0.5, pids=10, disk=1 << 20)
LOCAL = LocalImage(id="sha256:1", tags=("x:1",), env=(("PATH", "/opt/bin"), ("A", "image")))
BARE = LocalImage(id="sha256:2")


def prepared(image: Image | None = None) -> PreparedImage:
    return PreparedImage(image=image or Image("x:1"), identity=Digest.of(b""))


def sandbox(
    image: Image | None = None,
    env: tuple[tuple[str, str], ...] = (),
    network: Network | None = None,
) -> SandboxSpec:
    return SandboxSpec(
        name="unit tests",
        image=prepared(image),
        limits=LIMITS,
        env=env,
        network=network or Network.none(),
    )


def made(
    sent: frozenset[Limit],
    *,
    network: Network | None = None,
    local: LocalImage = LOCAL,
) -> ContainerSpec:
    terms = Terms(seccomp="{}", sent=sent, runtime="runsc")
    spec = sandbox(network=network)
    return container_spec(spec, local, terms, name="n", uid=64001, run="r", host="h")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (ALL, (1 << 26, 0.5, 10 + INIT_PROCESSES)),
        (frozenset(), (None, None, None)),
        (frozenset({Limit.MEMORY}), (1 << 26, None, None)),
        (frozenset({Limit.PIDS}), (None, None, 10 + INIT_PROCESSES)),
        (frozenset({Limit.CPUS}), (None, 0.5, None)),
    ],
)
def test_only_limits_that_the_engine_takes_are_sent(
    sent: frozenset[Limit], expected: tuple[object, ...]
) -> None:
    spec = made(sent)
    assert (spec.memory, spec.cpus, spec.pids) == expected


def test_the_rest_is_passed_on() -> None:
    local = LocalImage(id="sha256:3", volumes=("/data",), user="root")
    spec = made(ALL, local=local)
    assert (spec.name, spec.image, spec.uid) == ("n", "sha256:3", 64001)
    assert (spec.volumes, spec.seccomp, spec.runtime) == (("/data",), "{}", "runsc")
    assert (spec.argv, spec.binds, spec.tmpfs) == ((), (), ()), "where it runs decides on these"


@pytest.mark.parametrize("network", [Network.none(), Network.host(), Network.allow("a.example")])
def test_the_network_is_the_stage_s(network: Network) -> None:
    assert made(ALL, network=network).network is network.mode


def test_without_a_word_there_is_no_network() -> None:
    assert made(ALL).network is NetworkMode.NONE


HOME = {"HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}


@pytest.mark.parametrize(
    ("image", "env", "local", "expected"),
    [
        (None, (), BARE, {"PATH": PATH}),
        (None, (), LOCAL, {}),
        (None, (("PATH", "/mine"),), LOCAL, {"PATH": "/mine"}),
        (
            None,
            (("A", "b"), ("HOME", "/sandbox")),
            BARE,
            {"PATH": PATH, "A": "b", "HOME": "/sandbox"},
        ),
        (
            Image("x:1").env(A="recipe", B="recipe"),
            (("B", "stage"),),
            LOCAL,
            {"A": "recipe", "B": "stage"},
        ),
        (Image("x:1").env(PATH="/recipe"), (), BARE, {"PATH": "/recipe"}),
    ],
    ids=["bare", "the image's PATH", "the stage's PATH", "the stage", "the recipe", "its PATH"],
)
def test_what_is_added_to_the_image_s_environment(
    image: Image | None,
    env: tuple[tuple[str, str], ...],
    local: LocalImage,
    expected: dict[str, str],
) -> None:
    found = environment(sandbox(image, env), local)
    assert dict(found) == {**HOME, **expected}
    assert list(found) == sorted(found), "the same pairs give the same container"


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("unit", "unit"),
        ("a/b:c d", "a_b_c_d"),
        ("ä\n=", "___"),
        ("x" * 300, "x" * 100),
        ("", ""),
    ],
)
def test_a_label_names_the_stage_in_plain_letters(stage: str, expected: str) -> None:
    found = dict(labels(run="r", stage=stage, host="h", owner=Owner.current()))
    assert found["isol8tasks.stage"] == expected


def test_the_labels_tell_whose_it_is() -> None:
    owner = Owner.current()
    found = dict(made(ALL).labels)
    assert Owner.parse(found[OWNER]) == owner
    assert found["isol8tasks.pid"] == str(owner.pid)
    assert (found["isol8tasks.run"], found["isol8tasks.host"]) == ("r", "h")


def test_secrets_are_not_in_a_repr() -> None:
    terms = Terms(seccomp="{}", sent=ALL)
    spec = sandbox(env=(("TOKEN", "s3cret"),))
    assert "s3cret" not in repr(
        container_spec(spec, BARE, terms, name="n", uid=1, run="r", host="h")
    )
