"""`run`, with real sandboxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import reduced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Program


pytestmark = pytest.mark.bubblewrap

FIRST = "run RUN · {} · 1 at a time · bubblewrap (the first that can run this plan)\n"

QUICK = """\
✗ fails  failed  TIME  exit code 3
  log: .isol8tasks/fails
  stdout:
  │ out
  stderr:
  │ err
- needs-it  skipped  requires 'fails', which failed
- needs-that  skipped  requires 'needs-it', which was skipped
✓ passes  passed  TIME
  │ hello

✓ passes      passed  TIME
✗ fails       failed  TIME  exit code 3
- needs-it    skipped  requires 'fails', which failed
- needs-that  skipped  requires 'needs-it', which was skipped
1 failed, 2 skipped, 1 passed in TIME (bubblewrap)
"""

GREEN = """\
✓ syntax  passed  TIME
✓ unit  passed  TIME
  │ 42
✓ after  passed  TIME
  │ after

✓ syntax  passed  TIME
✓ unit    passed  TIME
✓ after   passed  TIME
3 passed in TIME (bubblewrap)
"""

SYNTAX_ERROR = """\

✗ syntax  failed  TIME  exit code 1
- unit    skipped  requires 'syntax', which failed
- after   skipped  requires 'unit', which was skipped
1 failed, 2 skipped in TIME (bubblewrap)
"""

SINGLE = {
    ("allowed",): (
        (
            "! allowed  failed (allowed)  TIME  exit code 4\n"
            "\n"
            "! allowed  failed (allowed)  TIME  exit code 4\n"
            "1 failed (allowed) in TIME (bubblewrap)\n"
        ),
        0,
    ),
    ("retried",): (
        (
            "✗ retried  failed  TIME  exit code 5, 3 attempts\n"
            "\n"
            "✗ retried  failed  TIME  exit code 5, 3 attempts\n"
            "1 failed in TIME (bubblewrap)\n"
        ),
        1,
    ),
    ("endless",): (
        (
            "✗ endless  timed out  TIME  still running after TIME\n"
            "\n"
            "✗ endless  timed out  TIME  still running after TIME\n"
            "1 timed out in TIME (bubblewrap)\n"
        ),
        1,
    ),
    ("args", "--", "-x", "--", "a b"): (
        (
            "✓ args  passed  TIME\n"
            "  │ got -x -- a b\n"
            "\n"
            "✓ args  passed  TIME\n"
            "1 passed in TIME (bubblewrap)\n"
        ),
        0,
    ),
    ("talks",): (
        (
            "✓ talks  passed  TIME\n"
            f"  │ in\n  │ {'x' * 100}\n"
            "\n"
            "✓ talks  passed  TIME\n"
            "1 passed in TIME (bubblewrap)\n"
        ),
        0,
    ),
}

HOSTILE = r"""✗ hostile  failed  TIME  exit code 1
  log: .isol8tasks/hostile
  │ \x1b[2J\x1b]0;owned\x07red\rgreen
  │ \::error::owned
  │   \::set-output name=a::b
  │ ##vso\[task.complete]x
  │ ##teamcity\[buildStop]
  │ --- group
  │ [bold]markup[/bold]
  │ \x9bm
