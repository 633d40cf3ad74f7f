"""`isol8tasks doctor`."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import click

from isol8tasks import __version__
from isol8tasks.cli import options
from isol8tasks.cli.errors import OPERATION, PASSED
from isol8tasks.cli.run import run_options
from isol8tasks.model.limits import Limit
from isol8tasks.report.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isol8tasks.app import Diagnosis
    from isol8tasks.backend.contract import Capabilities

    Pairs = Sequence[tuple[str, str]]

SCHEMA = 1

_WHO = {True: "unprivileged users of their own", False: "the user who starts them"}


@click.command("doctor", short_help="Show which sandboxes work on this host.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@options.place
def doctor_command(as_json: bool, **flags: Any) -> int:
    """Try every backend: what works here, which one would be chosen, and the remedy for each no.

    Exits with 3 when no backend works.
    """
    from isol8tasks.app import diagnose  # noqa: PLC0415 -- not for help

    settings = options.settings(flags)
    found = diagnose(run_options(settings))
    if as_json:
        import json  # noqa: PLC0415 -- the text does without

        click.echo(json.dumps(document(found, settings.images), indent=2))
    else:
        click.echo("\n".join(lines(found, settings.images)))
    return PASSED if any(diagnosis.chosen for diagnosis in found) else OPERATION


def lines(found: Sequence[Diagnosis], images: Pairs = ()) -> Iterator[str]:
    """The text of `doctor`."""
    yield f"isol8tasks {__version__}, Python {platform.python_version()}, {_host()}"
    for diagnosis in found:
        yield from ("", *_diagnosis(diagnosis))
    if not found:
        yield "no backend is installed"
    if images:
        width = max(len(name) for name, _ in images)
        yield from ("", "what the names of images stand for:")
        for name, reference in images:
            yield f"    {one_line(f'{name:{width}}  {reference}')}"


def document(found: Sequence[Diagnosis], images: Pairs = ()) -> dict[str, Any]:
    """The JSON of `doctor`."""
    return {
        "schema": SCHEMA,
        "isol8tasks": __version__,
        "python": platform.python_version(),
        "host": _host(),
        "backends": [_backend(diagnosis) for diagnosis in found],
        "images": dict(images),
    }


def _host() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _diagnosis(diagnosis: Diagnosis) -> Iterator[str]:
    probe = diagnosis.probe
    mark = "*" if diagnosis.chosen else " "
    works = "works" if probe.capabilities else "does not work here"
    yield f"{mark} {one_line(f'{diagnosis.name} {probe.version}')}: {works}"
    if probe.capabilities and diagnosis.reason:
        yield f"    {'chosen' if diagnosis.chosen else 'not chosen'}: {one_line(diagnosis.reason)}"
    if probe.reason:
        yield f"    reason: {one_line(probe.reason)}"
    if probe.remedy:
        yield f"    remedy: {one_line(probe.remedy)}"
    if probe.capabilities:
        yield f"    sandboxes run as {_WHO[probe.own_uids]}"
        yield from _capabilities(probe.capabilities)
    yield from (f"    note: {one_line(remark)}" for remark in probe.remarks)


def _capabilities(given: Capabilities) -> Iterator[str]:
    yield "    limits:"
    for limit in Limit:
        why, remedy = given.explanation(limit)
        held = given.enforcement(limit).value
        yield f"      {limit.value:12}  {held:11}  {one_line(why)}".rstrip()
        if remedy:
            yield f"{'':33}remedy: {one_line(remedy)}"
    yield f"    networks: {', '.join(sorted(given.networks))}"
    yield f"    images: {', '.join(sorted(given.images))}"
    yield f"    layers: {', '.join(sorted(given.layers)) or 'none'}"


def _backend(diagnosis: Diagnosis) -> dict[str, Any]:
    probe = diagnosis.probe
    return {
        "name": diagnosis.name,
        "works": probe.capabilities is not None,
        "chosen": diagnosis.chosen,
        "why": diagnosis.reason,
        "version": probe.version,
        "rootless": probe.rootless,
        "own_uids": probe.own_uids,
        "reason": probe.reason,
        "remedy": probe.remedy,
        "remarks": list(probe.remarks),
        "capabilities": probe.capabilities and _capability_values(probe.capabilities),
    }


def _limit_values(limit: Limit, given: Capabilities) -> dict[str, str]:
    why, remedy = given.explanation(limit)
    return {"held": given.enforcement(limit).value, "why": why, "remedy": remedy}


def _capability_values(given: Capabilities) -> dict[str, Any]:
    return {
        "limits": {limit.value: _limit_values(limit, given) for limit in Limit},
        "networks": sorted(given.networks),
        "images": sorted(given.images),
        "layers": sorted(given.layers),
        "host_bound": given.host_bound,
    }
