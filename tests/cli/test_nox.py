"""Tasks as sessions of the real nox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.cli.conftest import Program

MODULE = ("-m", "nox")

NOXFILE = "import isol8tasks.nox\nisol8tasks.nox.sessions(globals(){})\n"

HEAD = """\
from isol8tasks import Image, stage, task

def sh(name, run, **words):
    return stage(name, image=Image.bash(), run=run, inputs=[], **words)

"""

TASKS = (
    HEAD
    + """\
sh("lint", "echo fine", tags=["quick", "style"], description="Nothing to say.\\nMore.")
sh("unit", 'echo "got $*"', tags=["quick"], posargs=True)
sh("bad", "echo no; exit 3")
sh("endless", "while :; do :; done", timeout="300ms")
sh("after", "true", requires=["bad"])
sh("may", "exit 4", allow_failure=True)
task("checks", "lint", "unit", default=True)
task("all", "checks", "bad", "endless", "after", "may")
"""
)

LISTING = """\
Sessions defined in {}/noxfile.py:

* checks [quick] -> lint, unit
- all -> checks, bad, endless, after, may
- lint [quick,style] -> Nothing to say.
- unit [quick]
- bad
- endless
- after
- may

sessions marked with * are selected, sessions marked with - are skipped.
"""

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


@attrs.frozen
class Ran:
    """How nox ended; `out` and `err` have TIME for times and RUN for the run's id."""

    code: int
    out: str
    err: str


def plain(text: str) -> str:
    """What is the same on every host, at every time."""
    text = re.sub(r"^note: on this host .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\brun [0-9a-f]{8}\b", "run RUN", text)
    text = re.sub(r" \(took .*?\)| in (a|\d+) seconds?\b", "", text)
    return re.sub(r"\b\d+(\.\d+)?s\b", "TIME", text)


