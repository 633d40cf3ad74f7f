"""Sandboxes made ahead of need: a stage that was expected pays for its inputs and its run only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from isol8tasks.backend.contract import Backend, PreparedImage, Sandbox, SandboxSpec
from isol8tasks.engine.disposal import Close, at_once
from isol8tasks.errors import Isol8Error
from isol8tasks.model.stage import Stage

THREADS = 2
"""Creations at a time: engines gain nothing from more."""


class SandboxSupply:
    """Gives every attempt a sandbox of its own. Nothing runs in those that wait: they hold no slot.

    `secrets` are values by name; `dispose` closes what was made for nothing.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        secrets: tuple[tuple[str, str], ...] = (),
        dispose: Callable[[Close], None] = at_once,
    ) -> None:
        self._backend = backend
        self._secrets = dict(secrets)
        self._dispose = dispose
        self._made: dict[str, Future[Sandbox]] = {}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="create")

    def expect(self, stage: Stage, image: PreparedImage) -> None:
        """Make the sandbox of a stage that starts soon, unless that is under way already."""
        if stage.name not in self._made:
            self._made[stage.name] = self._pool.submit(self._create, stage, image)

    def take(self, stage: Stage, image: PreparedImage) -> Sandbox:
        """The sandbox that was made ahead, once; without one, a sandbox made here and now.

        What failed ahead is tried again: it may have failed because other sandboxes were still in
        use, and a stage must not fail by what was only meant to save it time.
        """
        made = self._made.pop(stage.name, None)
        if made is not None and not made.cancel():
            with suppress(Isol8Error, OSError):
                return made.result()
        return self._create(stage, image)

    def drop(self, name: str) -> None:
        """Close what was made for a stage and not taken, as soon as it is there; never waits."""
        made = self._made.pop(name, None)
        if made is not None and not made.cancel():
            made.add_done_callback(lambda done: self._dispose(partial(_close, done)))

    def close(self) -> None:
        """Drop everything; waits for what is under way, as long as the backend lets it."""
        for name in tuple(self._made):
            self.drop(name)
        self._pool.shutdown(wait=True)

    def _create(self, stage: Stage, image: PreparedImage) -> Sandbox:
        secrets = {secret.name: self._secrets[secret.name] for secret in stage.secrets}
        return self._backend.create(
            SandboxSpec(
                name=stage.name,
                image=image,
                limits=stage.limits,
                network=stage.network,
                env=tuple(sorted({**dict(stage.env), **secrets}.items())),
                workdir=stage.working_directory,
            )
        )


def _close(made: Future[Sandbox]) -> None:
    """What could not be made, and nobody needed, is nobody's error; a bug of ours still is."""
    if not isinstance(made.exception(), (Isol8Error, OSError)):
        made.result().close()
