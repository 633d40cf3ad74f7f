"""An engine in memory, and shells to run scripts with."""

from __future__ import annotations

import shutil
from typing import IO, TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci.client import (
    Channel,
    ContainerSpec,
    Engine,
    EngineError,
    Execution,
    Facts,
    Listed,
    LocalImage,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isol8tasks.backend.contract import Cancellation, LineSink

FACTS = Facts(version="1", identity="memory 1", rootless=False, local=True, runtime="runc")


@attrs.define
class MemoryEngine:
    """Keeps containers and images in dicts; nothing ever runs.

    `stuck` are containers that cannot be removed; `states` is what `state` answers, in turn.
    """

    told: Facts = FACTS
    made: dict[str, ContainerSpec] = attrs.field(factory=dict)
    listed: list[Listed] = attrs.field(factory=list)
    kept: dict[str, LocalImage] = attrs.field(factory=dict)
    loaded: list[tuple[str, bytes]] = attrs.field(factory=list)
    states: list[State] = attrs.field(factory=list)
    stuck: frozenset[str] = frozenset()
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    forgetful: bool = False
    name: str = "memory"

    def facts(self) -> Facts:
        return self.told

    def create(self, spec: ContainerSpec) -> str:
        self.made[spec.name] = spec
        return spec.name

    def start(self, container: str) -> None:
        self.calls.append(("start", container))

    def state(self, container: str) -> State:
        self.calls.append(("state", container))
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def kill(self, container: str) -> None:
        self.calls.append(("kill", container))

    def remove(self, container: str) -> None:
        self.calls.append(("remove", container))
        if container in self.stuck:
            raise EngineError(f"container {container} cannot be removed", status=500)
        self.listed = [each for each in self.listed if each.id != container]

    def attach(self, container: str) -> Channel:
        raise EngineError("nothing runs here")

    def execute(
        self,
        container: str,
        argv: tuple[str, ...],
        *,
        uid: int,
        workdir: str = "/",
        env: tuple[tuple[str, str], ...] = (),
    ) -> Execution:
        raise EngineError("nothing runs here")

    def containers(self, label: str) -> tuple[Listed, ...]:
        return tuple(each for each in self.listed if label in dict(each.labels))

    def image(self, reference: str) -> LocalImage | None:
        return self.kept.get(reference)

    def images(self, repository: str) -> tuple[LocalImage, ...]:
        tagged = self.kept.items()
        return tuple(image for tag, image in tagged if tag.rpartition(":")[0] == repository)

    def pull(self, reference: str, *, sink: LineSink, cancel: Cancellation) -> None:
        raise EngineError("there is no registry", status=404)

    def build(
        self,
        context: IO[bytes],
        tag: str,
        *,
        arguments: tuple[tuple[str, str], ...],
        network: str,
        sink: LineSink,
        cancel: Cancellation,
        timeout: float,
    ) -> None:
        raise EngineError("nothing is built here")

    def load(self, root: IO[bytes], tag: str) -> None:
        self.loaded.append((tag, root.read()))
        if not self.forgetful:
            self.kept[tag] = LocalImage(id=f"sha256:{len(self.loaded)}", tags=(tag,))

    def untag(self, reference: str) -> None:
        self.kept.pop(reference, None)

    def close(self) -> None:
        self.calls.append(("close", ""))


_whole: Engine = MemoryEngine()
"""The protocol is answered in full: mypy looks at this line."""


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


SHELLS: Mapping[str, str] = {"dash": "dash", "bash": "bash", "busybox": "busybox"}
"""What images have as /bin/sh; each behaves as one when it is called `sh`."""


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> str:
    """The path of a shell, to be called `sh`."""
    found = shutil.which(SHELLS[request.param])
    return found or pytest.skip(f"{request.param} is not installed")
