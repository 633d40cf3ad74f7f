"""What a bake works with, and how it runs a tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from isol8tasks.backend.contract import Cancellation, LineSink, Stream
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.toolchain import Toolchain


class Runner(Protocol):
    """Runs one program of a bake in a sandbox with the host's network."""

    def __call__(
        self,
        argv: tuple[str, ...],
        *,
        mounts: Sequence[tuple[str, str]],
        writable: Sequence[tuple[str, str]],
        env: Mapping[str, str],
        sink: Callable[[Stream, bytes], None],
        cancel: Cancellation,
        timeout: float,
    ) -> Exit:
        """Run it to its end.

        `mounts` are read-only, `writable` is not: pairs of a host path and its place in the
        sandbox, over its /tmp. `env` is complete. A timeout ends as an `Exit` with
        `Limit.TIMEOUT`; a cancelled run may return any `Exit`.
        """
        ...


@attrs.frozen(kw_only=True)
class Bakery:
    """What all bakes of a call share; `deadline` is in monotonic seconds."""

    cache: Path
    run_in_sandbox: Runner
    uid: int | None
    toolchain_mounts: Callable[[Toolchain], tuple[tuple[str, str], ...]]
    sink: LineSink
    cancel: Cancellation
    deadline: float
    timeout: float
