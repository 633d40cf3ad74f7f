from __future__ import annotations

import fcntl
import hashlib
import os
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import attrs
import pytest
from isol8tasks_oci.bakery import Bakery, Ready
from isol8tasks_oci.client import EngineError, LocalImage
from isol8tasks_oci.names import parse
from isol8tasks_oci.recipe import SETTINGS, write_recipe

from isol8tasks.backend.contract import Cancellation, LineSink
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.errors import Cancelled, ImageError, StoreError
from isol8tasks.model.image import Image
from isol8tasks.model.result import StopReason

During = Callable[[LineSink, Cancellation], None]
DEBIAN = Image("debian:12")
MAKE = DEBIAN.run("make")
FAILED = "The command '/bin/sh -euc CERT_' returned a non-zero code: 1"


def number(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Shelf:
    """The images of an engine that builds and pulls in memory; it has no containers."""

    name = "shelf"

    def __init__(self) -> None:
        self.prefix = ""
        self.local = {"debian:12": LocalImage(id=number("debian"), tags=("debian:12",))}
        self.remote: set[str] = set()
        self.pulled: list[str] = []
        self.built: list[tuple[str, str, tuple[tuple[str, str], ...], str]] = []
        self.during = saying()

    def image(self, reference: str) -> LocalImage | None:
        found = self.local.get(reference) or self.local.get(self.prefix + reference)
        return found or next((each for each in self.local.values() if each.id == reference), None)

    def images(self, repository: str) -> tuple[LocalImage, ...]:
        tags = (tag for tag in self.local if tag.rpartition(":")[0] == repository)
        return tuple(self.local[tag] for tag in tags)

    def pull(self, reference: str, *, sink: LineSink, cancel: Cancellation) -> None:
        self.pulled.append(reference)
        self.during(sink, cancel)
        if reference not in self.remote:
            raise EngineError(f"shelf: no\nsuch host: https://me:pw@{reference}", status=404)
        self.local[reference] = LocalImage(id=number(reference), tags=(reference,))

    def build(self, context: IO[bytes], tag: str, **asked: Any) -> None:
        with tarfile.open(fileobj=context) as tar:
            text = tar.extractfile("Dockerfile").read().decode()  # type: ignore[union-attr]
        self.built.append((tag, text, asked["arguments"], asked["network"]))
        for line, instruction in enumerate(text.splitlines(), 1):
            asked["sink"](f"Step {line}/{len(text.splitlines())} : {instruction}")
            asked["sink"](" ---> Running in 0123456789ab")
        self.during(asked["sink"], asked["cancel"])
        if asked["timeout"] < 0.01:
            raise TimeoutError
        shown = self.prefix + tag
        self.local[shown] = LocalImage(id=number(text), tags=(shown,))

    def untag(self, reference: str) -> None:
        self.local.pop(reference, None)


def saying(*lines: str, error: Exception | None = None) -> During:
    def during(sink: LineSink, _cancel: Cancellation) -> None:
        for line in lines:
            sink(line)
        if error is not None:
            raise error

    return during


@attrs.define
class Bench:
    """A bakery on a shelf, and the lines that it printed."""

    base: Path
    shelf: Shelf = attrs.field(factory=Shelf)
    images: tuple[tuple[str, str], ...] = ()
    stop: CancelSource = attrs.field(factory=CancelSource)
    lines: list[str] = attrs.field(factory=list)

    @property
    def bakery(self) -> Bakery:
        engine: Any = self.shelf
        return Bakery(engine, cache=self.base / "cache", images=self.images)

    def prepare(self, image: Image, timeout: float = 20) -> Ready:
        self.lines.clear()
        return self.bakery.prepare(
            image, base=self.base, sink=self.lines.append, cancel=self.stop, timeout=timeout
        )

    def fails(self, image: Image, *lines: str, said: str = FAILED) -> ImageError:
        self.shelf.during = saying(*lines, error=EngineError(said))
        with pytest.raises((ImageError, StoreError)) as caught:
            self.prepare(image)
        return caught.value  # type: ignore[return-value]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in os.environ.keys() - {"PATH", "PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    return Bench(tmp_path)


def test_what_is_here_is_taken_as_it_is(bench: Bench) -> None:
    ready = bench.prepare(DEBIAN.env(A="b"))
    assert (ready.local.id, ready.prepared.baked) == (number("debian"), False)
    assert (bench.shelf.pulled, bench.shelf.built, bench.lines) == ([], [], [])
    assert ready.prepared.identity != bench.prepare(DEBIAN).prepared.identity
    bench.images = (("python:3.12", number("debian")),)
    assert str(bench.prepare(Image.python("3.12")).prepared.identity) == number("debian")


def test_a_name_is_no_start_of_an_id(bench: Bench) -> None:
    """As engines look images up, by whose leave `cafe` would be any image."""
    bench.shelf.local["cafe"] = bench.shelf.local["debian:12"]
    bench.shelf.remote.add("docker.io/library/cafe:latest")
    assert bench.prepare(Image("cafe")).local.id == number("docker.io/library/cafe:latest")
    bench.shelf.local["cafe:latest"] = LocalImage(id=number("cafe"), tags=("cafe:latest",))
    assert bench.prepare(Image("cafe")).local.id == number("cafe")


def test_what_is_not_here_is_pulled_once(bench: Bench) -> None:
    full = "docker.io/library/python:3.12-slim"
    bench.shelf.remote.add(full)
    bench.shelf.during = saying("a Getting [=> ]  1.2MB/3MB", "a Getting [==>]  2MB/3MB", "a Done")
    assert bench.prepare(Image.python("3.12")).local.id == number(full)
    assert bench.lines == [f"pulling {full}", "a Getting", "a Done"]
    bench.prepare(Image.python("3.12"))
    assert bench.shelf.pulled == [full]


def test_a_pull_that_fails(bench: Bench) -> None:
    said = r"shelf cannot get the image quay.io/a/b:1: no such host: https://\*\*\*@quay"
    with pytest.raises(ImageError, match=said) as caught:
        bench.prepare(Image("quay.io/a/b:1"))
    assert "[tool.isol8tasks.images], or load it: shelf load" in caught.value.hint


@pytest.mark.parametrize("name", ["localhost/a:1", "isol8tasks/bake:0", "0" * 64])
def test_what_no_registry_has_is_not_asked_for(bench: Bench, name: str) -> None:
    with pytest.raises(ImageError, match=f"cannot get the image {name}: it is not there"):
        bench.prepare(Image(name))
    assert bench.shelf.pulled == []


@pytest.mark.parametrize("prefix", ["", "localhost/"])
def test_a_bake_once_on_either_engine(bench: Bench, prefix: str) -> None:
    bench.shelf.prefix = prefix
    first, second = bench.prepare(MAKE.env(A="b")), bench.prepare(MAKE)
    ((tag, text, *rest),) = bench.shelf.built
    assert text.startswith(f"FROM {number('debian')}\n")
    assert (*rest, parse(tag).pullable) == ((), "default", False)
    assert [first.prepared.baked, second.prepared.baked] == [True, False]
    assert first.local == second.local
    assert first.prepared.identity != second.prepared.identity
    (known,) = bench.bakery.images()
    assert known == attrs.evolve(second.prepared, image=Image(prefix + tag))
    bench.bakery.remove(first.prepared)
    assert bench.bakery.images() == ()
    assert bench.shelf.image("debian:12")


def test_the_settings_of_the_host(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.base / "ca.pem").write_text("pem")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:pw@i.example/")
    monkeypatch.setenv("PIP_FIND_LINKS", "/srv/wheels")
    monkeypatch.setenv("SSL_CERT_FILE", str(bench.base / "ca.pem"))
    bench.prepare(DEBIAN.pip("six"))
    left_out = "left out, for a build sees no files here: PIP_FIND_LINKS=/srv/wheels"
    assert bench.lines == [left_out, "pip: six"]
    bench.prepare(DEBIAN.file("ca.pem", "/opt/ca.pem"))
    (_, text, ((name, value),), _), (_, plain, none, _) = bench.shelf.built
    assert (name, "https://me:pw@i.example/" in value, "me:pw" in text) == (SETTINGS, True, False)
    assert ("authorities" in text, "authorities" in plain, none) == (True, False, ())


def test_what_a_build_prints(bench: Bench) -> None:
    bench.shelf.during = saying(
        *("\x1b[91mwarning\x1b[0m", "see https://me:pw@x/", "isol8tasks: no chance", "--> abc"),
        *(f"Step {'9' * 5000}/1 : RUN x", "Successfully tagged x"),
    )
    bench.prepare(DEBIAN.npm("a").run("b\nc"))
    assert bench.lines[:2] == ["npm: a", "run: b c"]
    assert bench.lines[2:] == ["warning", "see https://***@x/", "isol8tasks: no chance"]


PIP_SAID = ("ERROR: six (from versions: 1, 2, 3, 4, 5, 6, 7)", "ERROR: No matching distribution")
PIP_REASON = "pip: six: six (from versions: …, 3, 4, 5, 6, 7) No matching distribution"
NPM_SAID = ("npm notice x", "npm error code E", "npm error notarget No matching", "npm notice y")


@pytest.mark.parametrize(
    ("image", "lines", "reason", "hint"),
    [
        (DEBIAN.pip("six"), PIP_SAID, PIP_REASON, "only_binary=False"),
        (DEBIAN.npm("a@9"), NPM_SAID, "npm: a@9: No matching", ""),
        (DEBIAN.apt("a"), ("Go", "E: Failed to fetch a"), "apt: a: Failed to fetch a", "network"),
        (MAKE, ("one", "two", "three", "four"), "run: make: two three four", ""),
        (MAKE, (), "run: make: the tool ended with 1", ""),
        (DEBIAN.pip("a"), ("isol8tasks: no pip",), "the image has no pip", "apt("),
        (DEBIAN.npm("a"), ("isol8tasks: no npm",), "the image has no npm", "apt("),
        (DEBIAN.apt("a"), ("isol8tasks: no apt-get",), "has no apt-get", "Debian"),
        (MAKE, ('"/bin/sh": stat /bin/sh: no such file',), "the image has no shell", "/bin/sh"),
        (MAKE, ("x" * 9000,), f"run: make: {'x' * 700}…", ""),
    ],
)
def test_why_a_build_fails(
    bench: Bench, image: Image, lines: tuple[str, ...], reason: str, hint: str
) -> None:
    error = bench.fails(image, *lines)
    assert error.message.startswith(f"cannot bake {image}: ")
    assert error.message.endswith(reason)
    assert (hint in error.hint, bool(error.hint)) == (True, bool(hint))


def test_the_log_is_that_of_the_step(bench: Bench) -> None:
    assert bench.fails(MAKE, "before", "Step 3/3 : RUN", "after").log == "after"


def test_what_the_engine_says_itself(bench: Bench) -> None:
    for said, reason, hint in (
        ('building at STEP "RUN x "y"": slirp4netns: EOF', "slirp4netns: EOF", "rootless build"),
        ("write /x: no space left on device", "(the disk is full)", "make room"),
        ("shelf does not answer", "make: shelf does not answer", ""),
    ):
        error = bench.fails(MAKE, "a line", said=said)
        assert error.message.endswith(reason)
        assert hint in error.hint


def test_cancelled_while_it_builds(bench: Bench) -> None:
    bench.stop.cancel(StopReason.FAIL_FAST)
    bench.shelf.during = saying(error=Cancelled())
    with pytest.raises(Cancelled):
        bench.prepare(MAKE)


def test_a_build_that_takes_too_long(bench: Bench) -> None:
    with pytest.raises(
        ImageError, match=r"^baking debian:12 \+ run\(make\) took longer than 0.00s"
    ):
        bench.prepare(MAKE, timeout=0.001)


def test_a_pull_that_takes_too_long(bench: Bench) -> None:
    def during(_sink: LineSink, cancel: Cancellation) -> None:
        called = threading.Event()
        forget = cancel.on_cancel(called.set)
        assert called.wait(10)
        assert cancel.cancelled
        forget()
        raise Cancelled

    bench.shelf.during = during
    with pytest.raises(ImageError, match="took longer than"):
        bench.prepare(Image("quay.io/a/b:1"), timeout=0.001)


def test_waiting_for_another_run(bench: Bench) -> None:
    path = (
        bench.base
        / f"cache/bakes/{write_recipe(MAKE, number('debian'), folder=bench.base).key}.lock"
    )
    path.parent.mkdir(parents=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ImageError, match="took longer than"):
            bench.prepare(MAKE, timeout=0.1)
        assert bench.lines == ["another run is baking this image: waiting for it"]
        timer = threading.Timer(0.1, bench.stop.cancel, (StopReason.FAIL_FAST,))
        timer.start()
        with pytest.raises(Cancelled):
            bench.prepare(MAKE)
        timer.join()
    bench.stop = CancelSource()
    assert bench.prepare(MAKE).prepared.baked


def test_two_at_once_bake_once(bench: Bench) -> None:
    bench.shelf.during = lambda _sink, _cancel: time.sleep(0.3)
    found: list[Ready] = []
    other = threading.Thread(target=lambda: found.append(bench.prepare(MAKE)))
    other.start()
    found.append(bench.prepare(MAKE))
    other.join()
    assert len(bench.shelf.built) == 1
    assert sorted(ready.prepared.baked for ready in found) == [False, True]
