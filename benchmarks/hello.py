"""One hello program: in process, as a whole command, by bare bwrap, and in a Docker container."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import bench
from bare import bare_bwrap
from isol8tasks_bubblewrap import Bubblewrap

from isol8tasks.backend.contract import BackendOptions, PreparedImage, SandboxSpec, Stream
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.model.image import Image

TASK_FILE = """
from isol8tasks import Image, stage
stage("hello", image=Image.bash(), run=("echo", "hello"), inputs=[])
"""

BARE = "bare bwrap"
DOCKER_IMAGES = ("busybox", "localhost/busybox:1", "debian:stable-slim", "python:3.12-slim")
"""The first of these that the daemon has is used; nothing is pulled."""


def main() -> None:
    rounds = bench.rounds(20, __doc__)
    with (
        bench.workplace() as place,
        bare_bwrap(place, "echo", "hello") as bare,
        _in_process(place / "cache") as in_process,
    ):
        competitors: dict[str, bench.Competitor] = {
            "python -c pass": bench.command(sys.executable, "-c", "pass"),
            BARE: bare.run,
            "create, put, run, close in process": in_process,
            **dict(_commands(place)),
            **dict(_docker()),
        }
        results = bench.race(competitors, rounds=rounds)
    bench.table("One hello", results, base=BARE)


@contextmanager
def _in_process(cache: Path) -> Iterator[bench.Competitor]:
    """A backend that has probed and prepared its image; each call is a fresh sandbox."""
    with closing(Bubblewrap(BackendOptions(cache=cache))) as backend:
        image = backend.prepare(
            Image.bash(), base=cache, sink=lambda _: None, cancel=CancelSource(), timeout=60
        )
        yield partial(_hello, backend, image)


def _hello(backend: Bubblewrap, image: PreparedImage) -> None:
    printed: list[bytes] = []

    def sink(stream: Stream, piece: bytes) -> None:
        del stream
        printed.append(piece)

    sandbox = backend.create(SandboxSpec(name="hello", image=image))
    with closing(sandbox):
        sandbox.put(())
        ended = sandbox.run(("echo", "hello"), stdin=b"", sink=sink)
    assert (ended.code, b"".join(printed)) == (0, b"hello\n")


def _commands(place: Path) -> Iterator[tuple[str, bench.Competitor]]:
    if path := bench.program("isol8tasks"):
        folder = bench.written(place / "hello", "isol8file.py", TASK_FILE)
        ad_hoc = (path, "exec", "--image", "bash", "-e", "echo hello")
        yield "isol8tasks exec --image bash -e 'echo hello'", bench.command(*ad_hoc, cwd=folder)
        yield "isol8tasks run hello", bench.command(path, "run", "hello", cwd=folder)


def _docker() -> Iterator[tuple[str, bench.Competitor]]:
    """Only where a daemon answers that has one of the images already."""
    path = shutil.which("docker")
    found = next((image for image in DOCKER_IMAGES if path and _has(path, image)), None)
    if path is None or found is None:
        print("no docker daemon with one of our images: left out")
        return
    words = (path, "run", "--rm", "--network", "none", found, "echo", "hello")
    yield "docker run --rm --network none", bench.command(*words)


def _has(docker: str, image: str) -> bool:
    inspect = [docker, "image", "inspect", image]
    return subprocess.run(inspect, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
