"""A noxfile to the text of a task file, and what was left out of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from isol8tasks.cli.noxfile import read as noxfiles
from isol8tasks.cli.noxfile.body import Body
from isol8tasks.cli.noxfile.values import Remark, Text, text
from isol8tasks.cli.noxfile.variants import Variant, slug, variants
from isol8tasks.cli.noxfile.write import Loop, Member, Part, write
from isol8tasks.errors import Location, UsageError
from isol8tasks.plan.graph import CycleError, topological_order

_LONGEST_NAME = 100


@attrs.frozen(kw_only=True)
class Conversion:
    """The task file; how many of the sessions it has; and the remarks, by line."""

    text: str
    carried: int
    sessions: int
    remarks: tuple[Remark, ...]


def convert(path: Path, *, beside: bool = True) -> Conversion:
    """Read a noxfile and write its sessions as stages; UsageError when there is nothing to read.

    Without `beside` the task file is going to be in another folder than the noxfile.
    """
    try:
        return _convert(path, beside=beside)
    except RecursionError:
        message = "the noxfile is nested too deeply to be read"
        raise UsageError(message, where=Location(str(path), 0)) from None


def _convert(path: Path, *, beside: bool) -> Conversion:
    noxfile = noxfiles.read(path)
    start = Body(scope=noxfile.scope)
    found = {name: variants(session, start) for name, session in noxfile.sessions.items()}
    everything = [variant for each in found.values() for variant in each]
    _name_apart(everything)
    _link(found)
    general = list(noxfile.remarks)
    if not beside:
        general.append(
            Remark(1, "paths are meant from the folder of the noxfile, not of this file")
        )
    goals = _goals(found)
    for variant in everything:
        variant.requires = _with_goals(variant.requires, found, goals)
    parts = [_part(name, each, goals.get(name, "")) for name, each in found.items()]
    default = _default(noxfile, found, goals, general)
    carried = sum(any(variant.run for variant in each) for each in found.values())
    remarks = [remark for variant in everything for remark in variant.remarks]
    if not carried:
        first = next(iter(_by_line(remarks)), Remark(0, "no session has a command"))
        raise UsageError(
            "nothing of the noxfile can be carried over",
            where=Location(str(path), first.line),
            hint=f"the first reason is: {first.text}",
        )
    return Conversion(
        text=write(path.name, tuple(general), tuple(parts), default),
        carried=carried,
        sessions=len(found),
        remarks=_by_line([*general, *remarks]),
    )


def _by_line(remarks: Iterable[Remark]) -> tuple[Remark, ...]:
    return tuple(sorted(dict.fromkeys(remarks), key=lambda remark: remark.line))


def _name_apart(everything: list[Variant]) -> None:
    """Give a number to names that became the same when characters were left out."""
    taken: set[str] = set()
    for variant in everything:
        name, number = str(variant.name), 1
        while name in taken:
            number += 1
            name = f"{str(variant.name)[:90]}-{number}"
        if number > 1:
            variant.name = text(name)
        taken.add(name)


def _link(found: dict[str, list[Variant]]) -> None:
    """Names of stages for the names of sessions in requires=; what leads nowhere is remarked."""
    members: dict[str, list[Variant]] = {}
    for name, each in found.items():
        for variant in each:
            for signature in dict.fromkeys((name, *variant.signatures)):
                members.setdefault(signature, []).append(variant)
    before: dict[str, tuple[str, ...]] = {}
    for variant in (variant for each in found.values() for variant in each if variant.run):
        linked: list[Text] = []
        for required in variant.requires:
            linked += _linked(variant, required, members)
        variant.requires = tuple(dict.fromkeys(linked))
        _break_cycles(variant, before)


def _linked(variant: Variant, required: Text, members: dict[str, list[Variant]]) -> list[Text]:
    targets = members.get(str(required), [])
    stages = [target for target in targets if target.run and target is not variant]
    if not stages:
        reason = f"requires='{required}': there is no such stage"
        line = variant.declared.node.lineno
        variant.remarks = (*variant.remarks, Remark(line, reason))
    if len(stages) == 1 and str(stages[0].name) == str(required):
        return [required]
    return [text(str(stage.name)) for stage in stages]


def _break_cycles(variant: Variant, before: dict[str, tuple[str, ...]]) -> None:
    name = str(variant.name)
    kept: tuple[Text, ...] = ()
    for required in variant.requires:
        trial = {**before, name: tuple(map(str, (*kept, required)))}
        nodes = {*trial, *(each for several in trial.values() for each in several)}
        try:
            topological_order(tuple(sorted(nodes)), {node: trial.get(node, ()) for node in nodes})
            kept = (*kept, required)
        except CycleError:
            reason = f"requires='{required}': the sessions wait for each other"
            line = variant.declared.node.lineno
            variant.remarks = (*variant.remarks, Remark(line, reason))
    variant.requires = kept
    before[name] = tuple(map(str, kept))


def _goals(found: dict[str, list[Variant]]) -> dict[str, str]:
    """The sessions that need a task, which is what nox means by their bare names."""
    taken = {str(variant.name) for each in found.values() for variant in each if variant.run}
    goals: dict[str, str] = {}
    for name, each in found.items():
        goal = slug(name)[:_LONGEST_NAME]
        if goal not in taken and any(variant.run for variant in each):
            goals[name] = goal
            taken.add(goal)
    return goals


def _with_goals(
    names: tuple[Text, ...], found: dict[str, list[Variant]], goals: dict[str, str]
) -> tuple[Text, ...]:
    """The names, with a task in the place of all of its stages."""
    for session, goal in goals.items():
        stages = [str(variant.name) for variant in found[session] if variant.run]
        if len(stages) > 1 and set(stages) <= set(map(str, names)):
            first = next(index for index, name in enumerate(names) if str(name) in stages)
            rest = tuple(name for name in names[first:] if str(name) not in stages)
            names = (*names[:first], text(goal), *rest)
    return names


def _part(name: str, each: list[Variant], goal: str) -> Part:
    """The loops and stages of one session, and the task that stands for all of them."""
    carried = [variant for variant in each if variant.run]
    groups: list[list[Variant]] = []
    for variant in carried:
        same = next((group for group in groups if group[0].shape == variant.shape), None)
        if same is None:
            groups.append([variant])
        else:
            same.append(variant)
    return Part(
        session=name,
        description=each[0].declared.description if each else "",
        loops=tuple(Loop(tuple(map(_member, group))) for group in groups),
        left_out=tuple(variant.title for variant in each if not variant.run),
        remarks=_by_line(remark for variant in each for remark in variant.remarks),
        task=goal,
    )


def _member(variant: Variant) -> Member:
    assert variant.run is not None  # noqa: S101 -- for the type checker
    return Member(
        name=variant.name,
        title=variant.title,
        version=variant.version,
        packages=variant.packages,
        run=variant.run,
        tags=variant.tags,
        requires=variant.requires,
    )


def _default(
    noxfile: noxfiles.Noxfile,
    found: dict[str, list[Variant]],
    goals: dict[str, str],
    general: list[Remark],
) -> tuple[str, tuple[str, ...]]:
    """The name and the members of the task that runs when nothing is asked for."""
    chosen = [variant for each in found.values() for variant in each if variant.declared.default]
    if noxfile.chosen is not None:
        chosen = _chosen(noxfile.chosen, found, general)
    elif noxfile.tags is not None:
        wanted = set(noxfile.tags)
        everything = [variant for each in found.values() for variant in each]
        chosen = [each for each in everything if wanted & set(map(str, each.tags))]
    stages = tuple(dict.fromkeys(text(str(each.name)) for each in chosen if each.run))
    members = tuple(map(str, _with_goals(stages, found, goals)))
    taken = {str(variant.name) for each in found.values() for variant in each} | {*goals.values()}
    names = ("default", "all", *(f"default-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken), members


def _chosen(
    names: tuple[str, ...], found: dict[str, list[Variant]], general: list[Remark]
) -> list[Variant]:
    chosen: list[Variant] = []
    for name in names:
        more = [
            variant
            for session, each in found.items()
            for variant in each
            if name == session or name in variant.signatures
        ]
        if not more:
            general.append(Remark(1, f"nox.options.sessions: there is no session '{name}'"))
        chosen += more
    return chosen
