"""The commands that need no task file and no sandbox, and what they import."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isol8tasks import __version__
from tests.cli.conftest import completed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.cli.conftest import Program

SETTINGS = [
    ("file", "(not set)", "default"),
    ("backend", "bubblewrap", "ISOL8TASKS_BACKEND"),
    ("runtime", "(not set)", "default"),
    ("jobs", "3", "--jobs"),
    ("fail_fast", "true", "{folder}/isol8tasks.toml"),
    ("quiet", "false", "default"),
    ("verbose", "false", "default"),
    ("color", "auto", "default"),
    ("report", "{folder}/r.json", "--report"),
    ("allow_host_network", "false", "default"),
    ("allow_unenforced", "memory, pids", "--allow-unenforced"),
    ("require_enforced", "false", "default"),
    ("bake_timeout", "2m00s", "{folder}/isol8tasks.toml"),
    ("cache", "(not set)", "default"),
    ("state", "(not set)", "default"),
    ("images", "a=x:1, node:20=y", "{folder}/isol8tasks.toml"),
    ("limits", "memory=1g, pids=9", "{folder}/isol8tasks.toml"),
    ("ceilings", "(none)", "default"),
]


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["--version", "list"]])
def test_version(isol8tasks: Program, words: Sequence[str]) -> None:
    ran = isol8tasks(*words)
    assert (ran.code, ran.stdout, ran.stderr) == (0, f"isol8tasks {__version__}\n", "")


def test_nothing_is_a_question_for_help(isol8tasks: Program) -> None:
    ran = isol8tasks()
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == isol8tasks("--help").stdout
    for command in ("run", "list", "graph", "exec", "doctor", "init", "sweep", "completion"):
        assert f"\n  {command} " in ran.stdout


@pytest.mark.parametrize(
    "command", ["run", "list", "graph", "exec", "doctor", "init", "sweep", "completion"]
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(isol8tasks: Program, command: str, flag: str) -> None:
    ran = isol8tasks(command, flag)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: isol8tasks {command} ")


UNKNOWN = {
    (
        "lst",
    ): "error: there is no command 'lst'; did you mean 'list'?\n  hint: see isol8tasks --help\n",
    ("xyzzy",): "error: there is no command 'xyzzy'\n  hint: see isol8tasks --help\n",
}


@pytest.mark.parametrize(("words", "text"), UNKNOWN.items())
def test_an_unknown_command(isol8tasks: Program, words: Sequence[str], text: str) -> None:
    ran = isol8tasks(*words)
    assert (ran.code, ran.stdout, ran.stderr) == (2, "", text)


def test_an_unknown_option(isol8tasks: Program) -> None:
    ran = isol8tasks("list", "--jsn")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: No such option")
    assert "--json" in ran.stderr
    assert ran.stderr.endswith("\n  hint: see isol8tasks list --help\n")


def test_show_settings(isol8tasks: Program, folder: Path) -> None:
    (folder / "isol8tasks.toml").write_text(
        'fail_fast = true\njobs = 2\nbake_timeout = "2m"\n[images]\n"node:20" = "y"\na = "x:1"\n'
        '[limits]\nmemory = "1g"\npids = 9\n'
    )
    words = ("-j3", "--report=r.json", "--allow-unenforced=memory", "--allow-unenforced=pids")
    ran = isol8tasks("run", "--show-settings", *words, env={"ISOL8TASKS_BACKEND": "bubblewrap"})
    width = len(f"{folder}/r.json")
    assert ran.stdout == "".join(
        f"{name:18}  {value.format(folder=folder):{width}}  {source.format(folder=folder)}\n"
        for name, value, source in SETTINGS
    )
    assert (ran.code, ran.stderr) == (0, "")


def test_a_variable_that_is_no_setting_is_warned_about(
    isol8tasks: Program, project: Callable[[str], Path]
) -> None:
    project("listing")
    ran = isol8tasks("list", env={"ISOL8TASKS_COLOUR": "never"})
    assert (ran.code, ran.stderr) == (
        0,
        "warning: ISOL8TASKS_COLOUR is not a setting; did you mean 'ISOL8TASKS_COLOR'?\n",
    )


def test_a_wrong_setting(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    folder = project("listing")
    (folder / "pyproject.toml").write_text("[tool.isol8tasks]\njobs = 'many'\n")
    ran = isol8tasks("list")
    assert (ran.code, ran.stdout, ran.stderr) == (
        2,
        "",
        (
            "error: jobs: 'many' is not a whole number above zero\n  --> pyproject.toml:2\n"
            "  hint: write 1, 2, 3 …\n"
        ),
    )


def test_a_wrong_entry_of_a_setting(isol8tasks: Program, project: Callable[[str], Path]) -> None:
    folder = project("listing")
    images = "[tool.isol8tasks.images]\n'python:3.12' = '--privileged'\n"
    (folder / "pyproject.toml").write_text(images)
    ran = isol8tasks("list")
    assert (ran.code, ran.stdout, ran.stderr) == (
        2,
        "",
        (
            "error: images: '--privileged', for 'python:3.12', is not the reference of an image\n"
            "  --> pyproject.toml:2\n  hint: write one such as localhost/python:3.12\n"
        ),
    )


def test_init_writes_a_task_file_that_loads_and_never_overwrites(
    isol8tasks: Program, folder: Path
) -> None:
    ran = isol8tasks("init")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == "wrote isol8file.py; now try: isol8tasks list, isol8tasks run\n"
    assert [
        stage["name"] for stage in json.loads(isol8tasks("list", "--json").stdout)["stages"]
    ] == [
        "squares",
        "largest",
    ]
    (folder / "isol8file.py").write_text("mine")
    again = isol8tasks("init")
    assert (again.code, again.stdout) == (2, "")
    assert again.stderr == (
        "error: 'isol8file.py' exists already\n  --> isol8file.py\n"
        "  hint: give another path: isol8tasks init other/isol8file.py\n"
    )
    assert (folder / "isol8file.py").read_text() == "mine"


def test_init_without_a_place(isol8tasks: Program) -> None:
    ran = isol8tasks("init", "missing/isol8file.py")
    assert (ran.code, ran.stderr) == (
        2,
        (
            "error: 'missing/isol8file.py' cannot be written: No such file or directory\n"
            "  hint: give a path in a folder that exists and that you may write to\n"
        ),
    )


def test_a_task_file_that_a_setting_names_in_vain(isol8tasks: Program, folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.isol8tasks]\nfile = 'tasks.py'\n")
    ran = isol8tasks("list")
    assert (ran.code, ran.stdout, ran.stderr) == (
        2,
        "",
        (
            "error: there is no such task file\n  --> tasks.py\n"
            f"  hint: {folder}/pyproject.toml names it: correct the setting 'file' there\n"
        ),
    )
    named = isol8tasks("list", "--file", "other.py")
    assert named.stderr.endswith("  hint: run 'isol8tasks init' to write a first one\n")


def test_settings_can_be_asked_for_without_a_command(isol8tasks: Program) -> None:
    ran, same = isol8tasks("--show-settings"), isol8tasks("run", "--show-settings")
    assert (ran.code, ran.stdout, ran.stderr) == (0, same.stdout, "")


def test_the_help_of_completion_has_a_line_for_each_shell(isol8tasks: Program) -> None:
    lines = isol8tasks("completion", "--help").stdout.splitlines()
    first = [line.split()[0] for line in lines if " isol8tasks completion " in line]
    assert first == ["Usage:", "bash:", "zsh:", "fish:"]
    assert not any("\\b" in line for line in lines)


def test_completion_of_no_shell(isol8tasks: Program) -> None:
    ran = isol8tasks("completion")
    assert (ran.code, ran.stderr) == (
        2,
        (
            "error: Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish\n"
            "  hint: see isol8tasks completion --help\n"
        ),
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script(isol8tasks: Program, shell: str) -> None:
    ran = isol8tasks("completion", shell)
    assert (ran.code, ran.stderr) == (0, "")
    assert f"_ISOL8TASKS_COMPLETE={shell}_complete" in ran.stdout


COMPLETIONS = [
    ("isol8tasks ", {"run", "list", "graph", "exec", "doctor", "init", "sweep", "completion"}),
    ("isol8tasks gr", {"graph"}),
    ("isol8tasks run ", {"checks", "all", "syntax", "lint", "unit", "summary", "docs"}),
    ("isol8tasks run lint s", {"syntax", "summary"}),
    ("isol8tasks run --skip ch", {"checks"}),
    ("isol8tasks graph --format ", {"mermaid", "dot", "json"}),
    ("isol8tasks run --fail", {"--fail-fast"}),
    ("isol8tasks run -f missing.py ", set()),
]


@pytest.mark.parametrize(("line", "items"), COMPLETIONS)
def test_completion(
    isol8tasks: Program, project: Callable[[str], Path], line: str, items: set[str]
) -> None:
    project("listing")
    assert completed(isol8tasks, line) == items


HEAVY = {"structlog", "cattrs", "rich", "platformdirs", "pathspec", "importlib.metadata"}
LIGHT = [
    (["--version"], {"click", "attr", "tomllib", "json"}),
    (["--help"], set()),
    (["list"], {"tomllib", "difflib", "isol8tasks.app", "isol8tasks.engine"}),
    (["graph"], {"tomllib", "isol8tasks.app", "isol8tasks.engine"}),
    (["run", "--show-settings"], {"isol8tasks.app", "isol8tasks.engine"}),
    (["completion", "zsh"], set()),
]
PROGRAM = """
import sys
from isol8tasks.cli import main
code = main(sys.argv[1:])
sys.stderr.write("\\n".join(sys.modules))
sys.exit(code)
"""

COMPLETER = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\n".join(sys.modules)))
from isol8tasks.cli import main
main([])
"""


