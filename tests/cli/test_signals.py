"""Ctrl-C and SIGTERM: politely once, at once when repeated."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Program

CASES = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 143, "terminated"),
]
AGAIN = "; press Ctrl-C again to stop at once"


def wait_for_output(folder: Path, stage: str) -> None:
    """Wait until a stage has printed something: its log is made then."""
    deadline = time.monotonic() + 20
    while not any(folder.glob(f".isol8tasks/.staging/*/{stage}-*/*.log")):
        assert time.monotonic() < deadline, f"{stage} never printed anything"
        time.sleep(0.02)


def wait_for_child(pid: int) -> None:
    """Wait until a command has started a sandbox; it listens to signals by then."""
    deadline = time.monotonic() + 20
    while not any(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")):
        assert time.monotonic() < deadline, "it never started a sandbox"
        time.sleep(0.02)


@pytest.mark.bubblewrap
@pytest.mark.parametrize(("number", "code", "reason"), CASES)
def test_a_run_that_is_stopped_reports_what_there_is(
    isol8tasks: Program,
    project: Callable[[str], Path],
    number: signal.Signals,
    code: int,
    reason: str,
) -> None:
    folder = project("slow")
    process = isol8tasks.start("run", "--report", "r.json")
    wait_for_output(folder, "sleeps")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=10)
    assert (stderr, process.returncode) == (b"", code)
    lines = stdout.decode().splitlines(keepends=True)[1:]
    report = json.loads((folder / "r.json").read_text())
    assert (report["verdict"], report["stopped"]) == ("cancelled", reason)
    assert [stage["verdict"] for stage in report["stages"]] == ["passed", "cancelled", "cancelled"]
    assert report["stages"][1]["stdout"] == "begun\n"
    assert f"note: stopping{AGAIN if number == signal.SIGINT else ''}\n" in lines
    assert lines[-1].startswith(f"{reason}: 2 cancelled, 1 passed in ")


@pytest.mark.bubblewrap
def test_exec_can_be_stopped(isol8tasks: Program) -> None:
    process = isol8tasks.start("exec", "-q", "--image=bash", "-e", "sleep 60")
    wait_for_child(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    assert (stdout, process.returncode) == (b"", 130)
    assert stderr.startswith(
        b"note: stopping; press Ctrl-C again to stop at once\ncancelled after "
    )


STUCK = """
import sys, threading
from isol8tasks.cli.signals import Signals
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.report.plain import Plain

cancel = CancelSource()
cancel.on_cancel(threading.Event().wait)  # somebody who never comes to an end
with Signals(cancel, Plain(sys.stdout)):
    print("ready", flush=True)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
"""


@pytest.mark.parametrize(("number", "code"), [case[:2] for case in CASES])
def test_twice_ends_the_process_even_when_it_is_stuck(number: signal.Signals, code: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    again = AGAIN if number == signal.SIGINT else ""
    assert process.stdout.readline().decode() == f"note: stopping{again}\n"
    process.send_signal(number)
    assert process.wait(timeout=5) == code
    process.stdout.close()


def test_signals_are_given_back() -> None:
    program = """
import signal, sys
from isol8tasks.cli.signals import Signals
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.report.plain import Plain

before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
with Signals(CancelSource(), Plain(sys.stdout)):
    assert signal.getsignal(signal.SIGINT) is not before[0]
assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
assert signal.set_wakeup_fd(-1) == -1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=20)
