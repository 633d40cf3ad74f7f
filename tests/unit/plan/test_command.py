from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.model.stage import Exec, PythonSource, Shell
from isol8tasks.plan.command import argv, program_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage

    MakeStage = Callable[..., Stage]


@pytest.mark.parametrize(
    ("command", "posargs", "expected"),
    [
        (Exec(("ls", "-l")), (), ("ls", "-l")),
        (Exec(("ls",)), ("a b", ""), ("ls", "a b", "")),
        (Shell(("echo",)), (), ("sh", "-eu", "-c", "echo", "sh")),
        (Shell(("echo",)), ("x",), ("sh", "-eu", "-c", "echo", "sh", "x")),
        (PythonSource("check", "…"), (), ("python", "/sandbox/.isol8tasks/check.py")),
        (PythonSource("check", "…"), ("-v",), ("python", "/sandbox/.isol8tasks/check.py", "-v")),
    ],
)
def test_argv(command: Any, posargs: Any, expected: Any) -> None:
    assert argv(command, posargs) == expected


def test_scripts_in_order_are_arguments_and_no_text_of_the_shell() -> None:
    outer = (
        "_isol8tasks_1=${1}\n_isol8tasks_2=${2}\nshift 2\n"
        'sh -eu -c "$_isol8tasks_1" sh "$@"\n'
        'exec sh -eu -c "$_isol8tasks_2" sh "$@"'
    )
    assert argv(Shell(("a'", 'b"')), ("p",)) == ("sh", "-eu", "-c", outer, "sh", "a'", 'b"', "p")


def run(scripts: list[str], *posargs: str, **env: str) -> tuple[int, str]:
    words = argv(Shell(tuple(scripts)), posargs)
    environment = {"PATH": os.environ["PATH"], **env}
    ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    return ran.returncode, ran.stdout


@pytest.mark.parametrize(
    ("scripts", "code", "output"),
    [
        (["echo a"], 0, "a\n"),
        (["echo a", "echo b"], 0, "a\nb\n"),
        (["exit 3", "echo b"], 3, ""),
        (["echo a", "exit 4"], 4, "a\n"),
        (["false && true", "echo b"], 1, ""),
        (["false; echo a"], 1, ""),
        (["set +e; false; echo a", "echo b; false; echo c"], 1, "a\nb\n"),
        (["x=1; cd /", "pwd; echo ${x-none}"], 0, f"{os.getcwd()}\nnone\n"),
        (["echo 'it'\"'\"'s'", 'echo "$HOME_IS" \\$x'], 0, "it's\nnowhere $x\n"),
        (["echo a\necho b", "cat <<'E'\n$x\nE"], 0, "a\nb\n$x\n"),
        (["kill -9 $$", "echo b"], 137, ""),
        (["# only a comment", "echo b"], 0, "b\n"),
        ([f"echo {number}" for number in range(12)], 0, "".join(f"{n}\n" for n in range(12))),
    ],
)
def test_real_shells(scripts: Any, code: int, output: Any) -> None:
    assert run(scripts, HOME_IS="nowhere") == (code, output)


@pytest.mark.parametrize("scripts", [["echo $unset"], ["echo $unset", "echo b"]])
def test_unset_variables_end_it(scripts: Any) -> None:
    code, output = run(scripts)
    assert code != 0
    assert output == ""


@pytest.mark.parametrize("count", [1, 2, 11])
def test_posargs_reach_every_script(count: int) -> None:
    posargs = ("a b", "", "'$x\n", "-e")
    shown = "".join(f"<{argument}>" for argument in posargs)
    scripts = ['printf "<%s>" "$@"'] * count
    assert run(scripts, *posargs) == (0, shown * count)
    assert run(['echo "$#"'] * count) == (0, "0\n" * count)


def test_program_files(stage: MakeStage) -> None:
    files = (("a", b"1"), ("b/c", b"2"))
    assert program_files(stage("plain")) == ()
    assert program_files(stage("plain", files=files, workdir="web")) == files
    assert program_files(
        stage("check", files=files, folder="sub", command=PythonSource("check", "é"))
    ) == (("sub/a", b"1"), ("sub/b/c", b"2"), (".isol8tasks/check.py", "é".encode()))