@attrs.frozen
class Nox:
    """nox in a folder."""

    folder: Path
    environ: Mapping[str, str]
    started: list[subprocess.Popen[str]] = attrs.field(factory=list)

    def __call__(
        self, *words: str, python: Sequence[str] = MODULE, env: Mapping[str, str] | None = None
    ) -> Ran:
        process = self.start(*words, python=python, env=env)
        stdout, stderr = process.communicate(timeout=100)
        return Ran(process.returncode, plain(stdout), plain(stderr))

    def start(
        self, *words: str, python: Sequence[str] = MODULE, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start it, for tests that meddle while it runs."""
        process = subprocess.Popen(
            [sys.executable, *python, *words],
            cwd=self.folder,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.started.append(process)
        return process

    def write(self, tasks: str = TASKS, noxfile: str = NOXFILE.format("")) -> None:
        """Make the project."""
        (self.folder / "isol8file.py").write_text(tasks)
        (self.folder / "noxfile.py").write_text(noxfile)


@pytest.fixture
def nox(isol8tasks: Program, folder: Path) -> Iterator[Nox]:
    ours = ("NOX", "FORCE_COLOR", "CI")
    environ = {n: v for n, v in isol8tasks.environ.items() if not n.startswith(ours)}
    program = Nox(folder, environ)
    yield program
    for process in program.started:
        with process:
            process.kill()


def test_the_listing_has_names_descriptions_tags_and_defaults(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format(", stages=True"))
    assert nox("-l") == Ran(0, LISTING.format(nox.folder), "")


def test_usage_shows_all_of_a_description(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format(", stages=True"))
    assert nox("--usage", "lint").out == "Nothing to say.\nMore.\n"


@pytest.mark.parametrize(
    ("tasks", "words", "lines"),
    [
        ("task('one', 'a')\ntask('two', 'a')", "", ["* one -> a", "* two -> a"]),
        ("task('one', 'a')", ", stages=True", ["* one -> a", "- a", "- b [t]"]),
        ("", ", stages=True", ["* a", "* b [t]"]),
        ("task('one', 'b')", ", prefix='p-'", ["* p-one [t] -> b"]),
        ("task('one', 'two')\ntask('two', 'b')", "", ["* one [t] -> two", "* two [t] -> b"]),
    ],
)
def test_which_sessions_there_are(nox: Nox, tasks: str, words: str, lines: list[str]) -> None:
    stages = "sh('a', 'true')\nsh('b', 'true', tags=['t'])\n"
    nox.write(HEAD + stages + tasks, NOXFILE.format(words))
    assert nox("-l").out.split("\n")[2:-3] == lines


def test_the_task_file_is_found_above_or_named(nox: Nox) -> None:
    nox.write()
    below = nox.folder / "ci"
    below.mkdir()
    (below / "noxfile.py").write_text(NOXFILE.format(""))
    assert "* checks [quick]" in nox("-l", "-f", "ci/noxfile.py").out
    (nox.folder / "other.py").write_text(HEAD + "sh('a', 'true')\ntask('others', 'a')\n")
    (below / "noxfile.py").write_text(NOXFILE.format(", file='../other.py'"))
    assert "* others -> a" in nox("-l", "-f", "ci/noxfile.py").out


LISTS_MODULES = """
import sys
heavy = {"docker", "podman", "requests", "rich", "structlog", "click", "isol8tasks.app"}
print(sorted(heavy & sys.modules.keys()))
if __name__ == "__main__":
    import nox
    nox.main()
"""


def test_a_listing_imports_little_and_executes_the_task_file_once(nox: Nox) -> None:
    nox.write(TASKS + "print('executed')\n", NOXFILE.format("") + LISTS_MODULES)
    ran = nox("-l")
    assert (ran.out.split("\n")[0], ran.err) == ("[]", "executed\n")
    ran = nox("-l", python=("noxfile.py",))
    assert (ran.code, ran.err) == (0, "executed\n")


def test_a_broken_task_file_is_one_error_without_a_traceback(nox: Nox) -> None:
    nox.write(TASKS + "task('more', unti)\n")
    assert nox("-l") == Ran(
        2,
        "",
        "error: NameError: name 'unti' is not defined\n"
        "  --> isol8file.py:14\n"
        "  hint: run 'python isol8file.py' to see the whole traceback\n",
    )


def test_a_member_that_is_not_there_is_an_error(nox: Nox) -> None:
    nox.write(TASKS + "task('more', 'lnt')\n")
    ran = nox("-s", "checks")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: task 'more' has the member 'lnt', which is not declared")


def test_no_task_file_and_no_task_are_errors(nox: Nox) -> None:
    nox.write()
    (nox.folder / "isol8file.py").unlink()
    ran = nox("-l")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: no isol8file.py in ")
    nox.write(HEAD + "sh('a', 'true')\n")
    assert nox("-l") == Ran(
        2,
        "",
        "error: the task file declares no task, so nox gets no session\n"
        "  --> isol8file.py\n"
        "  hint: declare one: task('checks', lint, unit), or give isol8tasks.nox.sessions"
        " stages=True\n",
    )


OWN = """\
import nox
import isol8tasks.nox

@nox.session(venv_backend="none")
def {name}(session):
    '''My own.'''
    {body}

isol8tasks.nox.sessions(globals(){words})
"""


def test_a_name_that_is_taken_is_an_error_that_names_both(nox: Nox) -> None:
    nox.write(noxfile=OWN.format(name="checks", body="pass", words=""))
    assert nox("-l") == Ran(
        2,
        "",
        "error: 'checks' would be the nox session 'checks', which there is already:"
        f" {nox.folder}/noxfile.py:4\n"
        "  --> isol8file.py:12\n"
        "  hint: give sessions() a prefix, as in prefix='sandboxed-', or leave sessions() out and"
        " call isol8tasks.nox.run(session, 'checks') in that session\n",
    )
    nox.write(noxfile=OWN.format(name="checks", body="pass", words=", prefix='our-'"))
    listing = nox("-l").out
    assert "* checks -> My own.\n* our-checks [quick] -> lint, unit\n" in listing


def test_two_task_files_with_one_name_are_an_error(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format("") + "isol8tasks.nox.sessions(globals(), file='b.py')\n")
    (nox.folder / "b.py").write_text(HEAD + "sh('a', 'true')\ntask('checks', 'a')\n")
    ran = nox("-l")
    assert ran.code == 2
    assert ran.err.startswith(
        "error: 'checks' would be the nox session 'checks', which there is already:"
        " isol8file.py:12\n  --> b.py:7\n"
    )


def test_the_same_sessions_twice_are_no_clash(nox: Nox) -> None:
    """Older versions of nox execute a noxfile twice when it is run as a program."""
    nox.write(noxfile=NOXFILE.format("") + "isol8tasks.nox.sessions(globals())\n")
    ran = nox("-l")
    assert (ran.code, ran.out.count("checks [quick]"), ran.err) == (0, 1, "")


def test_without_nox_an_import_says_what_is_missing() -> None:
    program = "import sys; sys.modules['nox'] = None; import isol8tasks.nox"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.stderr.endswith(
        "ImportError: isol8tasks.nox needs nox, which is not installed beside isol8tasks:"
        " pip install nox\n"
    )


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