"""


def test_verdicts(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("verdicts")
    ran = isol8tasks("run", "-j1")
    assert (ran.out, ran.err, ran.code) == (FIRST.format("4 stages") + QUICK, "", 1)


def test_quiet(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("verdicts")
    ran = isol8tasks("run", "-q", "-j1", "passes", "allowed")
    assert (ran.out, ran.err, ran.code) == (
        (
            "! allowed  failed (allowed)  TIME  exit code 4\n"
            "! allowed  failed (allowed)  TIME  exit code 4\n"
            "1 failed (allowed), 1 passed in TIME (bubblewrap)\n"
        ),
        "",
        0,
    )


@pytest.mark.parametrize(("words", "expected"), SINGLE.items(), ids=lambda value: str(value[0]))
def test_one_stage(
    isol8tasks: Program,
    project: Callable[[str], Path],
    words: tuple[str, ...],
    expected: tuple[str, int],
) -> None:
    project("verdicts")
    ran = isol8tasks("run", "-j1", *words)
    assert (ran.out, ran.code) == (FIRST.format("1 stage") + expected[0], expected[1])


def test_fail_fast(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    folder = project("verdicts")
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('a', image=Image.bash(), run='exit 1', inputs=[])\n"
        "stage('b', image=Image.bash(), run='true', inputs=[])\n"
    )
    kept_on = isol8tasks("run", "-j1")
    assert kept_on.out.endswith("1 failed, 1 passed in TIME (bubblewrap)\n")
    ran = isol8tasks("run", "-j1", "-x")
    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("stopped at the first failure: 1 failed, 1 ")


def test_a_submission_that_is_right_wrong_and_no_python(
    isol8tasks: Program, project: Callable[[str], Path]
) -> None:
    folder = project("python")
    green = isol8tasks("run", "-j1", "checks")
    assert (green.out, green.code) == (FIRST.format("3 stages") + GREEN, 0)
    (folder / "src" / "main.py").write_text("raise SystemExit('wrong')\n")
    wrong = isol8tasks("run", "-j1")
    assert wrong.code == 1
    assert wrong.out.endswith("1 failed, 1 skipped, 1 passed in TIME (bubblewrap)\n")
    assert "  │ wrong\n" in wrong.out
    (folder / "src" / "main.py").write_text("def (\n")
    broken = isol8tasks("run", "-j1")
    assert broken.code == 1
    assert broken.out.endswith(SYNTAX_ERROR)
    assert '  │   File "src/main.py", line 1\n' in broken.out


def test_hostile_output_is_harmless(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("hostile")
    ran = isol8tasks("run", "-j1")
    assert ran.code == 1
    assert HOSTILE in ran.out
    assert not {chr(code) for code in (*range(10), *range(11, 32), 0x9B)} & set(ran.stdout)


def test_dry_run(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    folder = project("python")
    ran = isol8tasks("run", "--dry-run", "unit")
    lines = [line.partition("; not enforced here")[0] for line in ran.stdout.splitlines()]
    assert (lines, ran.code) == (
        [
            "bubblewrap (the first that can run this plan) would run",
            "  syntax  python; 1 input",
            "  unit    python; 1 input; after syntax",
            "nothing was run",
        ],
        0,
    )
    assert not (folder / ".isol8tasks").exists()


def test_report(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    folder = project("verdicts")
    ran = isol8tasks("run", "-j1", "--report", "r.json", "fails", "makes")
    report = json.loads((folder / "r.json").read_text())
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert (ran.code, report["schema"], report["verdict"]) == (1, 1, "failed")
    assert stages["fails"]["stdout"] == "out\n"
    assert stages["fails"]["stderr"] == "err\n"
    assert stages["fails"]["exit_code"] == 3
    assert [output["path"] for output in stages["makes"]["outputs"]] == ["made.txt"]
    assert stages["makes"]["outputs"][0]["size"] == 5
    assert (folder / stages["fails"]["log"] / "stdout.log").read_text() == "out\n"


@pytest.mark.parametrize(
    ("place", "why"), [("missing/r.json", "its folder does not exist"), ("src", "it is a folder")]
)
def test_a_report_without_a_place_stops_the_run_before_it_starts(
    isol8tasks: Program, project: Callable[[str], Path], place: str, why: str
) -> None:
    folder = project("verdicts")
    (folder / "src").mkdir()
    ran = isol8tasks("run", "--report", place)
    assert (ran.out, ran.code) == ("", 3)
    assert ran.err == (
        f"error: the report '{folder}/{place}' cannot be written: {why}\n"
        "  hint: give --report a file in a folder that exists and that you may write to\n"
    )


def test_an_image_that_cannot_be_had_is_explained_once(isol8tasks: Program, folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('a', image=Image.python().file('no', '/opt/x'), run='true', inputs=[])\n"
        "stage('b', image=Image.python().file('no', '/opt/x'), run='true', inputs=[])\n"
    )
    ran = isol8tasks("run", "-j1")
    assert (ran.out, ran.code) == (
        FIRST.format("2 stages")
        + f"""\
✗ image python + file(no, /opt/x)
  --> isol8file.py:2
  │ Image.file(): {folder}/no cannot be read: No such file or directory
  hint: its path is relative to the root of the workspace
✗ a  error  its image could not be prepared
✗ b  error  its image could not be prepared

