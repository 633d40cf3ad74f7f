"""The process that ends containers when their runner is gone; plain children stand for them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    Child = tuple[subprocess.Popen[bytes], int]


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """Processes that would run for long, and handles on them."""
    found = []
    for _ in range(3):
        process = subprocess.Popen(["sleep", "60"])
        found.append((process, os.pidfd_open(process.pid)))
    yield found
    for process, handle in found:
        process.kill()
        process.wait()
        os.close(handle)


def test_what_was_dropped_lives_on(children: list[Child]) -> None:
    guard = Guard()
    for _, handle in children:
        guard.add(handle)
    guard.drop(children[1][1])
    guard.close()
    assert [process.wait(10) for process, _ in children[::2]] == [-9, -9]
    assert children[1][0].poll() is None


def test_a_number_can_be_given_again(children: list[Child]) -> None:
    (first, handle), (second, other), _ = children
    number = os.dup(handle)
    guard = Guard()
    guard.add(number)
    guard.drop(number)
    os.dup2(other, number)
    guard.add(number)
    os.close(number)
    guard.close()
    assert second.wait(10) == -9
    assert first.poll() is None


def test_one_that_ended_keeps_nobody(children: list[Child]) -> None:
    guard = Guard()
    for _, handle in children:
        guard.add(handle)
    children[0][0].kill()
    children[0][0].wait()
    guard.close()
    assert [process.wait(10) for process, _ in children] == [-9, -9, -9]


def test_closing_leaves_nothing_and_may_be_repeated(children: list[Child]) -> None:
    before = os.listdir("/proc/self/fd")
    guard = Guard()
    guard.close()
    guard.drop(children[0][1])
    guard.add(children[0][1])
    guard.close()
    guard.close()
    assert os.listdir("/proc/self/fd") == before


US = """
import os, sys, time
from isol8tasks_oci.guard import Guard
guard = Guard()
for number in sys.argv[1:]:
    guard.add(os.pidfd_open(int(number)))
print(flush=True)
time.sleep(60)
"""


def test_when_we_are_killed_they_are(children: list[Child]) -> None:
    argv = [sys.executable, "-c", US, *(str(process.pid) for process, _ in children)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as us:
        assert us.stdout is not None
        us.stdout.read(1)
        us.kill()
    assert [process.wait(10) for process, _ in children] == [-9, -9, -9]


def test_one_that_was_killed_is_replaced(children: list[Child]) -> None:
    guard = Guard()
    guard.add(children[0][1])
    try:
        assert guard._process is not None
        guard._process.kill()
        guard._process.wait()
        guard.add(children[1][1])
    finally:
        guard.close()
    assert children[1][0].wait(10) == -9
