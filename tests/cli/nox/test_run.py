"""What a session runs, with which words, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.nox.conftest import HEAD, NOXFILE, Nox, Ran, plain

CHECKS = """\
run RUN · 2 stages · 1 at a time · bubblewrap (asked for)
✓ lint  passed  TIME
  │ fine
✓ unit  passed  TIME
  │ got a b -k c

✓ lint  passed  TIME
✓ unit  passed  TIME
2 passed in TIME (bubblewrap)
"""

WHY = "bad: failed, exit code 3; endless: timed out, still running after TIME"


def test_install_only_runs_nothing(nox: Nox) -> None:
    nox.write()
    assert nox("-s", "all", "--install-only") == Ran(
        0,
        "",
        "nox > Running session all\n"
        "nox > Skipping isol8tasks run, as --install-only is set.\n"
        "nox > Session all was successful.\n",
    )


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (
            ["--bakend", "x"],
            "No such option '--bakend'. Did you mean '--backend'?",
            "see isol8tasks run --help",
        ),
        (
            ["tests/one.py"],
            "'tests/one.py' is no option of 'isol8tasks run'",
            "what stages are to get follows a second --: nox -s all -- -- tests/one.py",
        ),
        (["--jobs", "0"], "--jobs: 0 is not a whole number above zero", "write 1, 2, 3 …"),
    ],
)
def test_wrong_posargs_end_the_session(nox: Nox, words: list[str], error: str, hint: str) -> None:
    nox.write()
    ran = nox("-s", "all", "--", *words)
    assert (ran.code, ran.out) == (1, "")
    first, said, *hints, last = ran.err.splitlines()
    assert first == "nox > Running session all"
    assert (said, hints) == (f"error: {error}", [f"  hint: {hint}"])
    assert last == f"nox > Session all aborted: {error}."


@pytest.mark.bubblewrap
def test_posargs_are_options_and_then_words_for_stages(nox: Nox) -> None:
    nox.write()
    words = ("--backend", "bubblewrap", "-j", "1", "-x", "--", "a b", "-k", "c")
    assert nox("-s", "checks", "--", *words) == Ran(
        0, CHECKS, "nox > Running session checks\nnox > Session checks was successful.\n"
    )


@pytest.mark.bubblewrap
def test_stages_that_do_not_pass_are_named_everywhere(nox: Nox) -> None:
    nox.write()
    ran = nox("-s", "all", "--report", "nox.json", "--", "--backend", "bubblewrap", "-j", "2")
    assert ran.code == 1
    assert ran.out.endswith(
        "✓ lint     passed  TIME\n"
        "✓ unit     passed  TIME\n"
        "✗ bad      failed  TIME  exit code 3\n"
        "✗ endless  timed out  TIME  still running after TIME\n"
        "- after    skipped  requires 'bad', which failed\n"
        "! may      failed (allowed)  TIME  exit code 4\n"
        "1 failed, 1 timed out, 1 failed (allowed), 1 skipped, 2 passed in TIME (bubblewrap)\n"
    )
    assert ran.err == f"nox > Running session all\nnox > Session all aborted: {WHY}.\n"
    report = json.loads((nox.folder / "nox.json").read_text())
    (session,) = report["sessions"]
    assert (report["result"], session["name"], session["result"]) == (0, "all", "aborted")
    assert plain(session["reason"]) == WHY


@pytest.mark.bubblewrap
@pytest.mark.parametrize("how", ["word", "variable", "settings"])
def test_a_report_that_was_asked_for_is_written(nox: Nox, how: str) -> None:
    nox.write()
    words = ("--report", "mine.json") if how == "word" else ()
    env = {"ISOL8TASKS_REPORT": "mine.json"} if how == "variable" else {}
    if how == "settings":
        (nox.folder / "isol8tasks.toml").write_text("report = 'mine.json'\n")
    ran = nox("-s", "all", "--", *words, env=env)
    assert (ran.code, ran.err.count(WHY)) == (1, 1)
    report = json.loads((nox.folder / "mine.json").read_text())
    assert [stage["name"] for stage in report["stages"]][:2] == ["lint", "unit"]


@pytest.mark.bubblewrap
def test_more_stages_than_a_reason_can_hold(nox: Nox) -> None:
    many = "".join(f"sh('s{number}', 'exit 1')\n" for number in range(12))
    nox.write(f"{HEAD}{many}task('many', *(f's{{number}}' for number in range(12)))\n")
    ran = nox("-s", "many")
    assert ran.err.endswith("s9: failed, exit code 1; and 2 more.\n")


@pytest.mark.bubblewrap
def test_tags_select_sessions(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format(", stages=True"))
    ran = nox("-t", "style", "--", "-q")
    assert (ran.code, ran.out) == (0, "1 passed in TIME (bubblewrap)\n")
    ran = nox("-t", "quick", "--", "-q")
    assert re.findall(r"\* (\w+): success", ran.err) == ["checks", "lint", "unit"]


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("nox_words", "words", "env", "colored"),
    [
        ((), (), {}, False),
        (("--forcecolor",), (), {}, True),
        ((), (), {"FORCE_COLOR": "1"}, True),
        (("--forcecolor",), ("--color", "never"), {}, False),
        (("--forcecolor",), (), {"ISOL8TASKS_COLOR": "never"}, False),
        (("--nocolor",), ("--color", "always"), {}, True),
    ],
)
def test_colors_are_those_that_nox_was_asked_for(
    nox: Nox, nox_words: tuple[str, ...], words: tuple[str, ...], env: dict[str, str], colored: bool
) -> None:
    nox.write()
    ran = nox("-s", "checks", *nox_words, "--", *words, env=env)
    assert (ran.code, "\x1b[32m✓" in ran.out) == (0, colored)


RUN = """\
import os
import nox
import isol8tasks.nox

