"""A handle on a container's first process: here a child of ours, told by an engine in memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci.client import State
from isol8tasks_oci.ended import Ended
from isol8tasks_oci.first import FirstProcess

from isol8tasks.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.oci.conftest import MemoryEngine

ID, TOKEN = "3957f273f718" * 5, "isol8tasks-r-0123"
GONE = State(running=False, ended=True, pid=0, exit_code=3, oom_killed=True)


def running(pid: int) -> State:
    return State(running=True, ended=False, pid=pid, exit_code=None, oom_killed=False)


@attrs.define
class Bench:
    """Starts first processes and, as an engine's own program does, takes note of their end."""

    engine: MemoryEngine
    started: list[subprocess.Popen[bytes]] = attrs.field(factory=list)
    open: list[FirstProcess] = attrs.field(factory=list)

    def first(self, text: str, *after: State) -> FirstProcess:
        process = subprocess.Popen(["sh", "-c", text, TOKEN], stdin=subprocess.PIPE)
        self.started.append(process)
        threading.Thread(target=process.wait, daemon=True).start()
        self.engine.states = [running(process.pid), *after]
        found = FirstProcess(self.engine, ID, TOKEN)
        self.open.append(found)
        return found

    def close(self) -> None:
        for each in self.open:
            each.close()
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def bench(engine: MemoryEngine) -> Iterator[Bench]:
    bench = Bench(engine)
    yield bench
    bench.close()


@pytest.mark.parametrize(
    ("text", "code"),
    [("sleep 0.1; exit 0", 0), ("sleep 0.1; exit 137", 137), ("sleep 0.1; kill -9 $$", None)],
)
def test_how_it_ended(bench: Bench, text: str, code: int | None) -> None:
    """By the kernel where that tells; elsewhere by the engine, which would say 3."""
    first = bench.first(text, GONE)
    assert first.ended(ask=False) in {Ended(code=code), Ended(code=3, oom_killed=True)}


def test_the_engine_is_asked_until_it_knows(bench: Bench) -> None:
    first = bench.first("sleep 0.1", *[running(1)] * 3, GONE)
    assert first.ended(ask=True) == Ended(code=3, oom_killed=True)
    assert len(bench.engine.calls) == 5


def test_a_killed_one_ends_at_once(bench: Bench) -> None:
    first = bench.first("read -r _", attrs.evolve(GONE, exit_code=None))
    start = time.monotonic()
    first.kill()
    first.kill()
    assert first.ended(ask=False).code is None
    assert time.monotonic() - start < 5
    first.kill()


def test_the_engine_s_own_program_may_be_there_first(bench: Bench) -> None:
    argv = ["sh", "-c", f"sleep 0.3; exec sh -c 'read -r _' {TOKEN}"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE)
    bench.started.append(process)
    bench.engine.states = [running(process.pid)]
    start = time.monotonic()
    bench.open.append(FirstProcess(bench.engine, ID, TOKEN))
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize(
    ("state", "words", "hint"),
    [
        (attrs.evolve(GONE, exit_code=127), "it ended with code 127", True),
        (attrs.evolve(GONE, exit_code=1), "it ended with code 1", False),
        (attrs.evolve(GONE, error="no such file"), "no such file", False),
        (running(1), "it is not on this host", False),
    ],
)
def test_one_that_is_gone_is_an_error(
    engine: MemoryEngine, state: State, words: str, hint: bool
) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    engine.states = [running(child.pid), state]
    with pytest.raises(SandboxError) as error:
        FirstProcess(engine, ID, TOKEN)
    assert error.value.message == f"the container did not start: {words}"
    assert bool(error.value.hint) is hint


def test_one_that_ends_before_it_is_recognised_is_an_error(engine: MemoryEngine) -> None:
    """As with a number of somebody else's process."""
    before = os.listdir("/proc/self/fd")
    with subprocess.Popen(["sleep", "0.2"]) as child:
        engine.states = [running(child.pid), GONE]
        with pytest.raises(SandboxError, match="it ended with code 3"):
            FirstProcess(engine, ID, TOKEN)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("pid", [0, -1])
def test_a_container_that_did_not_start_has_no_number(engine: MemoryEngine, pid: int) -> None:
    engine.states = [running(pid), GONE]
    with pytest.raises(SandboxError, match="did not start"):
        FirstProcess(engine, ID, TOKEN)


def test_closing_may_be_repeated_and_leaves_nothing_open(bench: Bench) -> None:
    first = bench.first("read -r _")
    opened = os.listdir("/proc/self/fd")
    first.close()
    first.close()
    first.kill()
    assert bench.started[0].poll() is None, "whoever closes it does not kill it any more"
    assert len(os.listdir("/proc/self/fd")) == len(opened) - 1
