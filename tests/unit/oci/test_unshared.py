"""The helper among a rootless engine's mounts, without an engine."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci import sized
from isol8tasks_oci.unshared import UnsharedPlaces

from isol8tasks.backend.contract import EntryKind, OutputRefused, TreeEntry
from isol8tasks.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
GONE = r"the helper .* is gone"
ENTER = {
    "own mounts": ("unshare", "--mount"),
    "own user too": ("unshare", "--map-root-user", "--mount"),
}


@attrs.define
class Bench:
    """A helper in mounts of its own, where it may have uid 0 and no other."""

    places: UnsharedPlaces
    root: Path
    made: int = 0

    def place(self, *, size: int = MIB, workdir: str = "") -> Path:
        self.made += 1
        folder = self.root / f"ä {self.made}" / "places"
        folder.parent.mkdir()
        self.places.make(folder, uid=0, size=size, workdir=workdir)
        return folder

    def put(self, folder: Path, *tree: TreeEntry) -> None:
        self.places.put(folder, tree, uid=0)

    def content(self, folder: Path, *globs: str) -> dict[str, bytes]:
        into = self.root / f"out {time.monotonic_ns()}"
        into.mkdir()
        found = self.places.fetch(folder, "", globs or ("**",), into, max_bytes=MIB)
        return {path: (into / path).read_bytes() for path in found.paths}

    @property
    def helper(self) -> int:
        assert self.places._process is not None
        return self.places._process.pid


@pytest.fixture(params=sorted(ENTER))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    enter = ENTER[request.param]
    tried = subprocess.run([*enter, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(tried.stderr)
    bench = Bench(UnsharedPlaces(enter), tmp_path)
    yield bench
    bench.places.close()


def entry(path: str, content: bytes = b"", *, executable: bool = False) -> TreeEntry:
    return TreeEntry(path=path, executable=executable, source=partial(io.BytesIO, content))


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path=path, kind=EntryKind.SYMLINK, target=target)


class Broken(io.RawIOBase):
    """Gives some bytes, and then an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._left = 3

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if not self._left:
            raise self._error
        return b"x" * min(size, 70_000)


def broken(path: str, error: Exception) -> TreeEntry:
    def source() -> IO[bytes]:
        return Broken(error)  # type: ignore[return-value]

    return TreeEntry(path=path, source=source)


def unopenable(path: str) -> TreeEntry:
    return TreeEntry(path=path, source=partial(io.FileIO, "/no/such/file"))


def test_inputs_go_in_and_outputs_come_out(bench: Bench) -> None:
    folder = bench.place(workdir="a/b")
    large = os.urandom(300_000)
    bench.put(folder, link("l", "a"), entry("a/large", large), entry("empty"), entry("a/b/c", b"1"))
    assert bench.content(folder, "a", "empty") == {"a/large": large, "empty": b"", "a/b/c": b"1"}
    assert sized.mounts_below(bench.root) == [], "they are not among our own mounts"


def test_modes_and_owners(bench: Bench) -> None:
    folder, into = bench.place(), bench.root / "out"
    into.mkdir()
    bench.put(folder, entry("run", b"#!", executable=True), entry("data", b"1"))
    bench.places.fetch(folder, "", ("*",), into, max_bytes=MIB)
    assert (into / "run").stat().st_mode & 0o777 == 0o755
    assert (into / "data").stat().st_mode & 0o777 == 0o644
    assert {path.stat().st_uid for path in into.iterdir()} == {os.geteuid()}


def test_only_what_matches_comes_out(bench: Bench) -> None:
    folder, into = bench.place(), bench.root / "out"
    into.mkdir()
    bench.put(folder, entry("a.txt", b"1"), entry("b", b"2"))
    found = bench.places.fetch(folder, "", ("*.txt", "nothing"), into, max_bytes=MIB)
    assert (found.paths, found.unmatched) == (("a.txt",), ("nothing",))


def test_a_refusal_is_one_on_our_side_too(bench: Bench) -> None:
    folder = bench.place()
    bench.put(folder, entry("a", b"1"), link("out", "a"), entry("big", b"x" * 100))
    with pytest.raises(OutputRefused, match="'out' is a link"):
        bench.content(folder, "out")
    with pytest.raises(OutputRefused, match="larger than the disk limit"):
        bench.places.fetch(folder, "", ("big",), bench.root, max_bytes=99)
    assert bench.content(folder, "a") == {"a": b"1"}


