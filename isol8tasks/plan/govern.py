"""Limits that do not come from a task file: what a workspace gives, and the most it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from isol8tasks.errors import Refused
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isol8tasks.model.stage import Stage, TaskFile
    from isol8tasks.plan.plan import Plan


def fill(taskfile: TaskFile, limits: Mapping[str, Any]) -> TaskFile:
    """Give these limits to the stages that do not state them. They count as stated."""
    if not limits:
        return taskfile
    return attrs.evolve(taskfile, stages=tuple(filled(s, limits) for s in taskfile.stages))


def hold(plan: Plan, ceilings: Mapping[str, Any]) -> Plan:
    """Narrow what stages do not state to the ceilings; Refused for one that states more.

    A ceiling counts as stated, so that a host that cannot hold it is refused, too.
    """
    if not ceilings:
        return plan
    return attrs.evolve(plan, stages=tuple(held(stage, ceilings) for stage in plan.stages))


def filled(stage: Stage, limits: Mapping[str, Any]) -> Stage:
    """What `fill` does, for one stage. Such a disk gives way to a memory that the stage states."""
    own = stage.limits
    found = Limits.of(**{**limits, **_stated(own)})
    if found.disk >= found.memory and Limit.MEMORY in own.stated and Limit.DISK not in own.stated:
        found = Limits.of(**{**_stated(found), Limit.DISK: max(1, found.memory // 2)})
    return attrs.evolve(stage, limits=found)


def held(stage: Stage, ceilings: Mapping[str, Any]) -> Stage:
    """What `hold` does, for one stage."""
    return attrs.evolve(stage, limits=_held(stage, Limits.of(**ceilings)))


def _held(stage: Stage, most: Limits) -> Limits:
    values = _stated(stage.limits)
    for name in sorted(most.stated):
        ceiling, value = getattr(most, name), getattr(stage.limits, name)
        if name in values and value > ceiling:
            raise Refused(
                f"stage '{stage.name}' states {name} {_shown(name, value)}: "
                f"the ceiling is {_shown(name, ceiling)}",
                where=stage.declared_at,
                hint="state less, or ask who set `ceilings` (--show-settings says where)",
            )
        values[name] = min(value, ceiling)
    found = Limits.of(**values)
    if found.disk >= found.memory and Limit.DISK not in stage.limits.stated:
        found = Limits.of(**{**values, Limit.DISK: max(1, found.memory // 2)})
    if found.disk >= found.memory:
        raise Refused(
            f"stage '{stage.name}': within the ceilings, disk {format_size(found.disk)} is not "
            f"below memory {format_size(found.memory)}",
            where=stage.declared_at,
            hint="state a smaller disk: files in memory-backed mounts count as memory",
        )
    return found


def _stated(limits: Limits) -> dict[str, Any]:
    return {name.value: getattr(limits, name) for name in sorted(limits.stated)}


def _shown(name: Limit, value: float) -> str:
    if name is Limit.TIMEOUT:
        return format_duration(value)
    if name is Limit.CPUS:
        return f"{value:g}"
    return str(value) if name is Limit.PIDS else format_size(int(value))
