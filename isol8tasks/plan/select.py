"""Which stages a command line asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isol8tasks.errors import PlanError
from isol8tasks.plan.index import SEE_LIST, Index
from isol8tasks.plan.keywords import parse_keywords

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
) -> tuple[str, ...]:
    """Names of the stages that are goals, in order of declaration.

    Targets are stages or tasks; tags (any of them) and keywords narrow them down, or all stages
    when no target is given. Without any of the three: the default task, else every stage.
    PlanError for an unknown name, or when nothing is left.
    """
    index = Index.of(taskfile)
    for name in (*targets, *skip):
        index.require(name, f"there is no stage or task '{name}'")
    narrowed = bool(tags or keywords)
    wanted = set(index.expand(targets or _base(index, narrowed=narrowed)))
    wanted -= set(index.expand(skip))
    wanted &= _tagged(index, tags) & _named(index, keywords)
    if not wanted:
        raise PlanError("nothing is selected", hint=SEE_LIST)
    return tuple(name for name in index.stages if name in wanted)


def _base(index: Index, *, narrowed: bool) -> tuple[str, ...]:
    defaults = tuple(task.name for task in index.tasks.values() if task.default)
    return defaults if defaults and not narrowed else tuple(index.stages)


def _tagged(index: Index, tags: Sequence[str]) -> set[str]:
    if not tags:
        return set(index.stages)
    return {name for name, stage in index.stages.items() if not set(tags).isdisjoint(stage.tags)}


def _named(index: Index, keywords: str) -> set[str]:
    if not keywords:
        return set(index.stages)
    parsed = parse_keywords(keywords)
    return {name for name, stage in index.stages.items() if parsed.match((name, *stage.tags))}
