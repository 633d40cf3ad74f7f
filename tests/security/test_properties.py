"""Whatever a task file says and whatever a stage leaves behind: ten thousand cases of each.

ISOL8TASKS_PROPERTY_EXAMPLES sets another number, such as 1000000.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from isol8tasks_bubblewrap.argv import Layout, bwrap_options
from isol8tasks_bubblewrap.bake import BakedImage
from isol8tasks_bubblewrap.sandbox import BubblewrapSandbox, Workshop

from isol8tasks import Image, secret, stage
from isol8tasks.backend.contract import OutputRefused, PreparedImage, SandboxSpec
from isol8tasks.backend.files import collect
from isol8tasks.backend.folders import remove_tree
from isol8tasks.errors import TaskFileError
from isol8tasks.model.digest import Digest
from isol8tasks.model.network import NetworkMode
from isol8tasks.plan.command import argv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.model.stage import Stage
    from tests.security.conftest import Bench

MANY = settings(
    max_examples=int(os.environ.get("ISOL8TASKS_PROPERTY_EXAMPLES", "10000")),
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.timeout(0 if "ISOL8TASKS_PROPERTY_EXAMPLES" in os.environ else 120)


# No stage without network gets one.

ARITY = {
    **dict.fromkeys(("--unshare-all", "--unshare-user", "--disable-userns"), 0),
    **dict.fromkeys(("--die-with-parent", "--new-session", "--clearenv"), 0),
    **dict.fromkeys(("--cap-drop", "--hostname", "--uid", "--gid", "--perms", "--size"), 1),
    **dict.fromkeys(("--dir", "--proc", "--dev", "--tmpfs", "--remount-ro", "--chdir"), 1),
    **dict.fromkeys(("--symlink", "--ro-bind", "--bind", "--setenv"), 2),
}
"""The options that a sandbox without network may have, and how many words each takes."""

OPENING = ("--share-net", "--unshare-user-try", "--not-an-option", "--cap-add", "--args", "--")


def parsed(blob: bytes) -> list[tuple[str, ...]]:
    """Options as bwrap reads them from a file: it knows no word but by the NUL after it."""
    words = [os.fsdecode(word) for word in blob.split(b"\0")[:-1]]
    found = []
    while words:
        count = 1 + ARITY[words[0]]  # KeyError for what must not be there
        found.append(tuple(words[:count]))
        del words[:count]
    return found


class _Recorder:
    """Takes the place of the launcher and of its holder."""

    sized = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout: Layout | None = None
        self.holder = self

    def make(self, *_: object, **__: object) -> int:
        return os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)

    def unmake(self, _: Path) -> None:
        for item in self.folder.iterdir():
            shutil.rmtree(item)

    def start(self, layout: Layout, **_: object) -> None:
        self.layout = layout
        raise InterruptedError


@pytest.fixture(scope="module")
def fast() -> Iterator[Path]:
    """A folder in memory."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="isol8-security-", dir=parent))
    yield folder
    shutil.rmtree(folder)


def layout_of(spec: SandboxSpec, words: tuple[str, ...], fast: Path) -> Layout | None:
    """What a sandbox would be started with; None when it is refused."""
    places = fast / "places"
    places.mkdir(exist_ok=True)
    recorder = _Recorder(places)
    shop = Workshop(launcher=cast("Any", recorder), cache=fast / "cache", folder=fast)
    baked = BakedImage(prepared=spec.image)
    with suppress(ValueError, OSError):
        sandbox = BubblewrapSandbox(shop, spec, baked, 0)
        with suppress(InterruptedError):
            sandbox.run(words, stdin=b"", sink=lambda _, __: None)
        sandbox.close()
    return recorder.layout


def spec_of(declared: Stage) -> SandboxSpec:
    image = PreparedImage(image=declared.image, identity=Digest(hash="0" * 64, size=0))
    values = {each.name: "--share-net" for each in declared.secrets}
    return SandboxSpec(
        name=declared.name,
        image=image,
        limits=declared.limits,
        network=declared.network,
        env=tuple(sorted({**dict(declared.env), **values}.items())),
        workdir=declared.working_directory,
    )


_TEXT = st.one_of(
    st.sampled_from(OPENING),
    st.sampled_from([f"x\0{word}\0" for word in OPENING]),
    st.text(max_size=12),
    st.builds(
        "".join, st.lists(st.sampled_from([*OPENING, "\0", "\n", " ", "/", "=", "a"]), max_size=5)
    ),
)
_WORDS = st.fixed_dictionaries(
    {"run": st.one_of(_TEXT, st.lists(_TEXT, max_size=3).map(tuple), st.lists(_TEXT, max_size=3))},
    optional={
        "env": st.dictionaries(_TEXT, _TEXT, max_size=3),
        "workdir": _TEXT,
        "secrets": st.sampled_from([[secret("TOKEN")], []]),
        "tags": st.lists(_TEXT, max_size=2),
        "outputs": st.lists(_TEXT, max_size=2),
    },
)


