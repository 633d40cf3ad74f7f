"""A backend without sandboxes: programs are Python functions, files are in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from isol8tasks.backend.contract import (
    BackendOptions,
    Cancellation,
    Capabilities,
    Fetched,
    LineSink,
    OutputRefused,
    OutputSink,
    PreparedImage,
    Probe,
    SandboxSpec,
    Stream,
    TreeEntry,
)
from isol8tasks.errors import Cancelled, ImageError
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit

EVERYTHING = Capabilities(
    limits=tuple((limit, Enforcement.ENFORCED) for limit in Limit),
    networks=frozenset(NetworkMode),
    images=frozenset(ImageKind),
    layers=frozenset(LayerKind),
)


@attrs.define(kw_only=True)
class FakeProcess:
    """What a fake program sees. `files` is the sandbox: paths relative to its root."""

    argv: tuple[str, ...]
    stdin: bytes
    env: Mapping[str, str]
    workdir: str
    files: dict[str, bytes]
    sink: OutputSink
    killed: threading.Event

    def print(self, text: str) -> None:
        """Write to stdout."""
        self.sink(Stream.STDOUT, text.encode())

    def path(self, name: str) -> str:
        """A name relative to the working directory, as a key of `files`."""
        return f"{self.workdir}/{name}" if self.workdir else name


Program = Callable[[FakeProcess], int | Exit]
"""Returns an exit code, or an `Exit` to pretend more."""


class FakeBackend:
    """Runs `programs` by the first word of a command; a few words of a shell are built in."""

    name = "fake"

    def __init__(
        self,
        options: BackendOptions | None = None,
        *,
        programs: Mapping[str, Program] | None = None,
        capabilities: Capabilities | None = EVERYTHING,
        broken_images: Mapping[Image, str] | None = None,
    ) -> None:
        self._options = options
        self._programs = {**BUILTINS, **(programs or {})}
        self._capabilities = capabilities
        self._broken = dict(broken_images or {})
        self._images: dict[Image, PreparedImage] = {}
        self._lock = threading.Lock()
        self.bakes = 0
        self.alive = 0

    def probe(self) -> Probe:
        """What the test said."""
        return Probe(version="0", capabilities=self._capabilities, reason="fake")

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> PreparedImage:
        """Pretend to bake."""
        del base, timeout
        if cancel.cancelled:
            raise Cancelled
        if image in self._broken:
            raise ImageError(self._broken[image])
        with self._lock:
            if image in self._images:
                return attrs.evolve(self._images[image], baked=False)
            self.bakes += 1
            sink(f"baking {image}")
            prepared = PreparedImage(image=image, identity=image.recipe, baked=True)
            self._images[image] = prepared
            return prepared

    def images(self) -> tuple[PreparedImage, ...]:
        """What was baked."""
        return tuple(self._images.values())

    def remove(self, image: PreparedImage) -> None:
        """Forget an image."""
        self._images.pop(image.image, None)

    def create(self, spec: SandboxSpec) -> FakeSandbox:
        """A sandbox with no files."""
        with self._lock:
            self.alive += 1
        return FakeSandbox(spec, self._programs, self._gone)

    def _gone(self) -> None:
        with self._lock:
            self.alive -= 1

    def sweep(self, *, older_than: float | None = None) -> int:
        """Nothing is ever left."""
        del older_than
        return 0

    def close(self) -> None:
        """Nothing is held."""


class FakeSandbox:
    """Files in a dictionary and one function to run."""

    def __init__(
        self, spec: SandboxSpec, programs: Mapping[str, Program], gone: Callable[[], None]
    ) -> None:
        self._spec = spec
        self._programs = programs
        self._gone: Callable[[], None] | None = gone
        self._files: dict[str, bytes] = {}
        self._killed = threading.Event()

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Read the tree into memory."""
        for entry in tree:
            if entry.source is not None:
                with entry.source() as source:
                    self._files[entry.path] = source.read()

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Call the program; killed ones end with no code."""
        if self._killed.is_set():
            return Exit(code=None)
        program = self._programs.get(argv[0])
        if program is None:
            sink(Stream.STDERR, f"{argv[0]}: not found\n".encode())
            return Exit(code=127)
        env = {"PATH": "/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
        process = FakeProcess(
            argv=argv,
            stdin=stdin,
            env={**env, **dict(self._spec.image.image.environment), **dict(self._spec.env)},
            workdir=self._spec.workdir,
            files=self._files,
            sink=sink,
            killed=self._killed,
        )
        ended = program(process)
        if self._killed.is_set():
            return Exit(code=None)
        return ended if isinstance(ended, Exit) else Exit(code=ended)

    def kill(self) -> None:
        """Wake the program up, if it looks."""
        self._killed.set()

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        """Write the files that match."""
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 -- no-op stages fetch nothing

        prefix = f"{self._spec.workdir}/" if self._spec.workdir else ""
        below = [path for path in sorted(self._files) if path.startswith(prefix)]
        hits: dict[str, list[str]] = {}
        for glob in globs:
            spec = GitIgnoreSpec.from_lines([f"/{glob}"])
            hits[glob] = [path for path in below if spec.match_file(path.removeprefix(prefix))]
        paths = sorted({path for found in hits.values() for path in found})
        if sum(len(self._files[path]) for path in paths) > max_bytes:
            raise OutputRefused("the outputs are larger than the disk limit")
        for path in paths:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(self._files[path])
        unmatched = tuple(glob for glob, found in hits.items() if not found)
        return Fetched(paths=tuple(paths), unmatched=unmatched)

    def close(self) -> None:
        """Forget the files."""
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()
        self._files = {}


def _cat(process: FakeProcess) -> int:
    for name in process.argv[1:]:
        if process.path(name) not in process.files:
            return 1
        process.sink(Stream.STDOUT, process.files[process.path(name)])
    if len(process.argv) == 1:
        process.sink(Stream.STDOUT, process.stdin)
    return 0


def _cp(process: FakeProcess) -> int:
    _, source, target = process.argv
    if process.path(source) not in process.files:
        return 1
    process.files[process.path(target)] = process.files[process.path(source)]
    return 0


def _echo(process: FakeProcess) -> int:
    process.print(" ".join(process.argv[1:]) + "\n")
    return 0


def _env(process: FakeProcess) -> int:
    process.print("".join(f"{name}={value}\n" for name, value in process.env.items()))
    return 0


def _pwd(process: FakeProcess) -> int:
    process.print(f"/sandbox/{process.workdir}".rstrip("/") + "\n")
    return 0


def _sleep(process: FakeProcess) -> int:
    process.killed.wait(float(process.argv[1]))
    return 0


def _yes(process: FakeProcess) -> int:
    while not process.killed.is_set():
        process.print("y\n" * 4096)
    return 0


BUILTINS: Mapping[str, Program] = {
    "cat": _cat,
    "cp": _cp,
    "echo": _echo,
    "env": _env,
    "false": lambda _: 1,
    "pwd": _pwd,
    "sleep": _sleep,
    "true": lambda _: 0,
    "yes": _yes,
}
