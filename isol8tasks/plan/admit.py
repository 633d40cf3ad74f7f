"""Whether a backend may run a plan: stated limits, networks and images against what it has here."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import attrs

from isol8tasks.backend.contract import Capabilities, Probe
from isol8tasks.errors import BackendUnavailable, Refused
from isol8tasks.model.image import LayerKind
from isol8tasks.model.limits import Enforcement, Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.stage import Stage

IMAGE_HINT = "use Image.python(), Image.node() or Image.bash(), or a backend that has such images"

_WEAKLY = {
    Enforcement.APPROXIMATE: "only approximately",
    Enforcement.UNVERIFIED: "perhaps",
    Enforcement.NONE: "not at all",
}
_HELD = {
    Enforcement.APPROXIMATE: ("only approximates", "only approximated"),
    Enforcement.UNVERIFIED: ("is not verified to enforce", "not verified to be enforced"),
    Enforcement.NONE: ("does not enforce", "not enforced"),
}
_EVERYWHERE = frozenset({LayerKind.ENV})
_GIST = 90
"""Characters of a reason that share a line with other things."""


@attrs.frozen(kw_only=True)
class Consent:
    """What the operator agreed to beyond the rule that a stated limit must hold."""

    allow_host_network: bool = False
    allow_unenforced: frozenset[Limit] = frozenset()
    require_enforced: bool = False


@attrs.frozen(kw_only=True)
class PassedOver:
    """A backend that is not taken: `why` names it, on one line; `remedy` would change it.

    `refusal` is there when the backend works, and this plan is too much for it.
    """

    why: str
    remedy: str = ""
    refusal: Refused | None = None


def require_consent(stages: Iterable[Stage], consent: Consent) -> None:
    """Refused when a stage needs what no backend gives without the operator's word."""
    for stage in stages:
        if stage.network.mode is NetworkMode.HOST and not consent.allow_host_network:
            raise Refused(
                f"'{stage.name}' wants the host's network, which needs your consent",
                where=stage.declared_at,
                hint="run again with --allow-host-network if you trust what it runs",
            )


def admit(
    stages: Iterable[Stage], given: Capabilities, *, backend: str, consent: Consent
) -> tuple[Limit, ...] | PassedOver:
    """The limits that this host holds less than firmly, or why the backend must not run these."""
    weak = tuple(limit for limit in Limit if given.enforcement(limit) is not Enforcement.ENFORCED)
    for stage in stages:
        found = _image_lacks(stage, given, backend) or _network_lacks(stage, given, backend)
        for limit in weak:
            found = found or _limit_lacks(stage, limit, given.enforcement(limit), backend, consent)
        if found is not None:
            return found
    return weak


def weak_notice(weak: Iterable[Limit], given: Capabilities, *, backend: str) -> str:
    """One sentence about limits that this host holds less than firmly; empty without any."""
    clauses = []
    for level, word in _WEAKLY.items():
        if names := [limit.value for limit in weak if given.enforcement(limit) is level]:
            clauses.append(f"{_enumerated(names)} {word}")
    return f"on this host {backend} holds {', '.join(clauses)}" if clauses else ""


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def unusable(backend: str, probe: Probe) -> PassedOver:
    """A backend that does not work here is passed over for its own reason."""
    why = about(backend, probe.reason or f"{backend} does not work here")
    return PassedOver(why=why, remedy=probe.remedy)


def about(backend: str, why: str) -> str:
    """A reason on one line, which begins with the backend's name if it does not already."""
    why = " ".join(why.split())
    return why if why.startswith((f"{backend} ", f"{backend}:")) else f"{backend}: {why}"


def why_chosen(passed: Sequence[PassedOver]) -> str:
    """Why a backend is chosen after these, in few words."""
    if not passed:
        return "the first that can run this plan"
    return "; ".join(textwrap.shorten(over.why, _GIST, placeholder=" …") for over in passed)


def nothing_left(passed: Sequence[PassedOver]) -> Refused | BackendUnavailable:
    """The error when every backend was passed over: the first refusal, with why not the others."""
    for over in passed:
        if over.refusal is not None:
            others = (other.why for other in passed if other is not over)
            hint = "; ".join((over.refusal.hint, *others))
            return Refused(over.refusal.message, where=over.refusal.where, hint=hint)
    remedies = dict.fromkeys(over.remedy for over in passed if over.remedy)
    return BackendUnavailable(
        "; ".join(over.why for over in passed) or "no backend is installed",
        hint="; ".join(remedies) or "see 'isol8tasks doctor'",
    )


def _limit_lacks(
    stage: Stage, limit: Limit, found: Enforcement, backend: str, consent: Consent
) -> PassedOver | None:
    stated = limit in stage.limits.stated
    if limit in consent.allow_unenforced or not (stated or consent.require_enforced):
        return None
    holds, held = _HELD[found]
    whose = "states the limit" if stated else "has the default limit"
    return _lacks(
        stage,
        f"{backend} {holds} {limit}",
        f"'{stage.name}' {whose} '{limit}', which is {held} by {backend} on this host",
        hint=f"see 'isol8tasks doctor', or accept it with --allow-unenforced {limit}",
    )


def _network_lacks(stage: Stage, given: Capabilities, backend: str) -> PassedOver | None:
    mode = stage.network.mode
    if mode in given.networks:
        return None
    hint = "see 'isol8tasks doctor' for what each backend gives on this host"
    if mode is NetworkMode.ALLOW:
        hint = "no backend filters yet: bake what is downloaded into the image, or Network.host()"
    return _lacks(
        stage,
        f"{backend} cannot give the network mode {mode}",
        f"'{stage.name}' wants the network mode '{mode}', which {backend} cannot give here",
        hint=hint,
    )


def _image_lacks(stage: Stage, given: Capabilities, backend: str) -> PassedOver | None:
    image = stage.image
    layers = {layer.kind for layer in image.layers} - given.layers - _EVERYWHERE
    if image.kind not in given.images:
        gist, what = f"images of kind {image.kind}", f"the image '{image}' of '{stage.name}'"
    elif layers:
        gist = f"{min(layers)} layers"
        what = f"the '{min(layers)}' layers of '{stage.name}', whose image is '{image}'"
    else:
        return None
    why = f"{backend} cannot supply {gist}"
    return _lacks(stage, why, f"{backend} cannot supply {what}", hint=IMAGE_HINT)


def _lacks(stage: Stage, why: str, message: str, *, hint: str) -> PassedOver:
    return PassedOver(why=why, refusal=Refused(message, where=stage.declared_at, hint=hint))