def test_no_stage_without_network_gets_one(fast: Path) -> None:
    tried = 0

    @MANY
    @given(_WORDS)
    def check(words: dict[str, Any]) -> None:
        nonlocal tried
        try:
            declared = stage("s", image=Image.bash(), **words)
        except TaskFileError:
            return
        assert declared.network.mode is NetworkMode.NONE
        layout = layout_of(spec_of(declared), argv(declared.command), fast)
        if layout is None:
            return
        tried += 1
        blob = b"".join(os.fsencode(word) + b"\0" for word in bwrap_options(layout))
        options = parsed(blob)
        assert options[:3] == [("--unshare-all",), ("--unshare-user",), ("--disable-userns",)]
        sources = {words[1] for words in options if words[0] in {"--bind", "--ro-bind"}}
        assert not {
            path for path in sources if path.startswith(("/proc", "/run", "/sys", "/var/run"))
        }

    check()
    assert tried > MANY.max_examples // 20


@pytest.mark.parametrize("env", [("A", "x\0--share-net"), ("A\0x\0--share-net", "x")])
def test_no_word_becomes_an_option(bench: Bench, env: tuple[str, str]) -> None:
    said = bytearray()
    with suppress(Exception), bench.sandbox(env=(env,)) as sandbox:
        sandbox.run(("cat", "/proc/net/dev"), stdin=b"", sink=lambda _, piece: said.extend(piece))
    assert [line for line in said.decode().splitlines()[2:] if "lo:" not in line] == []


# No tree of outputs makes a write outside of its destination.

TARGETS = (
    "OUTSIDE",
    "../outside",
    "../into",
    "..",
    ".",
    "/",
    "a",
    "b/../..",
    "/proc/self/cwd",
    "x",
)
NAMES = (b"a", b"b", b"-", b"...", b" ", b"\n", b"\xff", b"\xc3\xa9", b"*", b".isol8tasks")
KINDS = ("file",) * 6 + ("into", "into", "up", "link", "link", "fifo", "mode", "hard", "sparse")
GLOBS = (("**",), ("**", "a"), ("a",), ("a/**", "*"), ("b/a",), (".*",))


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_OLD = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def grow(plan: bytes, root: str, outside: str) -> None:
    """A tree from bytes: each two of them are one step of somebody who lays traps."""
    folders, here = [root], root
    for step, choice in zip(plan[::2], plan[1::2], strict=False):
        path = os.path.join(here, os.fsdecode(NAMES[choice % len(NAMES)]))
        target = TARGETS[choice // len(NAMES) % len(TARGETS)].replace("OUTSIDE", outside)
        with suppress(OSError):
            match KINDS[step % len(KINDS)]:
                case "file":
                    with open(os.open(path, _NEW, 0o666), "wb") as file:
                        file.write(b"content")
                case "into":
                    os.mkdir(path)
                    folders.append(here)
                    here = path
                case "up":
                    here = folders.pop() if len(folders) > 1 else root
                case "link":
                    os.symlink(target, path)
                case "fifo":
                    os.mkfifo(path)
                case "mode" if not os.path.islink(path):
                    os.chmod(path, choice)
                case "hard":
                    os.link(path, path + "h", follow_symlinks=False)
                case "sparse":
                    with open(os.open(path, _OLD), "wb") as file:
                        file.truncate(10 << choice % 40)


def state(folder: str) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for path, folders, names in os.walk(folder):
        for name in (".", *folders, *names):
            each = os.lstat(os.path.join(path, name))
            found[os.path.join(path, name)] = (
                each.st_ino,
                each.st_mode,
                each.st_size,
                each.st_mtime_ns,
            )
    return found


def test_no_tree_writes_outside_of_its_destination(fast: Path) -> None:
    base = str(fast / secrets.token_hex(4))
    root, into, outside = (f"{base}/{name}" for name in ("root", "into", "outside"))
    os.makedirs(outside)
    Path(outside, "a").write_text("secret")
    before = state(outside)
    came_out = 0

    @MANY
    @given(st.binary(max_size=16), st.sampled_from(GLOBS), st.sampled_from(["", "a", "a/b"]))
    def check(plan: bytes, globs: tuple[str, ...], workdir: str) -> None:
        nonlocal came_out
        os.mkdir(root)
        os.mkdir(into)
        try:
            grow(plan, root, outside)
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with suppress(OutputRefused):
                    collect(folder, workdir, globs, Path(into), max_bytes=1 << 20)
            finally:
                os.close(folder)
            came_out += _check_copies(into)
            assert state(outside) == before
            assert sorted(os.listdir(base)) == ["into", "outside", "root"]
        finally:
            for path in (root, into):
                remove_tree(Path(path))

    check()
    assert came_out > MANY.max_examples // 50


def _check_copies(into: str) -> int:
    """Plain files with what the stage wrote; how many those are."""
    count = 0
    for path, folders, names in os.walk(into):
        for name in (*folders, *names):
            found = os.lstat(os.path.join(path, name))
            if oct(found.st_mode) == "0o40755":
                continue
            assert oct(found.st_mode) in {"0o100644", "0o100755"}
            assert found.st_nlink == 1
            content = Path(path, name).read_bytes()
            assert content.rstrip(b"\0") in {b"content", b""}
            count += 1
    return count