✗ a  error  its image could not be prepared
✗ b  error  its image could not be prepared
2 error in TIME (bubblewrap)
""",
        3,
    )


def test_much_output_does_not_flood_the_console(isol8tasks: Program, folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('a', image=Image.bash(), run='seq 500000; exit 1', inputs=[])\n"
    )
    ran = isol8tasks("run", "-q", "-j1")
    lines = ran.out.splitlines()
    assert len(lines) < 230
    assert lines[2] == "  │ 1"
    assert " lines are left out here; everything is in .isol8tasks/a" in lines[22]
    assert "  │ 500000" in lines
    assert (folder / ".isol8tasks/a/stdout.log").read_text().count("\n") == 500_000


def test_verbose_logs_to_stderr(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("verdicts")
    ran = isol8tasks("run", "-v", "passes")
    assert ran.code == 0
    assert "✓ passes  passed  TIME\n" in ran.out
    assert ' level=info event="stage finished" run=' in ran.stderr
    assert " stage=passes attempt=1 verdict=passed " in ran.stderr


def test_color_can_be_asked_for(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    project("verdicts")
    assert "\x1b[32m✓\x1b[0m" in isol8tasks("run", "--color=always", "passes").stdout
    assert "\x1b" not in isol8tasks("run", "passes").stdout


REFUSED = {
    ("run", "pases"): (
        (
            "error: there is no stage or task 'pases'; did you mean 'passes'?\n"
            "  hint: run 'isol8tasks list' to see what is declared\n"
        ),
        2,
    ),
    ("run", "-k", "and"): (
        (
            "error: 'and' is not a keyword expression\n"
            "  hint: combine parts of names and tags with and, or, not and parentheses\n"
        ),
        2,
    ),
    ("run", "passes", "--", "x"): (
        (
            "error: no selected stage takes the arguments after '--'\n"
            "  --> isol8file.py:7\n"
            "  hint: set posargs=True on the stage that is to take them\n"
        ),
        2,
    ),
    ("run", "-j", "0"): (
        "error: --jobs: 0 is not a whole number above zero\n  hint: write 1, 2, 3 …\n",
        2,
    ),
    ("run", "-j", "abc"): (
        "error: --jobs: 'abc' is not a whole number above zero\n  hint: write 1, 2, 3 …\n",
        2,
    ),
    ("run", "-t", "quik"): (
        (
            "error: no stage has the tag 'quik'\n"
            "  hint: run 'isol8tasks list' to see what is declared\n"
        ),
        2,
    ),
    ("run", "--backend", "magic"): (
        (
            "error: there is no backend named 'magic'\n"
            "  hint: installed: bubblewrap, docker, podman; a backend is a package that registers"
            " under 'isol8tasks.backends'\n"
        ),
        3,
    ),
}


@pytest.mark.parametrize(("words", "expected"), REFUSED.items(), ids=lambda value: str(value[-1]))
def test_what_cannot_be(
    isol8tasks: Program,
    project: Callable[[str], Path],
    words: tuple[str, ...],
    expected: tuple[str, int],
) -> None:
    folder = project("verdicts")
    ran = isol8tasks(*words)
    assert (ran.out, ran.err, ran.code) == ("", *expected)
    assert not (folder / ".isol8tasks").exists()


def test_the_starter_of_init_runs(isol8tasks: Program) -> None:
    isol8tasks("init")
    ran = isol8tasks("run", "-j1")
    assert ran.code == 0
    assert "  │ wrote squares.txt\n" in ran.out
    assert "  │ the largest is 81\n" in ran.out
    assert ran.out.endswith("2 passed in TIME (bubblewrap)\n")


def test_doctor(isol8tasks: Program) -> None:
    ran = isol8tasks("doctor")
    assert (ran.code, ran.stderr) == (0, "")
    assert "\n* bubblewrap " in ran.stdout
    found = json.loads(isol8tasks("doctor", "--json").stdout)
    (bubblewrap,) = [item for item in found["backends"] if item["name"] == "bubblewrap"]
    assert bubblewrap["works"]
    assert bubblewrap["chosen"]
    limits = bubblewrap["capabilities"]["limits"]
    assert limits["timeout"] == {"held": "enforced", "why": "by the engine", "remedy": ""}
    assert limits["disk"]["held"] == "enforced"
    assert all(limit["why"] for limit in limits.values())


@pytest.mark.root
@pytest.mark.parametrize(
    ("less", "why"),
    [
        (("sys_admin", "sys_ptrace"), "per process, and looked at 20 times a second for all; "),
        (("sys_ptrace",), "per process: to look at all of them root needs CAP_SYS_PTRACE, too; "),
    ],
)
def test_doctor_for_root_in_a_container(
    isol8tasks: Program, less: tuple[str, ...], why: str
) -> None:
    out, _ = isol8tasks.start("doctor", "--json", under=reduced(*less)).communicate(timeout=60)
    (bubblewrap,) = [each for each in json.loads(out)["backends"] if each["name"] == "bubblewrap"]
    limits = bubblewrap["capabilities"]["limits"]
    assert limits["memory"]["why"].startswith(why)
    assert (limits["memory"]["held"], limits["disk"]["held"]) == ("approximate", "enforced")
