"""Bakes images: toolchains, packages and files become a read-only tree."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from isol8tasks.backend.contract import Cancellation, LineSink, PreparedImage
from isol8tasks.errors import Cancelled, ImageError
from isol8tasks.model.digest import Digest, digest_of_value
from isol8tasks.model.image import Image, LayerKind
from isol8tasks_bubblewrap.bakery import Bakery, Runner
from isol8tasks_bubblewrap.interpreters import Mounts, toolchain_mounts
from isol8tasks_bubblewrap.recipe import (
    HOME,
    NODE_HOME,
    NPM_HOME,
    PYTHON_HOME,
    PackagesStep,
    PythonStep,
    Recipe,
    Step,
    host_identity,
    write_recipe,
)
from isol8tasks_bubblewrap.store import Record, Store
from isol8tasks_bubblewrap.toolchain import Toolchain
from isol8tasks_bubblewrap.tree import digest, reachable, seal, translated

if TYPE_CHECKING:
    from isol8tasks_bubblewrap.oven import Oven

__all__ = ["BakedImage", "Baker", "Runner"]


@attrs.frozen(kw_only=True)
class BakedImage:
    """What a sandbox needs of an image, beside the host's own /usr.

    `mounts` are read-only binds (host path, sandbox path), in order; `env` is what the image sets,
    its env layers included; `path` goes before the sandbox's own PATH.
    """

    prepared: PreparedImage
    mounts: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Baker:
    """Finds or bakes images in the store at `root`.

    `bake_uid` is the uid that `run_in_sandbox` runs as, None when that is the caller's own.
    """

    root: Path
    run_in_sandbox: Runner
    bake_uid: int | None = None

    @property
    def _store(self) -> Store:
        return Store(self.root)

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> BakedImage:
        """Find or bake an image; `timeout` is in seconds. ImageError, StoreError or Cancelled."""
        deadline = time.monotonic() + timeout
        recipe = write_recipe(image, base=base, probes=self._store.probes)
        if not recipe.steps:
            return self._plain(recipe)
        bakery = Bakery(
            cache=self.root,
            run_in_sandbox=self.run_in_sandbox,
            uid=self.bake_uid,
            toolchain_mounts=lambda each: self._mounts_of(each, cancel, deadline),
            sink=sink,
            cancel=cancel,
            deadline=deadline,
            timeout=timeout,
        )
        record, baked = self._find_or_bake(recipe, bakery)
        return self._baked(recipe, record, bakery, baked=baked)

    def _plain(self, recipe: Recipe) -> BakedImage:
        """Nothing but the host's own programs: there is nothing to bake."""
        content = digest_of_value(["host", host_identity()])
        prepared = _prepared(recipe.image, content)
        return BakedImage(prepared=prepared, env=recipe.image.environment)

    def _find_or_bake(self, recipe: Recipe, bakery: Bakery) -> tuple[Record, bool]:
        if found := self._store.find(recipe.key):
            return found, False
        with self._store.locked(recipe.key, cancel=bakery.cancel, deadline=bakery.deadline):
            if found := self._store.find(recipe.key):
                return found, False
            return self._bake(recipe, bakery), True

    def _bake(self, recipe: Recipe, bakery: Bakery) -> Record:
        from isol8tasks_bubblewrap.oven import Oven  # noqa: PLC0415 -- only a bake needs it

        self._check_reachable()
        with self._store.staging(recipe.key) as staging:
            oven = Oven(bakery, recipe, staging)
            for number, step in self._remaining(recipe, oven):
                if bakery.cancel.cancelled:
                    raise Cancelled
                oven.bake(number, step)
            oven.finish()
            record = self._seal(recipe, staging)
            self._store.publish(staging, record)
        return record

    def _check_reachable(self) -> None:
        if not reachable(self.root, self.bake_uid):
            raise ImageError(
                f"sandboxes run as another user, who cannot reach the image store {self.root}",
                hint="set a folder that all can pass with the setting 'cache' (ISOL8TASKS_CACHE)",
            )

    def _remaining(self, recipe: Recipe, oven: Oven) -> list[tuple[int, Step]]:
        """The steps that no finished image has done already; its tree is the start then."""
        steps = list(enumerate(recipe.steps))
        done = next(
            (n for n in range(len(steps) - 1, 0, -1) if self._store.find(recipe.keys[n])), 0
        )
        if not done:
            return steps
        if any(isinstance(step, PackagesStep) for _, step in steps[done:]):
            for number, step in steps[:done]:
                if isinstance(step, PythonStep):
                    oven.bake(number, step)
        oven.start_from(self._store.folder(recipe.keys[done]))
        return steps[done:]

    def _seal(self, recipe: Recipe, staging: Path) -> Record:
        with translated("finishing an image"):
            seal(staging, owner=None if self.bake_uid is None else 0)
            found = digest(staging)
        versions = [[each.kind.value, each.version] for each in recipe.toolchains]
        places = [[number, step.destination] for number, step in recipe.files]
        content = digest_of_value([found.hash, versions, places])
        return Record(
            key=recipe.key,
            image=recipe.image,
            content=Digest(content.hash, found.size),
            toolchains=tuple(str(each) for each in recipe.toolchains),
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )

    def _baked(self, recipe: Recipe, record: Record, bakery: Bakery, *, baked: bool) -> BakedImage:
        folder = self._store.folder(record.key)
        mounts = [pair for each in recipe.toolchains for pair in bakery.toolchain_mounts(each)]
        mounts.append((str(folder / "tree"), HOME))
        mounts += [
            (str(folder / "files" / str(number)), step.destination) for number, step in recipe.files
        ]
        npm = {"NODE_PATH": f"{NPM_HOME}/lib/node_modules"} if recipe.has(LayerKind.NPM) else {}
        return BakedImage(
            prepared=_prepared(recipe.image, record.content, baked=baked),
            mounts=tuple(mounts),
            env=tuple({**npm, **dict(recipe.image.environment)}.items()),
            path=_path(recipe),
        )

    def _mounts_of(self, each: Toolchain, cancel: Cancellation, deadline: float) -> Mounts:
        return toolchain_mounts(
            self._store, each, uid=self.bake_uid, cancel=cancel, deadline=deadline
        )

    def images(self) -> tuple[PreparedImage, ...]:
        """The images in the store, each as it was first asked for."""
        return tuple(_prepared(each.image, each.content) for each in self._store.records())

    def remove(self, image: PreparedImage) -> None:
        """Forget a baked image, and with it those that differ in their env layers only."""
        for record in self._store.records():
            if _prepared(image.image, record.content).identity == image.identity:
                self._store.remove(record.key)

    def sweep(self) -> int:
        """Remove what crashed bakes left behind; how many that was."""
        return self._store.sweep()


def _prepared(image: Image, content: Digest, *, baked: bool = False) -> PreparedImage:
    """One tree serves images that differ in their env layers; their identities differ."""
    identity = digest_of_value([content.hash, image.environment])
    return PreparedImage(image=image, identity=identity, baked=baked)


def _path(recipe: Recipe) -> tuple[str, ...]:
    return (
        *((f"{PYTHON_HOME}/bin",) if recipe.python else ()),
        *((f"{NPM_HOME}/bin",) if recipe.has(LayerKind.NPM) else ()),
        *((f"{NODE_HOME}/bin",) if recipe.node else ()),
    )
