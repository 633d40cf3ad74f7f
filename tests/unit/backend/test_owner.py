"""Who made a thing, told apart from everybody else who ever has the same pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.backend.owner import Owner

OWNER = Owner(boot="43511eb7", namespace=4026531836, pid=123, start=456)
CHILD = (
    "import sys, time; from isol8tasks.backend.owner import Owner;"
    "print(Owner.current(), flush=True); time.sleep(60)"
)


def start() -> tuple[subprocess.Popen[str], Owner]:
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    owner = Owner.parse(process.stdout.readline().strip())
    assert owner is not None
    return process, owner


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_text_form() -> None:
    assert str(OWNER) == "43511eb7-4026531836-123-456"
    assert Owner.parse(str(OWNER)) == OWNER


@given(
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    st.integers(1, 2**63),
    st.integers(1, 2**31),
    st.integers(0, 2**63),
)
def test_the_text_form_goes_both_ways(boot: str, namespace: int, pid: int, start: int) -> None:
    owner = Owner(boot=boot, namespace=namespace, pid=pid, start=start)
    assert Owner.parse(str(owner)) == owner


@pytest.mark.parametrize(
    "text",
    [
        "",
        "43511eb7-4026531836-123",
        "43511eb7-4026531836-123-456-7",
        "43511eb7-4026531836-0-456",
        "43511EB7-4026531836-123-456",
        "43511eb7-4026531836-١٢٣-456",
        "43511eb7-4026531836-123-456\n",
        "../43511eb7-4026531836-123-456",
        "43511eb7-4026531836-99999999999999999999-456",
    ],
)
def test_other_texts_are_nobodys(text: str) -> None:
    assert Owner.parse(text) is None


def test_we_are_alive() -> None:
    me = Owner.current()
    assert me.pid == os.getpid()
    assert me.alive() is True


@pytest.mark.parametrize(
    ("change", "alive"),
    [
        ({"boot": "00000000"}, False),
        ({"boot": "00000000", "namespace": 1}, False),
        ({"namespace": 1}, None),
        ({"start": 1}, False),
        ({"pid": 2**31 - 1}, False),
        ({"pid": 9_999_999_999}, False),
    ],
)
def test_who_differs_is_somebody_else(change: dict[str, Any], alive: bool | None) -> None:
    assert attrs.evolve(Owner.current(), **change).alive() is alive


def test_another_process_lives_until_it_is_killed() -> None:
    process, owner = start()
    try:
        assert owner.pid == process.pid
        assert owner.alive() is True
    finally:
        end(process)
    assert owner.alive() is False


def test_a_process_that_nobody_reaped_is_dead() -> None:
    process, owner = start()
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while owner.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        assert owner.alive() is False
    finally:
        end(process)
