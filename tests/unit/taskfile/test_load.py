from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isol8tasks.errors import Location, TaskFileError
from isol8tasks.model.stage import PythonSource
from isol8tasks.taskfile.load import find, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import TaskFile

    Load = Callable[[str], TaskFile]
    Fail = Callable[[str], tuple[str, str, str]]


TRACEBACK = "run 'python isol8file.py' to see the whole traceback"
INIT = "run 'isol8tasks init' to write a first one"


def error_of(path: Path) -> tuple[Location | None, str, str]:
    with pytest.raises(TaskFileError) as caught:
        load(path)
    return caught.value.where, caught.value.message, caught.value.hint


@pytest.mark.parametrize("below", [".", "a", "a/b"])
def test_found_upwards(folder: Path, below: str) -> None:
    (folder / "isol8file.py").write_text("")
    (folder / "a/b").mkdir(parents=True)
    assert find(folder / below) == folder / "isol8file.py"
    assert find(Path(below)) == folder / "isol8file.py"


def test_what_is_no_file_is_not_passed_over(folder: Path) -> None:
    (folder / "isol8file.py").write_text("")
    (folder / "a/isol8file.py").mkdir(parents=True)
    with pytest.raises(TaskFileError) as caught:
        find(folder / "a")
    assert caught.value.message == "isol8file.py is not a file"
    assert str(caught.value.where) == "a/isol8file.py"
    assert caught.value.hint == ("put a task file in its place, or name another one with --file")
    (folder / "a/isol8file.py").rmdir()
    (folder / "a/isol8file.py").symlink_to("nowhere")
    with pytest.raises(TaskFileError, match=r"^isol8file.py is a link that leads nowhere$"):
        find(folder / "a")


def test_nowhere_to_be_found(folder: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        find(folder)
    assert caught.value.where is None
    assert caught.value.message == f"no isol8file.py in '{folder}' or above it"
    assert caught.value.hint == INIT


def test_the_task_file(folder: Path, declare: Load) -> None:
    (folder / "isol8file.py").write_text(
        '"""Checks a thing.\n\nAt length.\n"""\n'
        "import sys, os\n"
        "from isol8tasks import Image, stage, task\n"
        "assert __name__ == 'isol8file' and os.path.isabs(__file__)\n"
        "assert sys.path[0] == os.path.dirname(__file__)\n"
        "one = stage('one', image=Image.bash(), run='true')\n"
        "task('all', one, default=True)\n"
    )
    before = list(sys.path)
    taskfile = load(Path("isol8file.py"))
    assert (taskfile.path, taskfile.root) == (str(folder / "isol8file.py"), str(folder))
    assert taskfile.description == "Checks a thing."
    assert [stage.name for stage in taskfile.stages] == ["one"]
    assert [(task.name, task.members, task.default) for task in taskfile.tasks] == [
        ("all", ("one",), True)
    ]
    assert sys.path == before
    assert "isol8file" not in sys.modules


def test_a_failed_load_leaves_nothing_behind(
    mistake: Fail,
) -> None:
    before = list(sys.path)
    mistake("stage('left', image=py, run='x')\n1 / 0\n")
    assert sys.path == before
    assert "isol8file" not in sys.modules


def test_loads_are_independent(declare: Load) -> None:
    for _ in range(2):
        assert len(declare("stage('a', image=py, run='x')").stages) == 1


def test_prints_go_to_stderr(declare: Load, capsys: pytest.CaptureFixture[str]) -> None:
    declare("print('hello')\nstage('a', image=py, run='x')")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_module_beside_it_may_declare(folder: Path, declare: Load) -> None:
    (folder / "declared_beside.py").write_text(
        "from isol8tasks import Image, stage\nstage('b', image=Image.bash(), run='x')\n"
    )
    (stage,) = declare("import declared_beside").stages
    assert stage.declared_at == Location("declared_beside.py", 2)


def test_bom_and_windows_lines(folder: Path) -> None:
    path = folder / "isol8file.py"
    path.write_bytes(
        b"\xef\xbb\xbffrom isol8tasks import *\r\n@stage.python(image=Image.python())\r\n"
        b"def a():\r\n    '''x\r\n    y'''\r\n    1\r\n"
    )
    command = load(path).stages[0].command
    assert isinstance(command, PythonSource)
    assert command.text.startswith("\n\ndef a():\n    '''x\n    y'''\n    1\n")


def test_from_elsewhere_the_path_is_absolute(
    folder: Path, mistake: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "isol8file.py").write_text("1 / 0")
    monkeypatch.chdir("/")
    monkeypatch.chdir(folder.parent)
    assert error_of(folder / "isol8file.py")[0] == Location(f"{folder.name}/isol8file.py", 1)
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    assert error_of(folder / "isol8file.py")[0] == Location(f"{folder}/isol8file.py", 1)


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (
            "python = py\npyhton.pip('x')\n",
            4,
            "NameError: name 'pyhton' is not defined. Did you mean: 'python'?",
            TRACEBACK,
        ),
        (
            "\nImage.pyton()\n",
            4,
            "AttributeError: type object 'Image' has no attribute 'pyton'. Did you mean: 'python'?",
            TRACEBACK,
        ),
        ("zzzz\n", 3, "NameError: name 'zzzz' is not defined", TRACEBACK),
        ("import zzzz\n", 3, "ModuleNotFoundError: No module named 'zzzz'", TRACEBACK),
        ("def f():\n    1 / 0\n\nf()\n", 4, "ZeroDivisionError: division by zero", TRACEBACK),
        (
            "open('missing')\n",
            3,
            "FileNotFoundError: [Errno 2] No such file or directory: 'missing'",
            TRACEBACK,
        ),
        (
            "import json\njson.loads('{')\n",
            4,
            (
                "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)"
            ),
            TRACEBACK,
        ),
        (
            "def f(): f()\nf()\n",
            3,
            "RecursionError: maximum recursion depth exceeded",
            TRACEBACK,
        ),
        ("raise ValueError\n", 3, "ValueError", TRACEBACK),
        (
            "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd\n",
            5,
            "isol8file.Odd",
            TRACEBACK,
        ),
        (
            "raise SystemExit(3)\n",
            3,
            "the task file ended itself: SystemExit: 3",
            "a task file only declares: let it run to its end",
        ),
        (
            "import sys\nsys.exit()\n",
            4,
            "the task file ended itself: SystemExit",
            "a task file only declares: let it run to its end",
        ),
        (
            "stage('a', image=py,\n",
            3,
            "syntax error: '(' was never closed near 'stage('a', image=py,'",
            "correct the line",
        ),
        ("  x = 3\n", 3, "syntax error: unexpected indent near 'x = 3'", "correct the line"),
        ("\nif py\n", 4, "syntax error: expected ':' near 'if py'", "correct the line"),
        (
            "from isol8tasks.errors import TaskFileError\nraise TaskFileError('own', hint='do')\n",
            4,
            "own",
            "do",
        ),
    ],
)
def test_an_exception_in_the_file(
    mistake: Fail, text: str, line: int, message: str, hint: str
) -> None:
    assert mistake(text) == (f"isol8file.py:{line}", message, hint)


