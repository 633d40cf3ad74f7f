"""What the attacks run in.

`bench`: sandboxes of every backend that exists, through the contract. `workspace`: the real program
in a folder. `jail`: a bare bwrap and a filter, as an unprivileged uid when we are root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from isol8tasks_bubblewrap.binary import candidates

from isol8tasks.backend import registry
from isol8tasks.backend.contract import (
    Backend,
    BackendOptions,
    Fetched,
    OutputRefused,
    PreparedImage,
    Sandbox,
    SandboxSpec,
    Stream,
)
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from isol8tasks.model.limits import Enforcement, Limit
    from isol8tasks.model.result import Exit

UID = 64322 if os.geteuid() == 0 else None
HIDDEN_INIT = ("--size", "4096", "--perms", "0555", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1")
"""Nobody in the sandbox reaches its first process, which has the same uid, through /proc/1/mem."""
_ETC = ("ssl", "alternatives", "ca-certificates", "ld.so.cache", "java-17-openjdk")


@attrs.frozen
class Ran:
    code: int
    out: str
    err: str


@attrs.frozen
class Jail:
    """Runs programs under a filter, or under none; `folder` is writable inside as /sandbox."""

    bwrap: Path
    folder: Path

    def run(
        self,
        argv: Sequence[str],
        *,
        seccomp: bytes | None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        extra: Sequence[str] = HIDDEN_INIT,
        stdin_from: int | None = None,
    ) -> Ran:
        options = [*self._options(env or {}), *extra]
        keep: tuple[int, ...] = ()
        if seccomp is not None:
            keep = (_in_memory(seccomp),)
            options += ["--seccomp", str(keep[0])]
        try:
            ran = subprocess.run(
                [str(self.bwrap), *options, "--", *argv],
                **({"input": stdin} if stdin_from is None else {"stdin": stdin_from}),
                capture_output=True,
                text=True,
                check=False,
                timeout=100,
                cwd="/",
                pass_fds=keep,
                user=UID,
                group=UID,
                extra_groups=None if UID is None else [],
            )
        finally:
            for file in keep:
                os.close(file)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def _options(self, env: Mapping[str, str]) -> list[str]:
        words = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
        words += ["--new-session", "--cap-drop", "ALL", "--clearenv", "--ro-bind", "/usr", "/usr"]
        for path in ("/bin", "/sbin", "/lib", "/lib64"):
            if os.path.islink(path):
                words += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                words += ["--ro-bind", path, path]
        for name in _ETC:
            words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        words += ["--bind", str(self.folder), "/sandbox", "--chdir", "/sandbox"]
        inside = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **env}
        for name, value in inside.items():
            words += ["--setenv", name, value]
        return words


def _in_memory(content: bytes) -> int:
    file = os.memfd_create("seccomp")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


@pytest.fixture(scope="session")
def jail() -> Iterator[Jail]:
    """One for all tests: none of them looks at what another left in the folder."""
    folder = Path(tempfile.mkdtemp(prefix="isol8-security-", dir="/var/tmp"))
    folder.chmod(0o755)
    shared = folder / "shared"
    shared.mkdir()
    if UID is not None:
        os.chown(shared, UID, UID)
    yield Jail(next(iter(candidates(folder))).usable, shared)
    shutil.rmtree(folder)


BACKENDS = ("bubblewrap", "docker", "podman")
"""Every backend that exists; each has a mark of its name."""


def _images() -> tuple[tuple[str, str], ...]:
    """What scripts/engines.sh made, by the names that a task file uses."""
    pairs = os.environ.get("ISOL8TASKS_IMAGES", "").split(",")
    return tuple((name, image) for name, _, image in (p.partition("=") for p in pairs) if image)


OUTSIDE = "never to be seen"
"""What a file of the host holds, beside the folder that outputs go to."""


@attrs.frozen(kw_only=True)
class Attacked:
    """How a hostile program ended, and what became of its outputs."""

    exit: Exit
    out: str
    err: str
    paths: tuple[str, ...]
    refused: str
    into: Path

    def read(self, path: str) -> bytes:
        return (self.into / path).read_bytes()


@attrs.frozen
class Bench:
    """Runs hostile programs in fresh sandboxes of one backend, and sees that nothing stays."""

    backend: Backend
    image: PreparedImage
    cache: Path
    folder: Path

    def enforcement(self, limit: Limit) -> Enforcement:
        capabilities = self.backend.probe().capabilities
        assert capabilities is not None
        return capabilities.enforcement(limit)

    def explanation(self, limit: Limit) -> str:
        capabilities = self.backend.probe().capabilities
        assert capabilities is not None
        return capabilities.explanation(limit)[0]

    @contextmanager
    def sandbox(self, limits: Limits | None = None, **spec: Any) -> Iterator[Sandbox]:
        """A fresh sandbox; closing it leaves no folder behind."""
        before = self.places()
        words = {"name": "attack", "image": self.image, "limits": limits or Limits(), **spec}
        sandbox = self.backend.create(SandboxSpec(**words))
        try:
            yield sandbox
        finally:
            sandbox.close()
        assert self.places() - before == set()

    def places(self) -> set[str]:
        """What the backend keeps, down to where sandboxes have their folders."""
        found = (str(path.relative_to(self.cache)) for path in self.cache.glob("*/*/*"))
        kept = ("images/", "podman/", "toolchains/")
        return {path for path in found if not path.startswith(kept)}

    def attack(
        self,
        program: str,
        *arguments: str,
        outputs: Sequence[str] = ("**",),
        limits: Limits | None = None,
        **spec: Any,
    ) -> Attacked:
        """Run a python program and fetch what it made; nothing but that may come out."""
        said = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
        into = Path(tempfile.mkdtemp(prefix="into-", dir=self.folder))
        limits = limits or Limits()
        fetched, refused = Fetched(), ""
        with self.sandbox(limits, **spec) as sandbox:
            ended = sandbox.run(
                ("python", "-c", program, *arguments),
                stdin=b"",
                sink=lambda stream, piece: said[stream].extend(piece),
            )
            try:
                fetched = sandbox.fetch(tuple(outputs), into, max_bytes=limits.disk)
            except OutputRefused as refusal:
                refused = str(refusal)
        assert refused.isascii()
        assert refused.isprintable()
        self.check(into)
        out, err = (said[stream].decode(errors="replace") for stream in Stream)
        return Attacked(
            exit=ended, out=out, err=err, paths=fetched.paths, refused=refused, into=into
        )

    def check(self, into: Path) -> None:
        """Plain files and folders of ours, of one name each, and none of them the host's."""
        assert sorted(path.name for path in self.folder.iterdir()) == sorted(
            ["outside", *(path.name for path in self.folder.glob("into-*"))]
        )
        assert [path.read_text() for path in (self.folder / "outside").iterdir()] == [OUTSIDE]
        for folder, _, names in os.walk(into):
            for path in [Path(folder), *(Path(folder, name) for name in names)]:
                found = path.lstat()
                assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
                if path.is_dir():
                    continue
                assert (oct(found.st_mode), found.st_nlink) in {("0o100644", 1), ("0o100755", 1)}
                assert found.st_size > 1 << 20 or path.read_bytes() not in _FORBIDDEN


