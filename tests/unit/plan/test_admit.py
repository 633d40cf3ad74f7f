from __future__ import annotations

from typing import Any

import pytest

from isol8tasks.backend.contract import Capabilities, Probe
from isol8tasks.errors import BackendUnavailable, Location, Refused
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit, Limits
from isol8tasks.model.network import Network, NetworkMode
from isol8tasks.model.stage import Exec, Stage
from isol8tasks.plan.admit import (
    Consent,
    PassedOver,
    admit,
    nothing_left,
    require_consent,
    unusable,
    weak_notice,
    why_chosen,
)

WEAK = Capabilities(
    limits=(
        (Limit.MEMORY, Enforcement.APPROXIMATE),
        (Limit.CPUS, Enforcement.UNVERIFIED),
        (Limit.PIDS, Enforcement.ENFORCED),
    ),
    networks=frozenset({NetworkMode.NONE, NetworkMode.HOST}),
    images=frozenset({ImageKind.BASH}),
    layers=frozenset({LayerKind.PIP}),
)


def stage(**fields: Any) -> Stage:
    fields = {"image": Image.bash(), **fields}
    return Stage(name="s", command=Exec(("x",)), declared_at=Location("isol8file.py", 3), **fields)


def ask(consent: Consent | None = None, **fields: Any) -> tuple[Limit, ...] | PassedOver:
    stages = (stage(), stage(**fields))
    return admit(stages, WEAK, backend="weak", consent=consent or Consent())


def passed_over(consent: Consent | None = None, **fields: Any) -> PassedOver:
    found = ask(consent, **fields)
    assert isinstance(found, PassedOver)
    return found


def parts(error: Refused | None) -> tuple[str, str, str]:
    assert error is not None
    return error.message, str(error.where), error.hint


def refusal(consent: Consent | None = None, **fields: Any) -> tuple[str, str, str]:
    return parts(passed_over(consent, **fields).refusal)


def test_defaults_run_weakly_and_are_named() -> None:
    assert ask() == (Limit.MEMORY, Limit.CPUS, Limit.DISK)


def test_what_is_enforced_may_be_stated() -> None:
    stated = Limits.of(pids=5, timeout="1s", output_limit="1m")
    assert ask(limits=stated) == (Limit.MEMORY, Limit.CPUS, Limit.DISK)


def test_a_stated_limit_that_is_approximate_is_refused() -> None:
    assert refusal(limits=Limits.of(memory="64m")) == (
        "'s' states the limit 'memory', which is only approximated by weak on this host",
        "isol8file.py:3",
        "see 'isol8tasks doctor', or accept it with --allow-unenforced memory",
    )


@pytest.mark.parametrize(
    ("stated", "held"),
    [("cpus", "not verified to be enforced"), ("disk", "not enforced")],
)
def test_a_stated_limit_that_is_not_there_is_refused(stated: str, held: str) -> None:
    message, *_ = refusal(limits=Limits.of(**{stated: 1}))
    assert message == f"'s' states the limit '{stated}', which is {held} by weak on this host"


def test_the_operator_may_accept_it() -> None:
    consent = Consent(allow_unenforced=frozenset({Limit.CPUS, Limit.MEMORY}))
    weak = ask(consent, limits=Limits.of(cpus=0.5, memory="64m"))
    assert weak == (Limit.MEMORY, Limit.CPUS, Limit.DISK)


def test_defaults_are_refused_when_everything_must_hold() -> None:
    message, _, hint = refusal(Consent(require_enforced=True))
    assert message == (
        "'s' has the default limit 'memory', which is only approximated by weak on this host"
    )
    assert hint.endswith("--allow-unenforced memory")


def test_a_network_mode_is_given_or_refused() -> None:
    message, where, _ = refusal(network=Network.allow("example.org"))
    assert message == "'s' wants the network mode 'allow', which weak cannot give here"
    assert where == "isol8file.py:3"


def test_the_hosts_network_needs_consent() -> None:
    stages = (stage(), stage(network=Network.host()))
    with pytest.raises(Refused) as caught:
        require_consent(stages, Consent())
    assert parts(caught.value) == (
        "'s' wants the host's network, which needs your consent",
        "isol8file.py:3",
        "run again with --allow-host-network if you trust what it runs",
    )
    require_consent(stages, Consent(allow_host_network=True))
    require_consent((stage(),), Consent())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image("busybox:1"), "weak cannot supply the image 'busybox:1' of 's'"),
        (Image.python("3.12"), "weak cannot supply the image 'python:3.12' of 's'"),
        (
            Image.bash().apt("git"),
            "weak cannot supply the 'apt' layers of 's', whose image is 'bash + apt(git)'",
        ),
    ],
)
def test_an_image_that_the_backend_does_not_have(image: Image, message: str) -> None:
    assert refusal(image=image)[0] == message


