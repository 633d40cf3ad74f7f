"""The input tree of one stage: its own files, and what other stages made."""

from __future__ import annotations

import io
from functools import partial

from isol8tasks.backend.contract import TreeEntry
from isol8tasks.errors import PlanError
from isol8tasks.model.stage import Stage
from isol8tasks.plan.command import program_files
from isol8tasks.ports import ArtifactStore, InputStore


def assemble(stage: Stage, inputs: InputStore, artifacts: ArtifactStore) -> tuple[TreeEntry, ...]:
    """Everything that the stage's sandbox starts with; PlanError when two sources give one path."""
    tree: dict[str, TreeEntry] = {}
    sources: dict[str, str] = {}
    for source, entries in _sources(stage, inputs, artifacts):
        for entry in entries:
            if entry.path in tree:
                raise PlanError(
                    f"two inputs give the path '{entry.path}': {sources[entry.path]} and {source}",
                    where=stage.declared_at,
                    hint="narrow the globs, or let the other stage write somewhere else",
                )
            tree[entry.path], sources[entry.path] = entry, source
    return tuple(tree.values())


def _sources(
    stage: Stage, inputs: InputStore, artifacts: ArtifactStore
) -> list[tuple[str, tuple[TreeEntry, ...]]]:
    literal = tuple(
        TreeEntry(path=path, source=partial(io.BytesIO, content))
        for path, content in program_files(stage)
    )
    made = [(f"the outputs of '{name}'", artifacts.tree(name)) for name in stage.input_stages]
    return [("a workspace file", inputs.declared(stage)), ("files=", literal), *made]
