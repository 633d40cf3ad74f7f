"""What every backend has to pass. Subclass it, give it a backend, and let pytest collect it.

The programs are those of any Unix (`cat`, `cp`, `echo`, `env`, `false`, `pwd`, `sleep`, `true`,
`yes`), so that an image with a shell's usual company is enough.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from isol8tasks.backend.contract import (
    Backend,
    OutputRefused,
    PreparedImage,
    Sandbox,
    SandboxSpec,
    Stream,
    TreeEntry,
)
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.errors import Cancelled
from isol8tasks.model.image import Image
from isol8tasks.model.result import Exit, StopReason

SECONDS_TO_DIE = 2.0


class _Output:
    """What a program printed, by stream."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Stream, bytes]] = []

    def __call__(self, stream: Stream, piece: bytes) -> None:
        self.pieces.append((stream, piece))

    def text(self, stream: Stream = Stream.STDOUT) -> str:
        return b"".join(piece for kind, piece in self.pieces if kind is stream).decode()


def entry(path: str, content: bytes, *, executable: bool = False) -> TreeEntry:
    """A file of an input tree."""
    return TreeEntry(path=path, executable=executable, source=partial(io.BytesIO, content))


class BackendContract:
    """The suite; a subclass provides the fixture `backend` and, where it needs to, `image`."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[Backend]:
        """A working backend, closed in the end."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def image(cls, backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> PreparedImage:
        """An image with a shell's usual company."""
        return cls._prepare(backend, Image.bash(), tmp_path_factory.mktemp("base"))

    @pytest.fixture
    def sandbox(self, backend: Backend, image: PreparedImage) -> Iterator[Sandbox]:
        """A fresh sandbox."""
        with self._sandbox(backend, image) as sandbox:
            yield sandbox

    @staticmethod
    def _prepare(backend: Backend, image: Image, base: Path) -> PreparedImage:
        cancel = CancelSource()
        return backend.prepare(image, base=base, sink=lambda _: None, cancel=cancel, timeout=120)

    @staticmethod
    @contextmanager
    def _sandbox(
        backend: Backend, image: PreparedImage, spec: SandboxSpec | None = None
    ) -> Iterator[Sandbox]:
        sandbox = backend.create(spec or SandboxSpec(name="contract", image=image))
        try:
            yield sandbox
        finally:
            sandbox.close()

    def test_probe_finds_it_usable(self, backend: Backend) -> None:
        probe = backend.probe()
        assert probe.capabilities is not None, probe.reason
        assert probe.version

    def test_prepare_is_idempotent(self, backend: Backend, image: PreparedImage) -> None:
        again = self._prepare(backend, image.image, Path.cwd())
        assert again.identity == image.identity
        assert not again.baked

    def test_prepare_stops_when_cancelled(self, backend: Backend, tmp_path: Path) -> None:
        cancel = CancelSource()
        cancel.cancel(StopReason.INTERRUPTED)
        image = Image.python().pip("never-installed")
        with pytest.raises(Cancelled):
            backend.prepare(image, base=tmp_path, sink=lambda _: None, cancel=cancel, timeout=60)

    @pytest.mark.parametrize(("program", "code"), [("true", 0), ("false", 1)])
    def test_exit_code(self, sandbox: Sandbox, program: str, code: int) -> None:
        ended = sandbox.run((program,), stdin=b"", sink=_Output())
        assert (ended.code, ended.signal, ended.limit) == (code, None, None)

    def test_a_program_that_is_not_there(self, sandbox: Sandbox) -> None:
        output = _Output()
        assert sandbox.run(("no-such-program",), stdin=b"", sink=output).code == 127
        assert "no-such-program" in output.text(Stream.STDERR)

    def test_arguments_arrive_as_they_are(self, sandbox: Sandbox) -> None:
        output = _Output()
        sandbox.run(("echo", "a b", "$HOME", "'\"", "ü", "--x"), stdin=b"", sink=output)
        assert output.text() == "a b $HOME '\" ü --x\n"

    @pytest.mark.parametrize("size", [0, 1, 1 << 20])
    def test_stdin(self, sandbox: Sandbox, size: int) -> None:
        output = _Output()
        assert sandbox.run(("cat",), stdin=b"x" * size, sink=output).code == 0
        assert output.text() == "x" * size

    def test_stdin_that_nobody_reads(self, sandbox: Sandbox) -> None:
        assert sandbox.run(("true",), stdin=b"x" * (1 << 20), sink=_Output()).code == 0

    def test_inputs_and_outputs(
        self, backend: Backend, image: PreparedImage, tmp_path: Path
    ) -> None:
        spec = SandboxSpec(name="contract", image=image, workdir="web")
        with self._sandbox(backend, image, spec) as sandbox:
            sandbox.put([entry("web/in/a b", b"content"), entry("other", b"elsewhere")])
            assert sandbox.run(("cp", "in/a b", "in/ü"), stdin=b"", sink=_Output()).code == 0
            fetched = sandbox.fetch(("in/ü", "*.xml"), tmp_path, max_bytes=100)
        assert (fetched.paths, fetched.unmatched) == (("web/in/ü",), ("*.xml",))
        assert (tmp_path / "web/in/ü").read_bytes() == b"content"
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ü"]

    def test_outputs_are_capped(self, sandbox: Sandbox, tmp_path: Path) -> None:
        sandbox.put([entry("big", b"x" * 101)])
        sandbox.run(("true",), stdin=b"", sink=_Output())
        with pytest.raises(OutputRefused):
            sandbox.fetch(("big",), tmp_path, max_bytes=100)

    def test_the_working_directory_is_there(self, backend: Backend, image: PreparedImage) -> None:
        output = _Output()
        spec = SandboxSpec(name="contract", image=image, workdir="a/b")
        with self._sandbox(backend, image, spec) as sandbox:
            sandbox.run(("pwd",), stdin=b"", sink=output)
        assert output.text() == "/sandbox/a/b\n"

    def test_the_environment_is_declared_only(
        self, backend: Backend, image: PreparedImage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FROM_THE_HOST", "1")
        output = _Output()
        spec = SandboxSpec(name="contract", image=image, env=(("DECLARED", "a\nb=c"),))
        with self._sandbox(backend, image, spec) as sandbox:
            sandbox.run(("env",), stdin=b"", sink=output)
        text = output.text()
        assert "DECLARED=a\nb=c\n" in text
        assert "FROM_THE_HOST" not in text
        for line in ("HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"):
            assert line in text.splitlines()

    def test_sandboxes_share_no_files(self, backend: Backend, image: PreparedImage) -> None:
        with self._sandbox(backend, image) as one, self._sandbox(backend, image) as other:
            one.put([entry("secret", b"x")])
            assert one.run(("cat", "secret"), stdin=b"", sink=_Output()).code == 0
            assert other.run(("cat", "secret"), stdin=b"", sink=_Output()).code == 1

    def test_kill_ends_a_run(self, sandbox: Sandbox) -> None:
        seconds, ended = self._killed(sandbox, ("sleep", "60"), lambda: time.sleep(0.3))
        assert ended.code is None
        assert seconds < SECONDS_TO_DIE

    def test_kill_right_at_the_start(self, sandbox: Sandbox) -> None:
        seconds, ended = self._killed(sandbox, ("sleep", "60"), lambda: None)
        assert ended.code is None
        assert seconds < SECONDS_TO_DIE

    def test_kill_before_run(self, sandbox: Sandbox) -> None:
        sandbox.kill()
        assert sandbox.run(("true",), stdin=b"", sink=_Output()).code is None

    def test_kill_after_run_and_twice(self, sandbox: Sandbox) -> None:
        assert sandbox.run(("true",), stdin=b"", sink=_Output()).code == 0
        sandbox.kill()
        sandbox.kill()

    def test_kill_from_the_sink_ends_a_flood(self, sandbox: Sandbox) -> None:
        size = 0

        def sink(_stream: Stream, piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > 1 << 20:
                sandbox.kill()

        assert sandbox.run(("yes",), stdin=b"", sink=sink).code is None
        assert size < 64 << 20

    def test_close_twice(self, sandbox: Sandbox) -> None:
        sandbox.close()
        sandbox.close()

    @staticmethod
    def _killed(
        sandbox: Sandbox, argv: tuple[str, ...], before: Callable[[], None]
    ) -> tuple[float, Exit]:
        """Kill a program from another thread; how long that took, and how it ended."""
        exits: list[Exit] = []
        thread = threading.Thread(
            target=lambda: exits.append(sandbox.run(argv, stdin=b"", sink=_Output()))
        )
        thread.start()
        before()
        start = time.monotonic()
        sandbox.kill()
        thread.join(30)
        assert exits, "the program outlived a kill by 30 s"
        return time.monotonic() - start, exits[0]
