"""A sandbox through an engine's API: on an engine that is played."""

from __future__ import annotations

import io
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs
import pytest
from isol8tasks_oci import inside, talk
from isol8tasks_oci.client import ContainerSpec, Engine, EngineError, NoAnswer, State
from isol8tasks_oci.far import FarSandbox

from isol8tasks.backend import contract
from isol8tasks.backend.uids import MOST_UIDS, UidLease
from isol8tasks.errors import SandboxError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.result import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[[object], FarSandbox]
    Words = tuple[str, ...]
    Pairs = tuple[tuple[str, str], ...]

MIB = 1 << 20


class FakeChannel:
    """Says what it is told to, and to each line sent what `answer` makes of it."""

    def __init__(self, *said: bytes, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.sent = b""
        self._answer = answer
        self._pieces: queue.Queue[bytes | None] = queue.Queue()
        for piece in said:
            self._pieces.put(piece)
        if answer is None:
            self._pieces.put(None)

    def send(self, content: bytes) -> None:
        self.sent += content
        if self._answer is not None:
            self._pieces.put(self._answer(content))

    def pieces(self) -> Iterator[tuple[contract.Stream, bytes]]:
        while (piece := self._pieces.get()) is not None:
            kind = contract.Stream.STDERR if piece.startswith(b"!") else contract.Stream.STDOUT
            yield kind, piece.lstrip(b"!")

    def close(self) -> None:
        self._pieces.put(None)


@attrs.define
class FakeExecution:
    channel: FakeChannel
    code: int | None = 0

    def exit_code(self) -> int | None:
        return self.code


def mute() -> FakeExecution:
    """A program that runs, prints nothing and does not end."""
    return FakeExecution(FakeChannel(answer=lambda _: b""), None)


RUNNING = State(running=True, ended=False, pid=1, exit_code=None, oom_killed=False)


class FakeEngine:
    """Programs end as they are queued; what was asked for is noted."""

    name = "fake"

    def __init__(self, *executions: FakeExecution, answers: bytes | None = b".\n") -> None:
        self.executions = list(executions)
        self.held = FakeChannel(answer=None if answers is None else lambda _: answers or b"")
        self.asked: list[tuple[Words, int, Pairs]] = []
        self.spec: ContainerSpec | None = None
        self.ended = State(running=False, ended=True, pid=0, exit_code=127, oom_killed=False)
        self.calls: list[str] = []
        self.on_kill: list[Callable[[], None]] = []

    def create(self, spec: ContainerSpec) -> str:
        self.spec = spec
        return "id"

    def attach(self, container: str) -> FakeChannel:
        assert self.calls == []  # before it starts
        return self.held

    def start(self, container: str) -> None:
        self.calls.append("start")

    def state(self, container: str) -> State:
        return self.ended

    def kill(self, container: str) -> None:
        self.calls.append("kill")
        for call in self.on_kill:
            call()

    def remove(self, container: str) -> None:
        self.calls.append("remove")

    def execute(self, _: str, argv: Words, *, uid: int, env: Pairs, workdir: str) -> FakeExecution:
        self.asked.append((argv, uid, env))
        if not self.executions:
            raise EngineError("fake: it is not running", status=409)
        return self.executions.pop(0)


CONTAINER = ContainerSpec(
    name="isol8tasks-test",
    image="image",
    argv=(),
    uid=1,
    seccomp="{}",
    memory=64 * MIB,
    pids=41,
    env=(("A", "1"), ("PATH", "/sandbox/bin:/bin")),
)
SPEC = contract.SandboxSpec(
    name="test",
    image=contract.PreparedImage(image=Image("image"), identity=Digest.of(b"")),
    limits=Limits(disk="1m", memory="64m", pids=40),
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Sandboxes on an engine, closed in the end."""
    made = []

    def make(engine: object) -> FarSandbox:
        lease = UidLease(tmp_path / "cache")
        made.append(FarSandbox(cast("Engine", engine), SPEC, CONTAINER, lease))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.close()


INPUT = contract.TreeEntry(path="a", source=partial(io.BytesIO, b"x"))


def run(sandbox: FarSandbox, *argv: str) -> Exit:
    return sandbox.run(argv or ("x",), stdin=b"", sink=lambda _stream, _piece: None)


def test_the_holder_has_its_own_uid_and_environment(make: Make) -> None:
    engine = FakeEngine(FakeExecution(FakeChannel()))
    run(make(engine))
    assert engine.spec is not None
    assert engine.spec.interactive
    ((argv, uid, env),) = engine.asked
    assert engine.spec.uid == uid - MOST_UIDS
    assert (engine.spec.env, env) == ((), (("A", "1"),))
    assert "/sandbox/bin:/bin" in argv  # a PATH that finds the stage's own tools comes last
    assert engine.spec.pids == 42
    assert argv[-1] == "x"


def test_places_are_sized_and_one_executes(make: Make) -> None:
    engine = FakeEngine()
    make(engine)
    assert engine.spec is not None
    places = [(each.target, each.executable) for each in engine.spec.tmpfs]
    assert places == [("/sandbox", True), ("/tmp", False), ("/dev/shm", False)]
    assert {(each.size, each.inodes) for each in engine.spec.tmpfs} == {(MIB, 1024)}


def test_a_container_that_does_not_start_is_removed(make: Make) -> None:
    engine = FakeEngine(answers=None)
    with pytest.raises(SandboxError, match="did not start: it ended with code 127") as caught:
        make(engine)
    assert "/bin/sh" in caught.value.hint
    assert engine.calls == ["start", "remove"]


def test_a_container_that_was_perhaps_made_is_removed(make: Make) -> None:
    class Silent(FakeEngine):
        def create(self, spec: ContainerSpec) -> str:
            raise NoAnswer("fake does not answer")

        def remove(self, container: str) -> None:
            self.calls.append(container)

    engine = Silent()
    with pytest.raises(NoAnswer):
        make(engine)
    assert engine.calls == [CONTAINER.name]


@pytest.mark.parametrize("flood", [b"a\n" * 5000, b"a" * 100_000], ids=["lines", "one line"])
def test_a_holder_that_says_too_much_is_none(make: Make, flood: bytes) -> None:
    with pytest.raises(SandboxError, match="did not start"):
        make(FakeEngine(answers=flood + b"\n.\n"))


def test_a_conversation_has_an_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is always one byte more."""
    monkeypatch.setattr(talk, "_LONGEST", 0.1)
    endless = mute()
    more = threading.Event()

    def drip() -> None:
        while not more.wait(0.01):
            endless.channel.send(b"x")

    threading.Thread(target=drip, daemon=True).start()
    monkeypatch.setattr(talk, "_GRACE", 0.1)
    try:
        with pytest.raises(SandboxError, match="does not say how the program ended"):
            make(FakeEngine(endless)).put([INPUT])
    finally:
        more.set()


def test_close_removes_once(make: Make) -> None:
    engine = FakeEngine()
    sandbox = make(engine)
    sandbox.close()
    sandbox.close()
    assert engine.calls == ["start", "remove"]


@pytest.mark.parametrize("word", ["x" * (128 << 10), "a\0b", "\udcff"])
def test_words_that_cannot_be_passed(make: Make, word: str) -> None:
    engine = FakeEngine()
    with pytest.raises(SandboxError, match="an argument is"):
        run(make(engine), "a", word)
    assert engine.asked == []


def test_an_image_without_tools(make: Make, tmp_path: Path) -> None:
    without_tar = FakeExecution(FakeChannel(b"!tar\n"), 127)
    sandbox = make(FakeEngine(without_tar, FakeExecution(FakeChannel(b"!find\n"), 127)))
    with pytest.raises(SandboxError, match=r"the image has no tar, .* fake here") as caught:
        sandbox.put([INPUT])
    assert "sh, tar, head" in caught.value.hint
    with pytest.raises(SandboxError, match="the image has no find"):
        sandbox.fetch(("a",), tmp_path, max_bytes=1)


@pytest.mark.parametrize(
    ("space", "why"), [(b"space 5 0 9 9\n.\n", "No space left on device"), (b".\n", "tar: a: bad")]
)
def test_inputs_that_cannot_be_placed(make: Make, space: bytes, why: str) -> None:
    complaint = b"!tar: a: bad\ntar: exiting\n"
    sandbox = make(FakeEngine(FakeExecution(FakeChannel(complaint), 2), answers=space))
    with pytest.raises(SandboxError, match=rf"^cannot place the inputs: {why}$"):
        sandbox.put([INPUT])


def test_an_input_that_cannot_be_read(make: Make) -> None:
    def missing() -> io.BytesIO:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(SandboxError, match=r"^cannot place the inputs: No such file or directory$"):
        make(FakeEngine(mute())).put([contract.TreeEntry(path="a", source=missing)])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_GRACE", 0.2)


def killed_while(running: Callable[[], object]) -> object:
    """What a call came to, in which the sandbox was killed."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(running)
        return call.exception(5) or call.result()


@pytest.mark.usefixtures("short")
def test_a_kill_ends_a_run_whose_streams_do_not_end(make: Make) -> None:
    sandbox = make(FakeEngine(mute()))
    threading.Timer(0.1, sandbox.kill).start()
    assert killed_while(lambda: run(sandbox)) == Exit(code=None)


@pytest.mark.usefixtures("short")
def test_a_kill_on_an_engine_that_does_not_answer(make: Make) -> None:
    def fail() -> None:
        raise NoAnswer("fake does not answer")

    engine = FakeEngine(mute())
    engine.on_kill = [fail]
    sandbox = make(engine)
    threading.Timer(0.1, sandbox.kill).start()
    error = killed_while(lambda: run(sandbox))
    assert str(error) == "fake did not end the sandbox: fake does not answer"


@pytest.mark.usefixtures("short")
def test_a_kill_ends_a_put_and_leaves_nothing_to_fetch(make: Make, tmp_path: Path) -> None:
    sandbox = make(FakeEngine(mute()))
    threading.Timer(0.1, sandbox.kill).start()
    assert killed_while(lambda: sandbox.put([INPUT])) is None
    assert run(sandbox) == Exit(code=None)
    assert sandbox.fetch(("a",), tmp_path, max_bytes=1) == contract.Fetched(unmatched=("a",))


def test_a_program_that_cannot_be_started(make: Make) -> None:
    engine = FakeEngine()
    with pytest.raises(EngineError, match="not running"):
        run(make(engine))
    assert engine.calls == ["start", "kill"]


def test_a_container_that_vanished(make: Make) -> None:
    engine = FakeEngine(*(FakeExecution(FakeChannel(), 137) for _ in range(2)))
    sandbox = make(engine)
    engine.held.close()
    with pytest.raises(SandboxError, match="killed from outside"):
        sandbox._run(("x",), b"", lambda _stream, _piece: None)
    late = attrs.evolve(engine.ended, oom_killed=True)
    threading.Timer(0.2, setattr, (engine, "ended", late)).start()
    assert run(sandbox) == Exit(code=None, limit=Limit.MEMORY)


def test_streams_that_outlive_their_container(make: Make) -> None:
    """As with gVisor, whose kernel was killed for want of memory."""
    engine = FakeEngine(mute())
    sandbox = make(engine)
    engine.ended = State(running=False, ended=True, pid=0, exit_code=137, oom_killed=True)
    assert run(sandbox) == Exit(code=None, limit=Limit.MEMORY)
    assert "kill" not in engine.calls


def test_who_cannot_be_ended_ends_with_the_container(make: Make, tmp_path: Path) -> None:
    left_behind = mute()
    left_behind.code = 3
    engine = FakeEngine(left_behind, FakeExecution(FakeChannel(), 137))
    engine.ended = RUNNING
    sandbox = make(engine)
    engine.on_kill = [left_behind.channel.close, engine.held.close]
    assert run(sandbox).code == 3
    with pytest.raises(contract.OutputRefused, match="processes of the stage cannot be ended"):
        sandbox.fetch(("a",), tmp_path, max_bytes=1)
