"""`exec`: one program in a sandbox."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cli.conftest import Program

pytestmark = pytest.mark.bubblewrap

CASES = [
    (["-e", "print(6 * 7)"], "", "42\n"),
    (["-e", "print(6 * 7)", "--image", "python"], "", "42\n"),
    (["--image", "bash", "-e", "echo $0 $1 $2", "--", "a b", "-c"], "", "main.sh a b -c\n"),
    (["-"], "print('from stdin')", "from stdin\n"),
    ([], "print('from stdin')", "from stdin\n"),
    (["-i", "-e", "print(input()[::-1])"], "abc\n", "cba\n"),
    (["-e", "import sys; print(repr(sys.stdin.read()))"], "not for it", "''\n"),
    (["hello.py", "--", "x"], "", "['hello.py', 'x']\n"),
    (["hello.sh"], "", "hello.sh\n"),
    (["-e", "import os; print(sorted(os.listdir()))"], "", "['main.py']\n"),
]


@pytest.fixture(autouse=True)
def programs(folder: Path) -> None:
    (folder / "hello.py").write_text("import sys\nprint(sys.argv)\n")
    (folder / "hello.sh").write_text("echo $0\n")


@pytest.mark.parametrize(("words", "stdin", "stdout"), CASES)
def test_what_it_prints(
    isol8tasks: Program, folder: Path, words: Sequence[str], stdin: str, stdout: str
) -> None:
    before = sorted(os.listdir(folder))
    ran = isol8tasks("exec", *words, stdin=stdin)
    assert (ran.stdout, ran.err, ran.code) == (stdout, "", 0)
    assert sorted(os.listdir(folder)) == before


def test_its_streams_stay_apart_and_harmless_unless_raw(isol8tasks: Program) -> None:
    code = r"import sys; print('\x1b[1m::o'); print('::e', file=sys.stderr); sys.exit(7)"
    end = "failed after TIME: exit code 7\n"
    ran = isol8tasks("exec", "-e", code)
    assert (ran.stdout, ran.err, ran.code) == ("\\x1b[1m::o\n", f"\\::e\n{end}", 1)
    ran = isol8tasks("exec", "--raw", "-e", code)
    assert (ran.stdout, ran.err, ran.code) == ("\x1b[1m::o\n", f"::e\n{end}", 1)


TOO_LARGE = [
    (("-i", "-e", "1"), "standard input"),
    (("-",), "standard input"),
    (("/dev/zero",), "'/dev/zero'"),
]


@pytest.mark.parametrize(("words", "what"), TOO_LARGE)
def test_it_does_not_read_without_end(isol8tasks: Program, words: Sequence[str], what: str) -> None:
    process = isol8tasks.start("exec", *words)
    stdout, stderr = process.communicate(b"x" * ((64 << 20) + 1), timeout=60)
    assert (process.returncode, stdout) == (2, b"")
    assert stderr.decode() == (
        f"error: {what} has more than 64m\n"
        "  hint: exec takes at most 64m; a stage can have larger inputs\n"
    )


def test_seconds_are_a_time(isol8tasks: Program) -> None:
    ran = isol8tasks("exec", "--timeout", "90", "--bake-timeout", "60", "-e", "print(1)")
    assert (ran.stdout, ran.code) == ("1\n", 0)


def test_an_image_that_cannot_be_had_is_said_once(isol8tasks: Program) -> None:
    ran = isol8tasks("exec", "--image", "python:3.99", "-e", "1")
    assert (ran.stdout, ran.code) == ("", 3)
    assert ran.stderr.count("there is no CPython 3.99 on this host") == 1
    assert ran.err.endswith("error after TIME: its image could not be prepared\n")


def test_it_has_a_time_limit(isol8tasks: Program) -> None:
    ran = isol8tasks("exec", "--timeout", "300ms", "--image=bash", "-e", "sleep 60")
    assert (ran.out, ran.err, ran.code) == (
        "",
        "timed out after TIME: still running after TIME\n",
        1,
    )


def test_json(isol8tasks: Program) -> None:
    ran = isol8tasks("exec", "--json", "-e", "print(1)")
    report = json.loads(ran.stdout)
    assert (ran.code, report["schema"], report["stages"][0]["stdout"]) == (0, 1, "1\n")


def test_no_notes_when_quiet(isol8tasks: Program) -> None:
    assert isol8tasks("exec", "-q", "-e", "1").stderr == ""


WRONG = {
    ("x.py", "-e", "1"): (
        "error: there are two programs\n  hint: give either a file or -e CODE\n",
        2,
    ),
    ("missing.py",): (
        (
            "error: the program 'missing.py' cannot be read: No such file or directory\n"
            "  hint: name a file, or give the program itself with -e CODE\n"
        ),
        2,
    ),
    (".",): (
        (
            "error: the program '.' cannot be read: Is a directory\n"
            "  hint: name a file, or give the program itself with -e CODE\n"
        ),
        2,
    ),
    ("-i",): (
        (
            "error: standard input cannot be both the program and its data\n"
            "  hint: give the program as a file or with -e CODE\n"
        ),
        2,
    ),
    ("-e", "1", "--memory", "1gig"): (
        "error: --memory: '1gig' is not a size\n  hint: write 64k, 512m, 1g or bytes\n",
        2,
    ),
    ("-e", "1", "--image", "python:new"): (
        "error: Image.python(): 'new' is not a version\n  hint: write '3.12' or '22'\n",
        2,
    ),
    ("-e", "1", "--image", "pyhton"): (
        (
            "error: there is no image 'pyhton'; did you mean 'python'?\n"
            "  hint: write --image docker.io/library/pyhton to have one of that name\n"
        ),
        2,
    ),
}


@pytest.mark.parametrize(("words", "expected"), WRONG.items(), ids=lambda value: str(value[-1]))
def test_what_cannot_be(
    isol8tasks: Program, words: Sequence[str], expected: tuple[str, int]
) -> None:
    ran = isol8tasks("exec", *words)
    assert (ran.out, ran.err, ran.code) == ("", *expected)