@nox.session(venv_backend="none")
def own(session):
    session.env["ISOL8TASKS_JOBS"] = "1"
    session.env["ISOL8TASKS_QUIET"] = None
    with session.chdir("sub"):
        isol8tasks.nox.run(session, "unit", *session.posargs)
    assert "ISOL8TASKS_JOBS" not in os.environ
    assert os.environ["ISOL8TASKS_QUIET"] == "1"
    isol8tasks.nox.run(session, "lint", "bad", "-j2", file="isol8file.py")
    raise AssertionError("not reached")
"""


@pytest.mark.bubblewrap
def test_a_session_of_ones_own_runs_what_it_wants(nox: Nox) -> None:
    nox.write(noxfile=RUN)
    (nox.folder / "sub").mkdir()
    ran = nox("-s", "own", "--", "--report", "r.json", "--", "x", env={"ISOL8TASKS_QUIET": "1"})
    assert ran.code == 1
    assert ran.out.startswith("run RUN · 1 stage · 1 at a time · bubblewrap")
    assert "  │ got x\n" in ran.out
    assert ran.out.endswith(
        "✓ lint  passed  TIME\n✗ bad   failed  TIME  exit code 3\n"
        "1 failed, 1 passed in TIME (bubblewrap)\n"
    )
    assert ran.err.endswith("nox > Session own aborted: bad: failed, exit code 3.\n")
    assert (nox.folder / "sub/r.json").is_file()


def wait_for_log(folder: Path) -> None:
    """Wait until a stage has printed something: its log is made then."""
    deadline = time.monotonic() + 30
    while not any(folder.glob(".isol8tasks/.staging/*/*/*.log")):
        assert time.monotonic() < deadline, "nothing was ever printed"
        time.sleep(0.02)


@pytest.mark.bubblewrap
@pytest.mark.parametrize(
    ("number", "code", "word", "last"),
    [
        (signal.SIGINT, 130, "interrupted", "nox > Session all interrupted.\n"),
        (signal.SIGTERM, 143, "terminated", ""),
    ],
)
def test_a_signal_ends_the_run_and_then_nox(
    nox: Nox, number: signal.Signals, code: int, word: str, last: str
) -> None:
    nox.write(HEAD + "sh('sleeps', 'echo begun; sleep 60')\ntask('all', 'sleeps')\n")
    process = nox.start("-s", "all")
    wait_for_log(nox.folder)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == code
    assert plain(stdout).endswith(f"{word}: 1 cancelled in TIME (bubblewrap)\n")
    assert stderr == f"nox > Running session all\n{last}"


PARALLEL = (
    HEAD
    + """\
for name in ("one", "two", "three"):
    sh(name, "date +from:%s%N; sleep 1; date +to:%s%N")
    task(name + "s", name)
"""
)

BESIDE = """
import nox

@nox.session(venv_backend="none")
def own(session):
    isol8tasks.nox.run(session, "one")

@nox.session(venv_backend="none")
def other(session):
    with session.chdir("sub"):
        isol8tasks.nox.run(session, "two")
"""


@pytest.mark.bubblewrap
def test_parallel_nox_runs_one_engine_at_a_time(nox: Nox) -> None:
    nox.write(PARALLEL, NOXFILE.format("") + BESIDE)
    (nox.folder / "sub").mkdir()
    ran = nox("-j", "4", "--allow-parallel")
    assert (ran.code, ran.out.count("1 passed in TIME")) == (0, 5)
    times = [re.findall(rf"{word}:(\d+)", ran.out) for word in ("from", "to")]
    spans = sorted(zip(*(map(int, found) for found in times), strict=True))
    assert len(spans) == 5
    assert all(end < start for (_, end), (start, _) in pairwise(spans))


@pytest.mark.bubblewrap
def test_only_our_sessions_are_not_run_in_parallel(nox: Nox) -> None:
    nox.write()
    ran = nox("-j", "4", "--allow-parallel", "-s", "checks", "all", "--", "--dry-run")
    assert ran.code == 0
    assert "No selected session allows parallel execution" in ran.err


@pytest.mark.docker
@pytest.mark.parametrize("backend", ["docker"])
def test_libraries_do_not_log_to_nox(nox: Nox, backend: str) -> None:
    nox.write()
    ran = nox("-s", "checks", "--", "--backend", backend, "-x", env=_images())
    assert (ran.code, ran.out.count("2 passed in TIME (docker)")) == (0, 1)
    assert ran.err == "nox > Running session checks\nnox > Session checks was successful.\n"


def _images() -> dict[str, str]:
    return {name: os.environ[name] for name in ("ISOL8TASKS_IMAGES",) if name in os.environ}