@pytest.mark.parametrize("name", ["ä €", "two\nlines", "\udcff", '"quoted"\\'])
def test_names_arrive_as_they_are(bench: Bench, name: str) -> None:
    folder = bench.place()
    bench.put(folder, entry(f"{name}/file", b"1"), link("link", f"{name}/file"))
    if name.isprintable():
        assert bench.content(folder, "*/file") == {f"{name}/file": b"1"}
    else:
        with pytest.raises(OutputRefused, match="control characters or broken text"):
            bench.content(folder, "*/file")


def test_full(bench: Bench) -> None:
    folder, other = bench.place(), bench.place()
    assert not bench.places.full(folder)
    bench.put(folder, entry("big", bytes(MIB)))
    assert bench.places.full(folder)
    assert not bench.places.full(other)


def test_what_is_not_there_is_an_error_with_its_reason(bench: Bench) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        bench.places.full(bench.root / "nothing")
    with pytest.raises(FileExistsError, match="File exists"):
        bench.places.make(bench.root, uid=0, size=MIB, workdir="")
    bench.place()


def test_a_place_can_be_let_go_more_than_once(bench: Bench) -> None:
    folder, other = bench.place(), bench.place()
    bench.put(folder, entry("a", b"1"))
    bench.put(other, entry("a", b"2"))
    bench.places.unmake(folder)
    bench.places.unmake(folder)
    assert folder.is_dir()
    with pytest.raises(OSError, match="No such file"):
        bench.content(folder)
    assert bench.content(other) == {"a": b"2"}


