"""What a stage costs in a container: cold, started ahead, and ten at a time.

Needs the engine and an image of it: scripts/engines.sh makes both.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import bench

from isol8tasks.backend import registry
from isol8tasks.backend.contract import (
    Backend,
    BackendOptions,
    PreparedImage,
    Sandbox,
    SandboxSpec,
    TreeEntry,
)
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limits

IMAGE = "localhost/isol8tasks-base:1"
INPUTS = [
    TreeEntry(path=f"in/{number}", source=partial(io.BytesIO, b"x" * 10_000))
    for number in range(10)
]
STAGES, AT_A_TIME = 20, 10
SMALL = Limits(cpus=0.1, memory="64m", disk="16m")

Timed = Callable[[], float]
"""Does once what is measured; the seconds that count."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["docker", "podman"])
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args()
    with bench.workplace() as place:
        options = BackendOptions(cache=place / "cache")
        with closing(registry.load(asked.engine, options)) as backend:
            if (probe := backend.probe()).capabilities is None:
                raise SystemExit(f"{asked.engine}: {probe.reason}")
            _compare(asked.engine, backend, rounds=asked.rounds)


def _compare(engine: str, backend: Backend, *, rounds: int) -> None:
    stages = Stages(backend)
    with SDKS[engine]() as sdk, closing(stages):
        run = (engine, "run", "--rm", "--network", "none", IMAGE, "true")
        one: dict[str, Timed] = {
            f"{engine} run --network none": partial(_whole, partial(bench.checked, run)),
            "a cold stage": stages.cold,
            "a cold stage with inputs and outputs": stages.with_files,
        }
        _race(f"One container: {engine}", one, rounds=rounds)
        warm = {
            f"exec in a warm container, {engine} SDK": sdk.execute,
            "a stage started ahead": stages.ahead,
        }
        _race(f"Inputs in place to result: {engine}", warm, rounds=2 * rounds)
        many = {
            f"create, start, wait, remove, {engine} SDK": partial(
                _whole, partial(_many, sdk.cycle)
            ),
            "stages": partial(_whole, partial(_many, stages.small)),
        }
        _race(
            f"{STAGES} times true, {AT_A_TIME} at a time: {engine}",
            many,
            rounds=max(2, rounds // 3),
        )


def _race(title: str, competitors: Mapping[str, Timed], *, rounds: int) -> None:
    """In turn, the first round uncounted; what the competitors say counts, and not more."""
    spent: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(rounds + 1):
        for name, compete in competitors.items():
            seconds = compete()
            if number:
                spent[name].append(seconds)
    timings = {name: bench.Timing(min(each), median(each)) for name, each in spent.items()}
    bench.table(title, timings, base=next(iter(competitors)))


def _whole(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _many(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for running in [pool.submit(work) for _ in range(STAGES)]:
            running.result()


class Stages:
    """Sandboxes as a run uses them: closed beside the critical path, so outside of the time."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._image = self._prepared(Image(IMAGE))

    def _prepared(self, image: Image) -> PreparedImage:
        return self._backend.prepare(
            image, base=Path.cwd(), sink=print, cancel=CancelSource(), timeout=60
        )

    def _create(self, limits: Limits = Limits()) -> Sandbox:
        return self._backend.create(SandboxSpec(name="bench", image=self._image, limits=limits))

    def cold(self) -> float:
        start = time.perf_counter()
        sandbox = self._create()
        _run(sandbox, "true")
        spent = time.perf_counter() - start
        sandbox.close()
        return spent

    def with_files(self) -> float:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as into:
            start = time.perf_counter()
            sandbox = self._create()
            sandbox.put(INPUTS)
            _run(sandbox, "cp", "-r", "in", "out")
            sandbox.fetch(("out/**",), Path(into), max_bytes=1 << 20)
            spent = time.perf_counter() - start
            sandbox.close()
        return spent

    def ahead(self) -> float:
        sandbox = self._create()
        sandbox.put(INPUTS)
        time.sleep(0.2)
        start = time.perf_counter()
        _run(sandbox, "true")
        spent = time.perf_counter() - start
        sandbox.close()
        return spent

    def small(self) -> None:
        with closing(self._create(SMALL)) as sandbox:
            _run(sandbox, "true")

    def close(self) -> None:
        """Everything is closed already."""


def _run(sandbox: Sandbox, *argv: str) -> None:
    ended = sandbox.run(argv, stdin=b"", sink=lambda _stream, _piece: None)
    if ended.code != 0:
        raise SystemExit(f"{argv[0]} ended with {ended}")


class _DockerSDK:
    """As docker's own documentation does it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._limits = {"nano_cpus": int(1e8), "mem_limit": "64m", "memswap_limit": "64m"}
        self._warm = client.containers.run(
            IMAGE, ["sleep", "1000"], detach=True, network_mode="none", init=True
        )

    def execute(self) -> float:
        return _whole(lambda: self._warm.exec_run(["true"]))

    def cycle(self) -> None:
        container = self._client.containers.create(
            IMAGE, ["true"], network_mode="none", **self._limits
        )
        container.start()
        container.wait()
        container.remove(force=True)

    def close(self) -> None:
        self._warm.remove(force=True)


class _PodmanSDK(_DockerSDK):
    """The same calls; limits as this SDK has them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._limits = {"cpu_quota": 10_000, "cpu_period": 100_000, "mem_limit": "64m"}
        self._warm = client.containers.create(
            IMAGE, ["sleep", "1000"], network_mode="none", init=True
        )
        self._warm.start()


@contextmanager
def _docker() -> Iterator[_DockerSDK]:
    import docker  # noqa: PLC0415 -- one of them may be missing

    with closing(docker.from_env()) as client, closing(_DockerSDK(client)) as sdk:
        yield sdk


@contextmanager
def _podman() -> Iterator[_DockerSDK]:
    import podman  # noqa: PLC0415
    from isol8tasks_podman.service import Service  # noqa: PLC0415

    program = bench.program("podman")
    if program is None:
        raise SystemExit(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = stack.enter_context(closing(Service(program, folder / "podman.sock")))
        service.wait()
        client = stack.enter_context(podman.PodmanClient(base_url=service.url))
        yield stack.enter_context(closing(_PodmanSDK(client)))


SDKS = {"docker": _docker, "podman": _podman}


if __name__ == "__main__":
    main()
