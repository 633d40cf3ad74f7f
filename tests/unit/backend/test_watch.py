"""Looking at memory, with the processes of this test as the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend import watch as looking
from isol8tasks.backend.watch import PAUSE, MemoryWatch, used

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
OURS = os.stat("/proc/self/ns/pid").st_ino
HOG = """
import mmap, os, sys
kept = []
def private(): kept.append(bytearray(os.urandom(64) * (64 << 14)))
def shared():
    kept.append(mmap.mmap(-1, 64 << 20))
    kept[-1].write(os.urandom(64) * (64 << 14))
def forked():
    private()
    for _ in range(3):
        if os.fork() == 0:
            return
{}()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def open_proc() -> int:
    return os.open("/proc", os.O_RDONLY)


@pytest.fixture
def proc() -> Iterator[int]:
    file = open_proc()
    yield file
    os.close(file)


def measured(how: str, count: int, proc: int) -> tuple[int, int]:
    """Mebibytes of the processes of a program, roughly and exactly."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HOG.format(how)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        pids = [process.stdout.readline().decode().strip() for _ in range(count)]
        found = used(proc, pids, exactly=False) // MIB, used(proc, pids) // MIB
        assert process.stdin is not None
        process.stdin.close()
    return found


@pytest.mark.parametrize("how", ["private", "shared"])
def test_memory_of_one_process(how: str, proc: int) -> None:
    for found in measured(how, 1, proc):
        assert 64 <= found < 80


def test_what_forked_processes_share_counts_once_when_it_matters(proc: int) -> None:
    roughly, exactly = measured("forked", 4, proc)
    assert roughly >= 4 * 64
    assert 64 <= exactly < 90


def test_who_is_gone_has_nothing(proc: int) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert used(proc, [str(process.pid)]) == 0


def test_a_tree_that_grows_is_told_of() -> None:
    told = threading.Event()
    with closing(MemoryWatch(open_proc)) as watch:
        watch.add(OURS, 1, told.set)
        assert told.wait(10)
        watch.drop(OURS)


def test_a_tree_within_its_limit_or_dropped_is_not() -> None:
    told: list[str] = []
    with closing(MemoryWatch(open_proc)) as watch:
        watch.add(OURS, 1 << 50, lambda: told.append("small"))
        watch.add(-1, 0, lambda: told.append("nobody"))
        time.sleep(4 * PAUSE)
        watch.drop(OURS)
        watch.add(OURS, 1, lambda: told.append("dropped"))
        watch.drop(OURS)
        watch.drop(OURS)
        time.sleep(4 * PAUSE)
    assert told == []


def test_only_a_tree_that_was_looked_at_exactly_rests(proc: int) -> None:
    told: list[str] = []
    first = looking._Tree(1, lambda: told.append("first"))
    looking._look(proc, {OURS: first})
    looking._look(proc, {OURS: first})
    assert told == ["first"]
    looking._look(proc, {OURS: looking._Tree(1, lambda: told.append("second"))})
    assert told == ["first", "second"]
    first.again = 0
    looking._look(proc, {OURS: first})
    assert told == ["first", "second", "first"]


def test_closing_ends_its_thread_and_may_be_repeated() -> None:
    before = os.listdir("/proc/self/fd")
    watch = MemoryWatch(open_proc)
    watch.close()
    watch = MemoryWatch(open_proc)
    watch.add(OURS, 1 << 50, print)
    watch.close()
    watch.close()
    assert "memory" not in {thread.name for thread in threading.enumerate()}
    assert os.listdir("/proc/self/fd") == before


def test_without_a_view_of_processes_nobody_is_told() -> None:
    def fail() -> int:
        raise FileNotFoundError

    with closing(MemoryWatch(fail)) as watch:
        watch.add(OURS, 1, pytest.fail)
        time.sleep(2 * PAUSE)
