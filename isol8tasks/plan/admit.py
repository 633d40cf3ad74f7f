"""Whether a host may run a plan: stated limits, networks and images against capabilities."""

from __future__ import annotations

import attrs

from isol8tasks.backend.contract import Capabilities
from isol8tasks.errors import Refused
from isol8tasks.model.image import LayerKind
from isol8tasks.model.limits import Enforcement, Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.stage import Stage

IMAGE_HINT = "use Image.python(), Image.node() or Image.bash(), or a backend that has such images"

_HELD = {
    Enforcement.APPROXIMATE: "only approximated",
    Enforcement.UNVERIFIED: "not verified to be enforced",
}
_EVERYWHERE = frozenset({LayerKind.ENV})


@attrs.frozen(kw_only=True)
class Consent:
    """What the operator agreed to beyond the rule that a stated limit must hold."""

    allow_host_network: bool = False
    allow_unenforced: frozenset[Limit] = frozenset()
    require_enforced: bool = False


def admit(
    stage: Stage, capabilities: Capabilities, *, backend: str, consent: Consent
) -> tuple[Limit, ...]:
    """The limits that this host holds less than firmly; Refused when the stage must not run."""
    _admit_image(stage, capabilities, backend)
    _admit_network(stage, capabilities, backend, consent)
    weak = tuple(
        limit for limit in Limit if capabilities.enforcement(limit) is not Enforcement.ENFORCED
    )
    for limit in weak:
        _admit_limit(stage, limit, capabilities.enforcement(limit), backend, consent)
    return weak


def _admit_limit(
    stage: Stage, limit: Limit, found: Enforcement, backend: str, consent: Consent
) -> None:
    if limit in consent.allow_unenforced:
        return
    stated = limit in stage.limits.stated
    if not stated and not consent.require_enforced:
        return
    held = _HELD.get(found, "not enforced")
    whose = "states the limit" if stated else "has the default limit"
    raise Refused(
        f"'{stage.name}' {whose} '{limit}', which is {held} by {backend} on this host",
        where=stage.declared_at,
        hint=f"see 'isol8tasks doctor', or accept it with --allow-unenforced {limit}",
    )


def _admit_network(
    stage: Stage, capabilities: Capabilities, backend: str, consent: Consent
) -> None:
    mode = stage.network.mode
    if mode not in capabilities.networks:
        raise Refused(
            f"'{stage.name}' wants the network mode '{mode}', which {backend} cannot give here",
            where=stage.declared_at,
            hint="see 'isol8tasks doctor' for what each backend gives on this host",
        )
    if mode is NetworkMode.HOST and not consent.allow_host_network:
        raise Refused(
            f"'{stage.name}' wants the host's network, which needs your consent",
            where=stage.declared_at,
            hint="run again with --allow-host-network if you trust what it runs",
        )


def _admit_image(stage: Stage, capabilities: Capabilities, backend: str) -> None:
    image = stage.image
    layers = {layer.kind for layer in image.layers} - capabilities.layers - _EVERYWHERE
    if image.kind in capabilities.images and not layers:
        return
    what = f"the image '{image}' of '{stage.name}'"
    if image.kind in capabilities.images:
        what = f"the '{min(layers)}' layers of '{stage.name}', whose image is '{image}'"
    raise Refused(
        f"{backend} cannot supply {what}",
        where=stage.declared_at,
        hint=IMAGE_HINT,
    )
