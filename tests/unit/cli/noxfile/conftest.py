"""Noxfiles, converted and loaded as what they became."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from isol8tasks.cli.noxfile.convert import Conversion, convert
from isol8tasks.model.image import LayerKind
from isol8tasks.plan.plan import build
from isol8tasks.taskfile.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage, TaskFile


@pytest.fixture
def read(folder: Path) -> Callable[[str], tuple[TaskFile, Conversion]]:
    """Converts a noxfile with these sessions, and loads what it became."""

    def read(sessions: str) -> tuple[TaskFile, Conversion]:
        (folder / "noxfile.py").write_text("import nox\n\n" + dedent(sessions))
        return loaded(folder / "noxfile.py")

    return read


@pytest.fixture
def read_body(read: Callable[[str], tuple[TaskFile, Conversion]]) -> Callable[[str], Stage]:
    """The only stage of a noxfile whose only session has this body."""

    def read_body(body: str) -> Stage:
        lines = "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
        (stage,) = read(f"@nox.session\ndef unit(session):\n{lines}\n")[0].stages
        return stage

    return read_body


def loaded(noxfile: Path) -> tuple[TaskFile, Conversion]:
    """What the noxfile becomes, loaded and planned as `list` and `run` do."""
    found = convert(noxfile)
    path = noxfile.with_name("isol8file.py")
    path.write_text(found.text)
    task_file = load(path)
    build(task_file, [stage.name for stage in task_file.stages])
    return task_file, found


def remarks(found: Conversion) -> list[str]:
    return [f"{remark.line}: {remark.text}" for remark in found.remarks]


def packages(stage: Stage) -> tuple[str, ...]:
    layers = [layer for layer in stage.image.layers if layer.kind is LayerKind.PIP]
    return tuple(argument for layer in layers for argument in layer.arguments)
