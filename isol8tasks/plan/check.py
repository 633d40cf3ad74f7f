"""What is wrong with one declared stage that its own declaration could not see."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from isol8tasks.errors import PlanError
from isol8tasks.model.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.model.stage import Stage
    from isol8tasks.plan.index import Index

_GLOB = re.compile(r"[*?\[\\]|/$")


def check_stage(stage: Stage, index: Index) -> None:
    """PlanError for limits that cannot hold, inputs that cannot come, or inputs that collide."""
    _check_disk(stage)
    _check_input_stages(stage, index)
    _check_collisions(stage, index)


def _check_disk(stage: Stage) -> None:
    limits = stage.limits
    if limits.disk >= limits.memory:
        disk, memory = format_size(limits.disk), format_size(limits.memory)
        raise PlanError(
            f"stage '{stage.name}': disk {disk} is not below memory {memory}",
            where=stage.declared_at,
            hint="files in memory-backed mounts count as memory: disk must stay below memory",
        )


def _check_input_stages(stage: Stage, index: Index) -> None:
    for name in filter(index.knows, stage.input_stages):
        if name in index.tasks:
            raise PlanError(
                f"stage '{stage.name}' has the task '{name}' among its inputs",
                where=stage.declared_at,
                hint="only a stage has outputs: name the stages, or use requires=",
            )
        if not index.stages[name].outputs:
            raise PlanError(
                f"stage '{stage.name}' has the input '{name}', a stage without outputs",
                where=stage.declared_at,
                hint=f"declare outputs= of '{name}', or use requires=['{name}']",
            )


def _check_collisions(stage: Stage, index: Index) -> None:
    givers: dict[str, str] = {}
    for giver, path in _sources(stage, index):
        first = givers.setdefault(path, giver)
        if first != giver:
            raise PlanError(
                f"stage '{stage.name}': two inputs give '{path}': {first} and {giver}",
                where=stage.declared_at,
                hint="let one of them have another path",
            )


def _sources(stage: Stage, index: Index) -> Iterator[tuple[str, str]]:
    """Pairs of who gives a path to the stage and the path, as far as no glob hides it."""
    for path, _ in stage.files:
        yield "files=", posixpath.join(stage.folder, path)
    for glob in stage.inputs or ():
        if not _GLOB.search(glob):
            yield "inputs=", posixpath.join(stage.folder, glob)
    for name in filter(index.knows, stage.input_stages):
        giver = index.stages[name]
        for glob in giver.outputs:
            if not _GLOB.search(glob):
                path = posixpath.join(giver.working_directory, glob)
                yield f"the outputs of '{name}'", path