TREES: dict[str, Callable[[], tuple[TreeEntry, ...]]] = {
    "no space in the first": lambda: (entry("big", bytes(2 * MIB)), entry("a", b"1")),
    "no space in the last": lambda: (entry("a", b"1"), entry("big", bytes(2 * MIB))),
    "no space again and again": lambda: tuple(entry(f"big{n}", bytes(MIB)) for n in range(4)),
    "twice the same": lambda: (entry("a", b"1"), entry("a", b"2"), entry("c", b"3")),
    "a file for a folder": lambda: (entry("a", b"1"), entry("a/b", b"2"), entry("c", b"3")),
    "a broken input": lambda: (
        entry("a", b"1"),
        broken("b", OSError(5, "Input/output error")),
        entry("c", b"3"),
    ),
    "an input that is gone": lambda: (unopenable("a"), entry("b", b"2"), link("l", "b")),
    "only one that is gone": lambda: (unopenable("a"),),
    "both": lambda: (entry("big", bytes(2 * MIB)), unopenable("a"), entry("c", b"3")),
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_after_an_error_in_the_middle_all_goes_on(
    bench: Bench, tree: Callable[[], tuple[TreeEntry, ...]]
) -> None:
    folder, other = bench.place(), bench.place()
    bench.put(other, entry("a", b"other"))
    helper = bench.helper
    with pytest.raises(OSError, match=r"No space|File exists|Not a directory|error|No such file"):
        bench.put(folder, *tree())
    assert bench.content(other) == {"a": b"other"}
    third = bench.place()
    bench.put(third, entry("a", b"third"))
    assert bench.content(third) == {"a": b"third"}
    assert bench.helper == helper


@pytest.mark.timeout(20)
def test_an_input_that_fails_otherwise_leaves_the_stream_whole(bench: Bench) -> None:
    folder = bench.place()
    with pytest.raises(SandboxError, match="no such blob"):
        bench.put(folder, entry("a", b"1"), broken("b", SandboxError("no such blob")))
    timer = threading.Timer(5, os.kill, (bench.helper, signal.SIGKILL))
    timer.start()
    try:
        assert not bench.places.full(folder)
    finally:
        timer.cancel()


def test_requests_from_many_threads_do_not_mix(bench: Bench) -> None:
    folders = [bench.place() for _ in range(6)]
    wrong = []

    def work(number: int, folder: Path) -> None:
        for turn in range(5):
            bench.put(folder, entry(f"{turn}", bytes([number]) * 50_000))
            into = bench.root / f"out-{number}-{turn}"
            into.mkdir()
            bench.places.fetch(folder, "", (f"{turn}",), into, max_bytes=MIB)
            if set((into / f"{turn}").read_bytes()) != {number}:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(folders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_helper_that_is_killed_is_an_error_once(bench: Bench) -> None:
    folder = bench.place()
    os.kill(bench.helper, signal.SIGKILL)
    with pytest.raises(SandboxError, match=GONE):
        bench.places.full(folder)
    again = bench.place()
    bench.put(again, entry("a", b"1"))
    assert bench.content(again) == {"a": b"1"}


def test_a_helper_that_is_killed_at_work_is_an_error(bench: Bench) -> None:
    folder = bench.place()
    helper = bench.helper

    class Murderous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            os.kill(helper, signal.SIGKILL)
            return super().read(size)

    tree = [TreeEntry(path=str(n), source=partial(Murderous, b"x" * 200_000)) for n in range(3)]
    with pytest.raises(SandboxError, match=GONE):
        bench.put(folder, *tree)


def test_one_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    places = UnsharedPlaces(("false",))
    with pytest.raises(SandboxError, match=GONE):
        places.full(tmp_path)
    places.close()


def test_closing_ends_the_helper_and_may_be_repeated(bench: Bench) -> None:
    before = set(os.listdir("/proc/self/fd"))
    bench.place()
    helper = os.pidfd_open(bench.helper)
    bench.places.close()
    bench.places.close()
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(helper, 0)
    os.close(helper)
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("asked", [False, True])
def test_a_stuck_one_is_killed_with_what_started_it(tmp_path: Path, *, asked: bool) -> None:
    """As podman does, a shell waits for the helper that it started."""
    places = UnsharedPlaces(("sh", "-c", '"$@"; :', "sh"), grace=0.1)
    with pytest.raises(FileNotFoundError):
        places.full(tmp_path / "nothing")
    assert places._process is not None
    os.killpg(places._process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(places.full, tmp_path) if asked else None
        places.close()
        if answer is not None:
            with pytest.raises(SandboxError, match=GONE):
                answer.result()
    places.close()


@pytest.mark.root
def test_closing_lets_go_of_all_places(tmp_path: Path) -> None:
    """Among our own mounts, so that they can be seen."""
    bench = Bench(UnsharedPlaces(()), tmp_path)
    for _ in range(3):
        bench.place()
    assert len(sized.mounts_below(tmp_path)) == 9
    bench.places.close()
    assert sized.mounts_below(tmp_path) == []


US = """
import io, os, sys, time
from functools import partial
from pathlib import Path
from isol8tasks.backend.contract import TreeEntry
from isol8tasks_oci.unshared import UnsharedPlaces

class Slow(io.BytesIO):
    def read(self, size=-1):
        print(flush=True)
        time.sleep(60)

places, folder = UnsharedPlaces(()), Path(sys.argv[1])
places.make(folder, uid=0, size=1 << 20, workdir="")
print(places._process.pid, flush=True)
if sys.argv[2] == "busy":
    big = TreeEntry(path="a", source=partial(io.BytesIO, bytes(100_000)))
    places.put(folder, [big, TreeEntry(path="b", source=Slow)], uid=0)
print(flush=True)
time.sleep(60)
"""


@pytest.mark.root
@pytest.mark.parametrize("work", ["idle", "busy"])
def test_when_we_are_killed_the_helper_lets_go(tmp_path: Path, work: str) -> None:
    folder = tmp_path / "places"
    argv = [sys.executable, "-c", US, str(folder), work]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as us:
        assert us.stdout is not None
        helper = os.pidfd_open(int(us.stdout.readline()))
        us.stdout.readline()
        assert len(sized.mounts_below(folder)) == 3
        us.kill()
    try:
        deadline = time.monotonic() + 10
        while sized.mounts_below(folder) or not _ended(helper):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.close(helper)
        sized.unmake(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _ended(handle: int) -> bool:
    try:
        signal.pidfd_send_signal(handle, 0)
    except ProcessLookupError:
        return True
    return False