def test_env_layers_work_everywhere() -> None:
    assert not isinstance(ask(image=Image.bash().env(A="b").pip("x")), PassedOver)


IN_SHORT = [
    ({"image": Image("busybox:1")}, "weak cannot supply images of kind reference"),
    ({"image": Image.bash().run("x").apt("git")}, "weak cannot supply apt layers"),
    ({"network": Network.allow("example.org")}, "weak cannot give the network mode allow"),
    ({"limits": Limits.of(memory="64m", disk="1m")}, "weak only approximates memory"),
    ({"limits": Limits.of(cpus=1)}, "weak is not verified to enforce cpus"),
    ({"limits": Limits.of(disk="1m")}, "weak does not enforce disk"),
]


@pytest.mark.parametrize(("fields", "why"), IN_SHORT)
def test_a_refusal_in_short(fields: dict[str, Any], why: str) -> None:
    assert passed_over(**fields).why == why


UNUSABLE = [
    ("the engine is not running", "dock: the engine is not running"),
    ("dock is not running", "dock is not running"),
    ("dock: is not running", "dock: is not running"),
    ("docker is not running", "dock: docker is not running"),
    ("first\n  second\r\n", "dock: first second"),
    ("", "dock does not work here"),
]


@pytest.mark.parametrize(("reason", "why"), UNUSABLE)
def test_what_does_not_work_is_said_on_one_line_and_named_once(reason: str, why: str) -> None:
    assert unusable("dock", Probe(reason=reason, remedy="start it")) == PassedOver(
        why=why, remedy="start it"
    )


DOWN = PassedOver(why="down is not running", remedy="start it")
GONE = PassedOver(why="gone: there is no\x1b engine " + "x " * 50, remedy="install it")
ALSO = PassedOver(why="also: is not running", remedy="start it")
SMALL = PassedOver(
    why="small does not enforce disk",
    refusal=Refused("'s' states", where=Location("isol8file.py", 3), hint="accept it"),
)
OTHER = PassedOver(why="other cannot supply apt layers", refusal=Refused("other", hint="no apt"))

REASONS = [
    ((), "the first that can run this plan"),
    ((SMALL,), "small does not enforce disk"),
    ((SMALL, DOWN), "small does not enforce disk; down is not running"),
    ((GONE,), "gone: there is no\x1b engine" + " x" * 31 + " …"),
]


@pytest.mark.parametrize(("passed", "reason"), REASONS)
def test_why_one_is_chosen_is_why_the_others_before_it_are_not(
    passed: tuple[PassedOver, ...], reason: str
) -> None:
    assert why_chosen(passed) == reason


LEFT = [
    ((SMALL,), ("'s' states", "isol8file.py:3", "accept it")),
    (
        (DOWN, SMALL, OTHER, ALSO),
        (
            "'s' states",
            "isol8file.py:3",
            "accept it; down is not running; other cannot supply apt layers; also: is not running",
        ),
    ),
    ((OTHER, SMALL), ("other", "None", "no apt; small does not enforce disk")),
]


@pytest.mark.parametrize(("passed", "error"), LEFT)
def test_the_first_refusal_is_raised_and_names_why_not_the_others(
    passed: tuple[PassedOver, ...], error: tuple[str, str, str]
) -> None:
    found = nothing_left(passed)
    assert isinstance(found, Refused)
    assert parts(found) == error


NOTHING = [
    ((), ("no backend is installed", "see 'isol8tasks doctor'")),
    ((DOWN,), ("down is not running", "start it")),
    ((DOWN, ALSO), ("down is not running; also: is not running", "start it")),
    (
        (PassedOver(why="odd does not work here"),),
        ("odd does not work here", "see 'isol8tasks doctor'"),
    ),
]


@pytest.mark.parametrize(("passed", "error"), NOTHING)
def test_nothing_that_works_is_no_refusal(
    passed: tuple[PassedOver, ...], error: tuple[str, str]
) -> None:
    found = nothing_left(passed)
    assert isinstance(found, BackendUnavailable)
    assert (found.message, found.hint) == error


def test_what_is_held_weakly_is_said_in_one_sentence() -> None:
    weak = (Limit.MEMORY, Limit.CPUS, Limit.DISK)
    assert weak_notice(weak, WEAK, backend="weak") == (
        "on this host weak holds memory only approximately, cpus perhaps, disk not at all"
    )
    assert weak_notice((), WEAK, backend="weak") == ""
