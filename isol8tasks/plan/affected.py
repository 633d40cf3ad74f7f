"""Which stages a change can influence, and why."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from isol8tasks.model.image import ImageKind, LayerKind
from isol8tasks.model.stage import STATE_FOLDER
from isol8tasks.plan.globs import compile_glob, literal_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from isol8tasks.model.image import Image
    from isol8tasks.model.stage import Stage

_TASK_FILE = "isol8file.py"


def affected(
    stages: Sequence[Stage],
    *,
    sources: Mapping[str, frozenset[str]],
    paths: Collection[str],
    everything: str = "",
) -> dict[str, str]:
    """By name, in the order given, why stages are affected by a change of these paths.

    Paths are relative to the workspace root, as are those of images; one that ends with a slash is
    a folder of which only that is known. `sources` are, by folder, what a task file was made from.
    `everything` is a reason that affects all. Prerequisites that are no stage here do not count.
    """
    if everything:
        return {stage.name: everything for stage in stages}
    change = _Change(paths, sources)
    direct = {stage.name: why for stage in stages if (why := change.reason(stage))}
    reached = _downstream(stages, direct)
    return {
        stage.name: direct.get(stage.name) or _upstream(stage, reached)
        for stage in stages
        if stage.name in reached
    }


def _downstream(stages: Iterable[Stage], names: Iterable[str]) -> set[str]:
    """These stages and all that require them, directly or not."""
    dependants: defaultdict[str, list[str]] = defaultdict(list)
    for stage in stages:
        for before in stage.prerequisites:
            dependants[before].append(stage.name)
    reached = set(names)
    pending = list(reached)
    while pending:
        new = [name for name in dependants[pending.pop()] if name not in reached]
        reached.update(new)
        pending += new
    return reached


def _upstream(stage: Stage, reached: Collection[str]) -> str:
    before = next(name for name in stage.prerequisites if name in reached)
    return f"requires {before}, which is affected"


class _Change:
    """The changed paths, sorted, so that those below a folder are found without a search."""

    def __init__(self, paths: Iterable[str], sources: Mapping[str, frozenset[str]]) -> None:
        self._paths = sorted(path for path in paths if STATE_FOLDER not in path.split("/"))
        self._names = frozenset(self._paths)
        self._whole = tuple(path for path in self._paths if path.endswith("/"))
        self._sources = sources
        self._inputs: dict[tuple[str, str | None], str] = {}

    def reason(self, stage: Stage) -> str:
        """Why the change itself affects a stage; empty when it does not."""
        return self._by_source(stage) or self._by_input(stage) or self._by_image(stage.image)

    def _by_source(self, stage: Stage) -> str:
        read: frozenset[str] = self._sources.get(stage.folder, frozenset())
        changed = self._names & read
        changed |= {whole for whole in self._whole if any(p.startswith(whole) for p in read)}
        if not changed:
            return self._listed(read)
        own = posixpath.join(stage.folder, _TASK_FILE)
        if own not in read:  # another one was named
            own = posixpath.join(stage.folder, posixpath.basename(stage.declared_at.path))
        if own in changed:
            return f"its task file {own} changed"
        path = min(changed)
        verb = "imports" if path.endswith(".py") else "reads"
        return f"{path}, which its task file {verb}, changed"

    def _listed(self, read: frozenset[str]) -> str:
        """A path in a folder whose names the task file asked for."""
        folders = {path.rstrip("/") for path in read if path.endswith("/")}
        found = (
            (p for p in self._paths if (posixpath.dirname(p) or ".") in folders) if folders else ()
        )
        path = next(iter(found), "")
        return f"{path} changed, whose folder its task file lists" if path else ""

    def _by_input(self, stage: Stage) -> str:
        globs = (None,) if stage.inputs is None else stage.inputs
        found = (self._input(stage.folder, glob) for glob in globs)
        return next((f"{path} changed" for path in found if path), "")

    def _by_image(self, image: Image) -> str:
        found = (self._at(posixpath.normpath(path)) for path in _files(image))
        return next((f"{path}, a file of its image, changed" for path in found if path), "")

    def _input(self, folder: str, glob: str | None) -> str:
        key = (folder, glob)
        if key not in self._inputs:
            self._inputs[key] = (
                self._trackable(folder) if glob is None else self._matching(folder, glob)
            )
        return self._inputs[key]

    def _trackable(self, folder: str) -> str:
        """A changed path among the default inputs, or one that says which those are."""
        ignoring = (posixpath.join(above, ".gitignore") for above in _upwards(folder))
        return self._at(folder) or next((path for path in ignoring if path in self._names), "")

    def _matching(self, folder: str, glob: str) -> str:
        literal = literal_folder(glob)
        start = posixpath.join(folder, literal) if literal else folder
        below = self._below(start)
        candidates = [start, *below] if literal and start in self._names else below
        if not candidates:
            return self._around(start)
        matches = compile_glob(glob)
        prefix = len(folder) + bool(folder)
        found = (path for path in candidates if path.endswith("/") or matches(path[prefix:]))
        return next(found, "") or self._around(start)

    def _at(self, path: str) -> str:
        """The first changed path that is this one, below it, or a whole folder around it."""
        if path in self._names:
            return path
        return next(iter(self._below(path)), "") or self._around(path)

    def _below(self, folder: str) -> Sequence[str]:
        if folder in {"", "."}:
            return self._paths
        start = bisect_left(self._paths, f"{folder}/")
        return self._paths[start : bisect_left(self._paths, f"{folder}0", start)]  # "0" follows "/"

    def _around(self, path: str) -> str:
        return next((whole for whole in self._whole if path.startswith(whole)), "")


def _files(image: Image) -> Iterator[str]:
    """What an image takes from the workspace."""
    if image.kind in {ImageKind.DOCKERFILE, ImageKind.ROOTFS}:
        yield image.reference
    for layer in image.layers:
        if layer.kind is LayerKind.FILE:
            yield layer.arguments[0]


def _upwards(folder: str) -> Iterator[str]:
    """A folder and those above it, "" at last."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""