@pytest.mark.parametrize(("words", "more"), LIGHT, ids=lambda value: " ".join(sorted(value)))
def test_what_is_not_imported(
    project: Callable[[str], Path], words: Sequence[str], more: set[str]
) -> None:
    argv = [sys.executable, "-c", PROGRAM, *words]
    ran = subprocess.run(argv, cwd=project("listing"), capture_output=True, text=True, check=True)
    assert not set(ran.stderr.splitlines()) & (HEAVY | more)


def test_a_completion_imports_as_little(project: Callable[[str], Path], tmp_path: Path) -> None:
    argv = [sys.executable, "-c", COMPLETER]
    env = {
        "_ISOL8TASKS_COMPLETE": "bash_complete",
        "COMP_WORDS": "isol8tasks run ",
        "COMP_CWORD": "2",
    }
    ran = subprocess.run(
        argv,
        cwd=project("listing"),
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "plain,lint" in ran.stdout
    assert not set(ran.stderr.splitlines()) & (HEAVY | {"isol8tasks.app", "isol8tasks.engine"})


@pytest.mark.bubblewrap
def test_sweep_knows_the_name_of_a_backend(isol8tasks: Program, folder: Path) -> None:
    ran = isol8tasks("sweep", "--backend", "bubblewarp")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(
        "error: there is no backend named 'bubblewarp'; did you mean 'bubblewrap'?\n"
    )
