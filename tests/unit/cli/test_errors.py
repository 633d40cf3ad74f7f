"""Exceptions as text and exit codes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from isol8tasks.cli.errors import describe, guarded, report_code
from isol8tasks.errors import (
    BackendUnavailable,
    ImageError,
    Isol8Error,
    Location,
    PlanError,
    Refused,
    SandboxError,
    SettingsError,
    StoreError,
    TaskFileError,
)
from isol8tasks.model.result import RunReport, StageResult, StopReason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACE = Location("isol8file.py", 3)

TEXTS = [
    (PlanError("no such stage"), "error: no such stage"),
    (
        TaskFileError("bad unit", where=PLACE, hint="write 30s"),
        "error: bad unit\n  --> isol8file.py:3\n  hint: write 30s",
    ),
    (
        SettingsError("jobs: x", where=Location("pyproject.toml", 0)),
        "error: jobs: x\n  --> pyproject.toml",
    ),
    (PlanError("one\ntwo", hint="three\nfour"), "error: one\n  two\n  hint: three\n  four"),
    (
        ImageError("cannot bake", hint="look", log="first\nlast\x1b[2J\n"),
        "error: cannot bake\n  hint: look\n  │ first\n  │ last\\x1b[2J",
    ),
    (PlanError("a\x1b[2J\r::b"), r"error: a\x1b[2J\r::b"),
    (PlanError("x\n::error ::y"), "error: x\n  \\::error ::y"),
    (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "main.py"),
        "error: main.py: No such file or directory",
    ),
    (
        OSError(errno.ENOSPC, "No space left on device"),
        (
            "error: the output cannot be written: No space left on device\n"
            "  hint: look at where it goes: the disk may be full, or the file closed"
        ),
    ),
    (
        click.UsageError("missing\n\tone,\n\ttwo"),
        "error: missing one, two\n  hint: see isol8tasks --help",
    ),
    (click.UsageError("bad option"), "error: bad option\n  hint: see isol8tasks --help"),
]

CODES = [
    (TaskFileError("x"), 2),
    (PlanError("x"), 2),
    (SettingsError("x"), 2),
    (Refused("x"), 2),
    (click.UsageError("x"), 2),
    (BackendUnavailable("x"), 3),
    (ImageError("x"), 3),
    (SandboxError("x"), 3),
    (StoreError("x"), 3),
    (OSError(errno.ENOSPC, "No space left on device", "log"), 3),
    (RuntimeError("x"), 3),
    (KeyboardInterrupt(), 130),
    (click.Abort(), 130),
]


@pytest.mark.parametrize(("error", "text"), TEXTS)
def test_text(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_a_place_below_here_is_shown_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    below = PlanError("x", where=Location(f"{tmp_path}/ci/isol8file.py", 1))
    above = PlanError("x", where=Location("/elsewhere/isol8file.py", 1))
    assert describe(below) == "error: x\n  --> ci/isol8file.py:1"
    assert describe(above) == "error: x\n  --> /elsewhere/isol8file.py:1"


def test_only_the_end_of_a_long_log_is_shown() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    lines = describe(ImageError("x", log=log)).splitlines()
    assert (len(lines), lines[1], lines[-1]) == (31, "  │ line 70", "  │ line 99")


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(("error", "code"), CODES)
def test_exit_code(capsys: pytest.CaptureFixture[str], error: BaseException, code: int) -> None:
    assert guarded(raising(error)) == code
    assert capsys.readouterr().out == ""


def test_no_traceback_for_our_own_errors(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(raising(PlanError("x")))
    assert capsys.readouterr().err == "error: x\n"


def test_a_bug_shows_a_harmless_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(RuntimeError("\x1b[2J"))) == 3
    text = capsys.readouterr().err
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith(
        "RuntimeError: \\x1b[2J\n"
        "error: this is a bug in isol8tasks; please report it with the lines above\n"
    )


def test_every_error_of_ours_is_usage_or_operation() -> None:
    def leaves(kind: type[Isol8Error]) -> set[type[Isol8Error]]:
        return {kind}.union(*map(leaves, kind.__subclasses__()))

    for kind in leaves(Isol8Error) - {Isol8Error}:
        assert guarded(raising(kind("x"))) in {2, 3}


def test_what_a_command_returns_is_the_code() -> None:
    assert [guarded(lambda: None), guarded(lambda: 0), guarded(lambda: 1)] == [0, 0, 1]


def report(
    *verdicts: Verdict, stopped: StopReason | None = None, allowed: bool = False
) -> RunReport:
    stages = tuple(
        StageResult(name=str(number), verdict=verdict, allowed=allowed)
        for number, verdict in enumerate(verdicts)
    )
    return RunReport(run_id="r", backend="b", stages=stages, seconds=0, stopped=stopped)


REPORTS = [
    (report(), 0),
    (report(Verdict.PASSED), 0),
    (report(Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED), 1),
    (report(Verdict.TIMED_OUT), 1),
    (report(Verdict.FAILED, allowed=True), 0),
    (report(Verdict.FAILED, Verdict.ERROR), 3),
    (report(Verdict.FAILED, stopped=StopReason.FAIL_FAST), 1),
    (report(Verdict.CANCELLED, stopped=StopReason.INTERRUPTED), 130),
    (report(Verdict.PASSED, stopped=StopReason.TERMINATED), 143),
]


@pytest.mark.parametrize(("finished", "code"), REPORTS)
def test_the_code_of_a_run(finished: RunReport, code: int) -> None:
    assert report_code(finished) == code


def test_a_reader_who_went_away_is_quiet() -> None:
    program = (
        "import sys; from isol8tasks.cli.errors import guarded\n"
        "def command():\n"
        "    print('x' * 100000, flush=True)\n"
        "sys.exit(guarded(command))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")
