from __future__ import annotations

from typing import Any

import pytest

from isol8tasks.backend.contract import Capabilities
from isol8tasks.errors import Location, Refused
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit, Limits
from isol8tasks.model.network import Network, NetworkMode
from isol8tasks.model.stage import Exec, Stage
from isol8tasks.plan.admit import Consent, admit

WEAK = Capabilities(
    limits=((Limit.MEMORY, Enforcement.APPROXIMATE), (Limit.PIDS, Enforcement.ENFORCED)),
    networks=frozenset({NetworkMode.NONE, NetworkMode.HOST}),
    images=frozenset({ImageKind.BASH}),
    layers=frozenset({LayerKind.PIP}),
)


def ask(consent: Consent | None = None, **fields: Any) -> tuple[Limit, ...]:
    fields = {"image": Image.bash(), **fields}
    stage = Stage(name="s", command=Exec(("x",)), declared_at=Location("isol8file.py", 3), **fields)
    return admit(stage, WEAK, backend="weak", consent=consent or Consent())


def refusal(consent: Consent | None = None, **fields: Any) -> tuple[str, str, str]:
    with pytest.raises(Refused) as caught:
        ask(consent, **fields)
    return caught.value.message, str(caught.value.where), caught.value.hint


def test_defaults_run_weakly_and_are_named() -> None:
    assert ask() == (Limit.MEMORY, Limit.CPUS, Limit.DISK)


def test_what_is_enforced_may_be_stated() -> None:
    ask(limits=Limits.of(pids=5, timeout="1s", output_limit="1m"))


def test_a_stated_limit_that_is_approximate_is_refused() -> None:
    assert refusal(limits=Limits.of(memory="64m")) == (
        "'s' states the limit 'memory', which is only approximated by weak on this host",
        "isol8file.py:3",
        "see 'isol8tasks doctor', or accept it with --allow-unenforced memory",
    )


def test_a_stated_limit_that_is_not_there_is_refused() -> None:
    message, *_ = refusal(limits=Limits.of(cpus=0.5))
    assert message == "'s' states the limit 'cpus', which is not enforced by weak on this host"


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
    assert refusal(network=Network.host()) == (
        "'s' wants the host's network, which needs your consent",
        "isol8file.py:3",
        "run again with --allow-host-network if you trust what it runs",
    )
    ask(Consent(allow_host_network=True), network=Network.host())


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
    ask(image=Image.bash().env(A="b").pip("x"))