_FORBIDDEN = (OUTSIDE.encode(), Path("/etc/passwd").read_bytes())


@pytest.fixture(scope="session")
def open_cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach, which pytest's own folders are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="isol8-security-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in BACKENDS],
)
def backend(request: pytest.FixtureRequest, open_cache: Path) -> Iterator[Backend]:
    """Each backend that exists."""
    options = BackendOptions(cache=open_cache, images=_images())
    with closing(registry.load(request.param, options)) as backend:
        yield backend


@pytest.fixture(scope="session")
def python(backend: Backend) -> PreparedImage:
    """An image with python and a shell's usual company."""
    cancel = CancelSource()
    image = Image.python()
    return backend.prepare(image, base=Path.cwd(), sink=lambda _: None, cancel=cancel, timeout=120)


@pytest.fixture
def bench(backend: Backend, python: PreparedImage, open_cache: Path, tmp_path: Path) -> Bench:
    """Sandboxes of each backend that exists."""
    folder = tmp_path / "bench"
    (folder / "outside").mkdir(parents=True)
    (folder / "outside/secret").write_text(OUTSIDE)
    bench = Bench(backend, python, open_cache, folder)
    with bench.sandbox():
        pass  # what a backend keeps for itself is there from now on
    return bench


@attrs.frozen
class Workspace:
    """A folder with a task file, and the real program in it, on one backend."""

    folder: Path
    backend: str
    environ: Mapping[str, str]

    def declare(self, text: str) -> None:
        head = "from isol8tasks import Image, secret, stage\nIMAGE = Image.python()\n"
        (self.folder / "isol8file.py").write_text(head + text, encoding="utf-8")

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "isol8tasks", *words],
            cwd=self.folder,
            env={**self.environ, "ISOL8TASKS_BACKEND": self.backend, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Ran:
        with self.start(*words, env=env) as process:
            out, err = process.communicate(timeout=100)
        return Ran(process.returncode, out.decode(), err.decode())

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> tuple[Ran, dict[str, Any]]:
        """Run stages; how that ended, and their results by name."""
        ran = self("run", "--report", "report.json", *words, env=env)
        assert (self.folder / "report.json").exists(), ran
        stages = json.loads((self.folder / "report.json").read_text())["stages"]
        return ran, {stage["name"]: stage for stage in stages}


@pytest.fixture
def workspace(bench: Bench, tmp_path: Path) -> Workspace:
    """The real program in an empty folder, once for each backend."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    kept = "ISOL8TASKS_IMAGES"
    ours = {n: v for n, v in os.environ.items() if n == kept or not n.startswith("ISOL8TASKS_")}
    quiet = {"PYTHONUTF8": "1", "TERM": "dumb"}
    own = {"ISOL8TASKS_CACHE": str(bench.cache), "XDG_STATE_HOME": str(tmp_path / "state")}
    return Workspace(folder, bench.backend.name, {**ours, **quiet, **own})
