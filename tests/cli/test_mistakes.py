"""Every mistake in a task file is one clear error, with its place: exit 2, no traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Program

HEAD = "from isol8tasks import Image, Network, secret, stage, task\n"


def a_stage(words: str = "", name: str = "a") -> str:
    return f"stage('{name}', image=Image.bash(), run='true'{words and ', ' + words})\n"


MISTAKES = {
    "a stage that is not there": (
        a_stage("requires=['untl']") + a_stage(name="unit"),
        (
            "error: stage 'a' requires 'untl', which is not declared; did you mean 'unit'?\n"
            "  --> isol8file.py:2\n"
            "  hint: run 'isol8tasks list' to see what is declared\n"
        ),
    ),
    "a stage that waits for itself": (
        a_stage("requires=['b']") + a_stage("requires=['c']", "b") + a_stage("requires=['a']", "c"),
        (
            "error: stages wait for each other: a → b → c → a\n"
            "  --> isol8file.py:2\n"
            "  hint: take one of them out of requires= or inputs=\n"
        ),
    ),
    "a name that is taken": (
        a_stage() + a_stage(),
        (
            "error: stage 'a' has the name of the stage declared at isol8file.py:2\n"
            "  --> isol8file.py:3\n"
            "  hint: give each stage and each task a name of its own\n"
        ),
    ),
    "a unit that is none": (
        a_stage("timeout='3 sec'"),
        (
            "error: stage 'a': timeout: '3 sec' is not a duration\n"
            "  --> isol8file.py:2\n"
            "  hint: write 500ms, 30s, 2m, 1h or seconds\n"
        ),
    ),
    "a size that is none": (
        a_stage("memory='1gig'"),
        (
            "error: stage 'a': memory: '1gig' is not a size\n"
            "  --> isol8file.py:2\n"
            "  hint: write 64k, 512m, 1g or bytes\n"
        ),
    ),
    "a glob that is none": (
        a_stage("inputs=['src/[']"),
        (
            "error: stage 'a': inputs: 'src/[' has a '[' without its ']'\n"
            "  --> isol8file.py:2\n"
            "  hint: write \\[ for a bracket in a name\n"
        ),
    ),
    "a path that leaves the root": (
        a_stage("inputs=['../other/**']"),
        (
            "error: stage 'a': inputs: '../other/**' is outside: it leaves the workspace root\n"
            "  --> isol8file.py:2\n"
            "  hint: write a path below the task file's folder, without '..'\n"
        ),
    ),
    "an absolute output": (
        a_stage("outputs=['/etc/passwd']"),
        (
            "error: stage 'a': outputs: '/etc/passwd' is outside: it leaves the workspace root\n"
            "  --> isol8file.py:2\n"
            "  hint: write a path below the task file's folder, without '..'\n"
        ),
    ),
    "inputs that collide": (
        a_stage("inputs=['x.txt'], files={'x.txt': ''}"),
        (
            "error: stage 'a': two inputs give 'x.txt': files= and inputs=\n"
            "  --> isol8file.py:2\n"
            "  hint: let one of them have another path\n"
        ),
    ),
    "a free variable": (
        ("import os\n@stage.python(image=Image.python())\ndef a():\n    print(os.getcwd())\n"),
        (
            "error: python stage 'a' uses 'os' from outside the function\n"
            "  --> isol8file.py:5\n"
            "  hint: import or define it inside the function, or pass it by files= or env=\n"
        ),
    ),
    "an argument": (
        "@stage.python(image=Image.python())\n" + "def a(x):\n" + "    pass\n",
        (
            "error: python stage 'a' has the argument 'x'\n"
            "  --> isol8file.py:3\n"
            "  hint: a stage is called without arguments: pass it data by files=, stdin= or env=\n"
        ),
    ),
    "an exception": (
        "def broken():\n" + "    return 1 / 0\n" + "broken()\n",
        (
            "error: ZeroDivisionError: division by zero\n"
            "  --> isol8file.py:3\n"
            "  hint: run 'python isol8file.py' to see the whole traceback\n"
        ),
    ),
    "a syntax error": (
        "stage('a'\n" + "x = (\n",
        (
            "error: syntax error: invalid syntax. Perhaps you forgot a comma? near 'stage('a''\n"
            "  --> isol8file.py:2\n"
            "  hint: correct the line\n"
        ),
    ),
    "a name that Python does not know": (
        "stge('a')\n",
        (
            "error: NameError: name 'stge' is not defined. Did you mean: 'stage'?\n"
            "  --> isol8file.py:2\n"
            "  hint: run 'python isol8file.py' to see the whole traceback\n"
        ),
    ),
    "an import that fails": (
        "import no_such_module\n",
        (
            "error: ModuleNotFoundError: No module named 'no_such_module'\n"
            "  --> isol8file.py:2\n"
            "  hint: run 'python isol8file.py' to see the whole traceback\n"
        ),
    ),
    "a word that stage does not have": (
        a_stage("timout='3s'"),
        (
            "error: stage() has no 'timout'; did you mean 'timeout'?\n"
            "  --> isol8file.py:2\n"
            "  hint: it takes allow_failure, cache, cpus, description, disk, env, files, image, "
            "inputs, memory, network, output_limit, outputs, pids, posargs, requires, retries, "
            "run, secrets, stdin, tags, timeout, workdir\n"
        ),
    ),
    "no image": (
        "stage('a', run='true')\n",
        ("error: stage() needs image=\n  --> isol8file.py:2\n  hint: write image=Image.python()\n"),
    ),
    "an image that is a string": (
        "stage('a', image='python', run='true')\n",
        (
            "error: stage 'a': image: 'python' is not an Image\n"
            "  --> isol8file.py:2\n"
            "  hint: write image=Image.python()\n"
        ),
    ),
    "a bad name": (
        a_stage(name="a b"),
        (
            "error: stage(): 'a b' is not a name\n"
            "  --> isol8file.py:2\n"
            "  hint: a name has up to 100 of the characters A-Z a-z 0-9 . _ + - and starts with "
            "a letter or a digit\n"
        ),
    ),
    "a task with a member that is not there": (
        a_stage() + "task('t', 'aa')\n",
        (
            "error: task 't' has the member 'aa', which is not declared; did you mean 'a'?\n"
            "  --> isol8file.py:3\n"
            "  hint: run 'isol8tasks list' to see what is declared\n"
        ),
    ),
    "disk above memory": (
        a_stage("disk='1g', memory='512m'"),
        (
            "error: stage 'a': disk 1g is not below memory 512m\n"
            "  --> isol8file.py:2\n"
            "  hint: files in memory-backed mounts count as memory: disk must stay below memory\n"
        ),
    ),
    "an input stage without outputs": (
        "b = " + a_stage(name="b") + a_stage("inputs=[b]"),
        (
            "error: stage 'a' has the input 'b', a stage without outputs\n"
            "  --> isol8file.py:3\n"
            "  hint: declare outputs= of 'b', or use requires=['b']\n"
        ),
    ),
    "a bad host": (
        a_stage("network=Network.allow('http://x')"),
        (
            "error: 'http://x' is not a host name\n"
            "  --> isol8file.py:2\n"
            "  hint: write example.org or *.example.org\n"
        ),
    ),
    "nothing declared": (
        "x = 1\n",
        (
            "error: the task file declares no stage\n"
            "  --> isol8file.py\n"
            "  hint: declare one: stage('hello', image=Image.bash(), run='echo hello')\n"
        ),
    ),
    "an exit": (
        "raise SystemExit(3)\n",
        (
            "error: the task file ended itself: SystemExit: 3\n"
            "  --> isol8file.py:2\n"
            "  hint: a task file only declares: let it run to its end\n"
        ),
    ),
}


@pytest.mark.parametrize(("source", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake(isol8tasks: Program, folder: Path, source: str, text: str) -> None:
    (folder / "isol8file.py").write_text(HEAD + source)
    ran = isol8tasks("graph")
    assert (ran.stderr, ran.stdout, ran.code) == (text, "", 2)


QUESTIONS = {
    ("graph", "checkz"): (
        "error: there is no stage or task 'checkz'; did you mean 'checks'?\n"
        "  hint: run 'isol8tasks list' to see what is declared\n"
    ),
}


@pytest.mark.parametrize(("words", "text"), QUESTIONS.items())
def test_a_question_that_has_no_answer(
    isol8tasks: Program, project: Callable[[str], Path], words: tuple[str, ...], text: str
) -> None:
    project("listing")
    ran = isol8tasks(*words)
    assert (ran.stderr, ran.stdout, ran.code) == (text, "", 2)


def test_an_error_in_a_file_of_hostile_name_and_text_is_harmless(
    isol8tasks: Program, folder: Path
) -> None:
    (folder / "isol8file.py").write_text(r"raise ValueError('\x1b[2J\r\n::error::x')")
    ran = isol8tasks("list")
    assert ran.code == 2
    assert ran.stderr.startswith("error: ValueError: \\x1b[2J\n  \\::error::x\n")
