from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isol8tasks.model.stage import PythonSource
from isol8tasks.taskfile.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isol8tasks.model.stage import TaskFile

    Load = Callable[[str], TaskFile]
    Fail = Callable[[str], tuple[str, str, str]]


OUTSIDE = "import or define it inside the function, or pass it by files= or env="
ALONE = "leave @stage.python(…) alone above the function"
PLAIN = "write a plain function: def name(): …"
GIVEN = "nobody would look at it: let the stage fail with raise, assert or sys.exit()"
DATA = "a stage is called without arguments: pass it data by files=, stdin= or env="


def program(declare: Load, text: str) -> str:
    command = declare(text).stages[-1].command
    assert isinstance(command, PythonSource)
    return command.text


def run(text: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    place = folder / "programs"
    place.mkdir(exist_ok=True)
    (place / "check.py").write_text(text, "utf-8")
    argv = [sys.executable, str(place / "check.py"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, cwd=folder, check=False)


def test_the_whole_program(declare: Load) -> None:
    text = program(
        declare,
        "@stage.python(image=py)\ndef check() -> None:\n    print('é')\n\nafter = 3\n",
    )
    assert text == (
        "\n\n\n"
        "def check() -> None:\n"
        "    print('é')\n"
        "if __name__ == '__main__':\n"
        "    import sys as _sys; _sys.path[0] = ''; del _sys\n"
        "    check()\n"
    )


def test_tracebacks_show_lines_of_the_task_file(declare: Load, folder: Path) -> None:
    text = program(declare, "\n\n@stage.python(image=py)\ndef check():\n\n    1 / 0\n")
    ran = run(text, folder)
    assert ran.returncode == 1
    assert 'check.py", line 8, in check' in ran.stderr


def test_a_traceback_shows_the_call_and_nothing_else_of_ours(declare: Load, folder: Path) -> None:
    text = program(declare, "@stage.python(image=py)\ndef check():\n    raise SystemError\n")
    shown = [line for line in run(text, folder).stderr.splitlines() if line.startswith("    ")]
    assert [line.strip() for line in shown if set(line) - set(" ^")] == [
        "check()",
        "raise SystemError",
    ]


def test_an_indented_function_keeps_its_strings(declare: Load, folder: Path) -> None:
    text = program(
        declare,
        "if True:\n  for i in range(1):\n    @stage.python(image=py)\n    def check():\n"
        '        print(repr("""a\n  b\n"""))\n        raise SystemExit(3)\n',
    )
    ran = run(text, folder)
    assert (ran.stdout, ran.returncode) == ("'a\\n  b\\n'\n", 3)


def test_the_working_directory_is_importable(declare: Load, folder: Path) -> None:
    (folder / "beside.py").write_text("word = 'found'\n")
    ran = run(
        program(declare, "@stage.python(image=py)\ndef check():\n    import beside, sys\n"
                "    print(beside.word, repr(sys.path[0]), sys.argv[1:], __name__)\n"),
        folder, "x y",
    )  # fmt: skip
    assert ran.stdout == "found '' ['x y'] __main__\n"


@pytest.mark.parametrize(
    "header",
    [
        "def check() -> Image:",
        "def check() -> dict[str,\n    Image]:",
        "def check() -> (  # a : comment\n    'é' or Image\n):",
        "def check(\n) -> list['é:']:# Image",
    ],
)
def test_return_annotations_are_left_out(declare: Load, folder: Path, header: str) -> None:
    lines = header.count("\n")
    text = program(declare, f"@stage.python(image=py)\n{header}\n    print(1)\n    1 / 0\n")
    ran = run(text, folder)
    assert ran.stdout == "1\n"
    assert f"line {6 + lines}, in check" in ran.stderr


def test_postponed_annotations_stay_postponed(folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from __future__ import annotations\n"
        "from isol8tasks import Image, stage\n"
        "@stage.python(image=Image.python())\n"
        "def check() -> Image:\n"
        "    def inner(x: Image) -> Image: return x\n"
        "    y: Image = 3\n"
        "    print(inner(y))\n"
    )
    stage = load(folder / "isol8file.py").stages[0]
    assert isinstance(stage.command, PythonSource)
    text = stage.command.text
    assert text.startswith("from __future__ import annotations\n")
    assert run(text, folder).stdout == "3\n"


FINE = [
    "    import ast as a\n    print(a)",
    "    print([x for x in range(3)], {y: 1 for y in 'ab'}, (z for z in ()))",
    "    def inner(n):\n        return inner(n - 1) if n else 0\n    inner(3)",
    "    count = 0\n    def inner():\n        nonlocal count\n        count += 1\n    inner()",
    "    global total\n    total = 1\n    print(total)",
    "    class A:\n        b = 1\n        c = b\n        def d(self): return A, __class__",
    "    print(__name__, __file__)\n    check_self = check",
    "    x: undefined = 1\n    print(x)",
    "    f = lambda q: q\n    f(1)\n    with open('/dev/null') as g:\n        g.read()",
    "    try:\n        f = 1\n    except OSError as e:\n        print(e)\n    del f",
]  # fmt: skip


@pytest.mark.parametrize("body", FINE)
def test_own_names_are_fine(declare: Load, body: str) -> None:
    assert body.splitlines()[0] in program(
        declare, f"@stage.python(image=py)\ndef check():\n{body}\n"
    )


def test_a_function_named_like_a_module(declare: Load, folder: Path) -> None:
    ran = run(program(declare, "@stage.python(image=py)\ndef sys():\n    print('ran')\n"), folder)
    assert ran.stdout == "ran\n"


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (
            "import os\n@stage.python(image=py)\ndef f():\n\n    os.getcwd()\n",
            7,
            "python stage 'f' uses 'os' from outside the function",
            OUTSIDE,
        ),
        (
            "@stage.python(image=py)\ndef f():\n    def g():\n        return [py for _ in 'a']\n",
            6,
            "python stage 'f' uses 'py' from outside the function",
            OUTSIDE,
        ),
        (
            "@stage.python(image=py)\ndef f():\n    class A:\n        x = py\n        y = x\n",
            6,
            "python stage 'f' uses 'py' from outside the function",
            OUTSIDE,
        ),
        (
            "@stage.python(image=py)\ndef f():\n    def g(x: Image): ...\n",
            5,
            "python stage 'f' uses 'Image' from outside the function",
            OUTSIDE,
        ),
        (
            "@stage.python(image=py)\ndef f():\n    undefined()\n    import later\n    later\n",
            5,
            "python stage 'f' uses 'undefined' from outside the function",
            OUTSIDE,
        ),
        (
            "def make(n):\n    @stage.python(image=py)\n    def f():\n        print(n)\nmake(3)\n",
            6,
            "python stage 'f' uses 'n' from outside the function",
            OUTSIDE,
        ),
        (
            (
                "def make(n):\n    @stage.python(image=py)\n    def f():\n        nonlocal n\n"
                "        n = 3\nmake(3)\n"
            ),
            7,
            "python stage 'f' uses 'n' from outside the function",
            OUTSIDE,
        ),
        (
            (
                "def make(n):\n    @stage.python(image=py)\n    def f():\n        def g():\n"
                "            return n\nmake(3)\n"
            ),
            7,
            "python stage 'f' uses 'n' from outside the function",
            OUTSIDE,
        ),
        ("@stage.python(image=py)\nasync def f(): ...\n", 4, "python stage 'f' is async", PLAIN),
        (
            "@stage.python(image=py)\nasync def f():\n    yield\n",
            4,
            "python stage 'f' is async",
            PLAIN,
        ),
        (
            "@stage.python(image=py)\ndef f():\n    yield 1\n",
            4,
            "python stage 'f' is a generator",
            PLAIN,
        ),
        (
            "@stage.python(image=py)\ndef f(\n    x,\n): ...\n",
            5,
            "python stage 'f' has the argument 'x'",
            DATA,
        ),
        (
            "@stage.python(image=py)\ndef f(*, y=1): ...\n",
            4,
            "python stage 'f' has the argument 'y'",
            DATA,
        ),
        (
            "@stage.python(image=py)\ndef f(**rest): ...\n",
            4,
            "python stage 'f' has the argument 'rest'",
            DATA,
        ),
        (
            "@stage.python(image=py)\ndef f():\n    if 1:\n        return False\n",
            6,
            "python stage 'f' returns a value",
            GIVEN,
        ),
        (
            "@stage.python(image=Image.node())\ndef f(): ...\n",
            3,
            "stage.python() image: node has no python",
            "write image=Image.python()",
        ),
        (
            "import functools\n@stage.python(image=py)\n@functools.cache\ndef f(): ...\n",
            5,
            "python stage 'f' has another decorator",
            ALONE,
        ),
        (
            "import functools\n@functools.cache\n@stage.python(image=py)\ndef f(): ...\n",
            4,
            "python stage 'f' has another decorator",
            ALONE,
        ),
        (
            (
                "def twice(g):\n    return lambda: (g(), g())\n"
                "@stage.python(image=py)\n@twice\ndef f(): ...\n"
            ),
            6,
            "python stage 'f' has another decorator",
            ALONE,
        ),
        (
            "stage.python(image=py)(lambda: 3)\n",
            3,
            "stage.python takes a function, not a lambda",
            "put @stage.python(…) alone above a function: def name(): …",
        ),
        (
            "@stage.python(image=py)\nclass A: ...\n",
            3,
            "stage.python takes a function, not the type 'A'",
            "put @stage.python(…) alone above a function: def name(): …",
        ),
        (
            "exec('def f(): ...')\nstage.python(image=py)(f)\n",
            4,
            "python stage 'f' has no source text",
            "write the function in the task file",
        ),
    ],
)
def test_refused(mistake: Fail, text: str, line: int, message: str, hint: str) -> None:
    assert mistake(text) == (f"isol8file.py:{line}", message, hint)


def test_a_plain_function_may_be_passed(declare: Load, folder: Path) -> None:
    (folder / "words.py").write_text("def check(): print('from words')\n")
    text = program(declare, "import words\nstage.python(image=py)(words.check)\n")
    assert text.startswith("def check(): print('from words')\n")
    assert run(text, folder).stdout == "from words\n"