def test_a_name_that_cannot_be_imported(mistake: Fail) -> None:
    where, message, _ = mistake("from isol8tasks import Imgae\n")
    assert where == "isol8file.py:3"
    assert message.startswith("ImportError: cannot import name 'Imgae' from 'isol8tasks'")
    assert message.endswith(". Did you mean: 'Image'?")


@pytest.mark.parametrize(
    ("module", "text", "where", "message"),
    [
        ("broken_one", "\n1 / 0\n", "broken_one.py:2", "ZeroDivisionError: division by zero"),
        ("broken_two", "if x\n", "broken_two.py:1", "syntax error: expected ':' near 'if x'"),
    ],
)
def test_an_exception_in_a_module_beside_it(
    folder: Path,
    mistake: Fail,
    module: str,
    text: str,
    where: str,
    message: str,
) -> None:
    (folder / f"{module}.py").write_text(text)
    assert mistake(f"import {module}\n")[:2] == (where, message)


def test_ctrl_c_passes_through(declare: Load) -> None:
    with pytest.raises(KeyboardInterrupt):
        declare("raise KeyboardInterrupt\n")


def test_nothing_declared(folder: Path) -> None:
    (folder / "isol8file.py").write_text("x = 3\n")
    assert error_of(folder / "isol8file.py") == (
        Location("isol8file.py", 0),
        "the task file declares no stage",
        "declare one: stage('hello', image=Image.bash(), run='echo hello')",
    )


def test_unreadable_files(folder: Path) -> None:
    path = folder / "isol8file.py"
    assert error_of(path) == (Location("isol8file.py", 0), "there is no such task file", INIT)
    path.write_bytes(b"# a\n# b\nx = '\xff'\n")
    assert error_of(path) == (
        Location("isol8file.py", 3),
        "the task file is not UTF-8: byte 0xff",
        "save it as UTF-8",
    )
    path.write_bytes(b"x = '\0'\n")
    where, message, _ = error_of(path)
    assert where is not None
    assert where.path == "isol8file.py"
    assert "null bytes" in message
    path.unlink()
    path.symlink_to(path)
    assert error_of(path) == (
        Location("isol8file.py", 0),
        f"the task file cannot be read: {os.strerror(40)}",
        "look at its permissions",
    )


def test_a_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    assert error_of(Path("sub")) == (
        Location("sub", 0),
        "a folder is not a task file",
        "name the task file in it: sub/isol8file.py",
    )


def test_nesting_too_deep(folder: Path) -> None:
    (folder / "isol8file.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    where, message, _ = error_of(folder / "isol8file.py")
    assert where is not None
    assert where.path == "isol8file.py"
    assert "nested parentheses" in message or "Error" in message


def test_a_listing_imports_little(folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import *\n"
        "a = stage('a', image=Image.bash(), run='x', inputs=['src/**'], outputs=['[ab]'])\n"
        "@stage.python(image=Image.python())\ndef b(): print(1)\n"
    )
    heavy = {"structlog", "cattrs", "rich", "pathspec", "subprocess", "difflib"}
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from isol8tasks.taskfile.load import find, load\n"
        "from isol8tasks.plan.select import select\n"
        "print(select(load(find(Path()))))\n"
        f"print(sorted({heavy!r} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "('a', 'b')\n[]\n"
