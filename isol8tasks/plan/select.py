"""Which stages a command line asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isol8tasks.errors import PlanError
from isol8tasks.model.address import is_below, split
from isol8tasks.plan.index import SEE_LIST, Index
from isol8tasks.plan.keywords import parse_keywords
from isol8tasks.plan.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isol8tasks.model.stage import TaskFile


def select(
    taskfile: TaskFile,
    *,
    targets: Sequence[str] = (),
    tags: Sequence[str] = (),
    keywords: str = "",
    skip: Sequence[str] = (),
    below: str | None = None,
) -> tuple[str, ...]:
    """Names of the stages that are goals, in order of declaration.

    Targets are stages or tasks; tags (any of them) and keywords narrow them down. Without targets:
    every stage of the folder `below` and all in it, else of the current task file the default task,
    or each stage when there is none or something narrows them down. PlanError for an unknown name,
    or when nothing is left.
    """
    index = Index.of(taskfile)
    for name in (*targets, *skip):
        index.require(name, f"there is no stage or task '{name}'")
    narrowed = bool(tags or keywords) or below is not None
    base = _below(index, below) or _base(index, taskfile.folder, narrowed=narrowed)
    wanted = set(index.expand(targets or base))
    wanted -= _with_dependants(index, index.expand(skip))
    wanted &= _tagged(index, tags) & _named(index, keywords)
    if not wanted:
        from isol8tasks.plan.plan import check_order  # noqa: PLC0415 -- a listing plans nothing

        check_order(index)  # tasks that only contain each other stand for nothing
        raise _nothing(index, tags, keywords, skip)
    return tuple(name for name in index.stages if name in wanted)


def _with_dependants(index: Index, names: Sequence[str]) -> set[str]:
    """Stages and all that need them, also by way of a task."""
    after: dict[str, list[str]] = {}
    for name in index.names:
        for before in index.prerequisites(name):
            after.setdefault(before, []).append(name)
    found, pending = set(), list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += after.get(name, ())
    return found


def _below(index: Index, top: str | None) -> tuple[str, ...]:
    if top is None:
        return ()
    return tuple(name for name, stage in index.stages.items() if is_below(stage.folder, top))


def _base(index: Index, folder: str, *, narrowed: bool) -> tuple[str, ...]:
    here = tuple(name for name, stage in index.stages.items() if stage.folder == folder)
    defaults = (task.name for task in index.tasks.values() if task.default)
    return here if narrowed else tuple(n for n in defaults if split(n)[0] == folder) or here


def _tagged(index: Index, tags: Sequence[str]) -> set[str]:
    if not tags:
        return set(index.stages)
    return {name for name, stage in index.stages.items() if not set(tags).isdisjoint(stage.tags)}


def _named(index: Index, keywords: str) -> set[str]:
    if not keywords:
        return set(index.stages)
    parsed = parse_keywords(keywords)
    return {name for name, stage in index.stages.items() if parsed.match((name, *stage.tags))}


def _nothing(index: Index, tags: Sequence[str], keywords: str, skip: Sequence[str]) -> PlanError:
    """The error for a selection that has no stage, with what narrowed it down."""
    known = dict.fromkeys(tag for stage in index.stages.values() for tag in stage.tags)
    for tag in tags:
        if tag not in known:
            hint = f"there are the tags {', '.join(known)}" if known else SEE_LIST
            guess = did_you_mean(tag, known)
            return PlanError(f"no stage has the tag '{tag}'{guess}", hint=hint)
    tagged = " or ".join(f"'{tag}'" for tag in tags)
    conditions = [f"has the tag {tagged}"] if tags else []
    conditions += [f"matches '{keywords}'"] if keywords else []
    conditions += [f"is left by --skip {' '.join(skip)}"] if skip else []
    which = f": no stage {' and '.join(conditions)}" if conditions else ""
    return PlanError(f"nothing is selected{which}", hint=SEE_LIST)
