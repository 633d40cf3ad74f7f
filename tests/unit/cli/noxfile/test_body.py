"""What the body of a session becomes: commands, packages, and remarks about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isol8tasks.cli.noxfile.convert import Conversion, convert
from isol8tasks.model.stage import Exec, Shell
from tests.unit.cli.noxfile.conftest import packages, remarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage, TaskFile

RUNS = {
    'session.run("pytest", "-q")': Exec(("pytest", "-q")),
    'session.run("a b", "it\'s", "$HOME", "*")': Exec(("a b", "it's", "$HOME", "*")),
    'session.run("pytest", *session.posargs)': Shell(('pytest "$@"',)),
    'session.run("pytest", *session.posargs, "tests")': Shell(('pytest "$@" tests',)),
    'session.run("pytest", *(session.posargs or ["a b", "c"]))': Shell(
        ("[ $# -gt 0 ] || set -- 'a b' c; pytest \"$@\"",)
    ),
    'session.run("pytest", *(session.posargs if session.posargs else ("x",)))': Shell(
        ('[ $# -gt 0 ] || set -- x; pytest "$@"',)
    ),
    """
    args = session.posargs
    if not args:
        args = ["x"]
    session.run("pytest", *args)
    """: Shell(('[ $# -gt 0 ] || set -- x; pytest "$@"',)),
    """
    if session.posargs:
        args = list(session.posargs)
    else:
        args = ["-q", "x"]
    session.run("pytest", *args)
    """: Shell(('[ $# -gt 0 ] || set -- -q x; pytest "$@"',)),
    'session.run("pytest", *(session.posargs or []))': Shell(('pytest "$@"',)),
    """
    session.run("a", "b c")
    session.run("d")
    """: Shell(("a 'b c'", "d")),
    'session.run("pytest", success_codes=[0, 5])': Shell(("pytest || test $? = 5",)),
    'session.run("pytest", success_codes=[0, 5, 6])': Shell(
        ("pytest || case $? in 5|6) ;; *) exit 1 ;; esac",)
    ),
    """
    session.run("a")
    with session.chdir("docs"):
        session.run("b")
    session.run("c", silent=True)
    """: Shell(("a", "cd docs && b", "c")),
    """
    for part in ("a", "b"):
        session.run("make", f"{part}.html")
    """: Shell(("make a.html", "make b.html")),
    """
    args = ["-q"]
    args.append("x")
    args += ["y"]
    args.extend(["z"])
    session.run("pytest", *args)
    """: Exec(("pytest", "-q", "x", "y", "z")),
    """
    import sys
    if sys.platform == "win32":
        session.run("a.exe")
    elif sys.platform.startswith("linux"):
        session.run("a")
    """: Exec(("a",)),
    'session.run("a", "%s-%s" % ("x", 1), "{}{}".format("y", 2), " ".join(["p", "q"]))': Exec(
        ("a", "x-1", "y2", "p q")
    ),
    """
    import os
    from pathlib import Path
    here = Path(__file__).parent.resolve()
    session.run("a", here / "src", str(here), os.path.join(os.path.dirname(__file__), "b"))
    session.run("b", os.path.join("x", "", "y", ""), Path("x/", ".", "y/"), Path("/a") / "/b")
    """: Shell(("a src . b", "b x/y/ x/y /b")),
    """
    session.run("a")
    return
    session.run("b")
    """: Exec(("a",)),
    'session.run("if", "x=1", *session.posargs)': Shell(("'if' x=1 \"$@\"",)),
}


@pytest.mark.parametrize(("body", "command"), RUNS.items())
def test_commands(read_body: Callable[[str], Stage], body: str, command: object) -> None:
    stage = read_body(body)
    assert stage.command == command
    assert stage.posargs == ("posargs" in body)


NO_REMARKS = [body for body in RUNS if "finally" not in body]


@pytest.mark.parametrize("body", NO_REMARKS)
def test_what_is_carried_over_exactly_has_no_remark(
    read_body: Callable[[str], Stage], folder: Path, body: str
) -> None:
    read_body(body)
    assert convert(folder / "noxfile.py").remarks == ()


def test_variables_of_all_commands_are_those_of_the_stage(
    read_body: Callable[[str], Stage],
) -> None:
    stage = read_body("""
        session.env["A"] = "1"
        session.run("x", env={"B": "it's"})
        session.env.update({"A": "2", "C": "3"})
        session.run("y", env={"B": "it's"})
    """)
    assert stage.env == (("B", "it's"),)
    assert stage.command == Shell(("A=1 x", "A=2 C=3 y"))


def test_a_folder_of_all_commands_is_the_stages(read_body: Callable[[str], Stage]) -> None:
    stage = read_body("""
        session.chdir("docs")
        session.run("make", *session.posargs)
        session.cd("../docs")
        session.run("make", "again")
    """)
    assert (stage.workdir, stage.command) == ("docs", Shell(('make "$@"', "make again")))


def test_the_folder_of_the_project_is_on_the_path_of_python_from_everywhere(
    read_body: Callable[[str], Stage], folder: Path
) -> None:
    (folder / "src").mkdir()
    stage = read_body("""
        session.install("-e", ".")
        session.run("a")
        session.chdir("docs")
        session.run("b", env={"PYTHONPATH": "own"})
    """)
    assert stage.command == Shell(("PYTHONPATH=src a", "cd docs && PYTHONPATH=own:../src b"))


NOT_INSTALLED = (
    "the project in '.' is not installed: PYTHONPATH finds its sources;"
    " it has no metadata, no commands of its own and no compiled parts"
)
INSTALLS = {
    '"pytest", "attrs>=24,<25", "coverage[toml]"': (
        ("pytest", "attrs>=24,<25", "coverage[toml]"),
        [],
    ),
    '"-U", "--quiet", "pytest; python_version > \'3\'"': (("pytest; python_version > '3'",), []),
    '"-r", "requirements.txt"': (
        ("one==1", "two"),
        ["the packages of requirements.txt are a copy: keep both the same"],
    ),
    '"-rrequirements.txt"': (
        ("one==1", "two"),
        ["the packages of requirements.txt are a copy: keep both the same"],
    ),
    '"--requirement=requirements.txt"': (
        ("one==1", "two"),
        ["the packages of requirements.txt are a copy: keep both the same"],
    ),
    '"x", "-r", "nowhere.txt"': (
        ("x",),
        ["nowhere.txt is not a file that can be read here"],
    ),
    '"x", "-c", "c.txt"': (
        ("x",),
        ["`-c c.txt`: an image has no constraints: pin the packages"],
    ),
    '"x", "--index-url", "https://example.org/simple"': (
        ("x",),
        [
            (
                "`--index-url https://example.org/simple` is an option of pip that an image does"
                " not have"
            ),
        ],
    ),
    '"x", "git+https://example.org/y.git"': (
        ("x",),
        ["`git+https://example.org/y.git` is not a package of an index: bake it with Image.run(…)"],
    ),
    '"x", "../other"': (("x",), ["`../other` is not a folder below the noxfile"]),
    '"x", *session.posargs': (("x",), ["an image cannot depend on what follows `--`"]),
    '"--group", "test"': (
        ("grouped", "inner"),
        ["the packages of group 'test' are a copy: keep both the same"],
    ),
    '"x", "--group", "other"': (
        ("x",),
        ["group 'other': pyproject.toml has no dependency group 'other'"],
    ),
    '".[extra]"': (
        ("needed", "more", "deep"),
        [
            NOT_INSTALLED,
            "the packages of pyproject.toml are a copy: keep both the same",
        ],
    ),
    '"-e", ".", "--no-deps"': (
        (),
        [
            NOT_INSTALLED,
        ],
    ),
}


@pytest.mark.parametrize(("words", "expected"), INSTALLS.items())
def test_installs(
    read_body: Callable[[str], Stage],
    folder: Path,
    words: str,
    expected: tuple[tuple[str, ...], list[str]],
) -> None:
    (folder / "requirements.txt").write_text("one==1  # first\n-r more.txt\n")
    (folder / "more.txt").write_text("\n# nothing\ntwo\n")
    (folder / "pyproject.toml").write_text(
        "[project]\nname = 'Own.Name'\ndependencies = ['needed']\n"
        "[project.optional-dependencies]\nextra = ['more', 'own-name[inner]']\ninner = ['deep']\n"
        "[dependency-groups]\ntest = ['grouped', {include-group = 'inner'}]\ninner = ['inner']\n"
    )
    stage = read_body(f'session.install({words})\nsession.run("pytest")')
    found = convert(folder / "noxfile.py")
    assert (packages(stage), [remark.text for remark in found.remarks]) == expected


def test_pip_starts_in_the_current_folder(read_body: Callable[[str], Stage], folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs/requirements.txt").write_text("sphinx\n")
    (folder / "pyproject.toml").write_text("[project]\ndependencies = ['needed']\n")
    stage = read_body("""
        import os
        root = os.getcwd()
        session.chdir("docs")
        session.install("-r", "requirements.txt", "..")
        session.run("x")
        session.chdir(tmp)
        session.install("plain")
        session.install("-e", ".")
        session.chdir(os.getcwd())
        session.run("z")
        session.chdir(root)
        session.run("y")
    """)
    assert packages(stage) == ("sphinx", "needed", "plain")
    assert stage.command == Shell(("cd docs && PYTHONPATH=.. x", "PYTHONPATH=. y"))
    lines = [remark.line for remark in convert(folder / "noxfile.py").remarks]
    assert lines == [8, 8, 8, 10, 12, 13, 14]


@pytest.mark.parametrize(
    "words",
    ['"pip", "install"', '"python", "-m", "pip", "install"', '"uv", "pip", "install"'],
)
@pytest.mark.parametrize("method", ["run", "run_always", "run_install"])
def test_pip_as_a_command_is_a_layer(
    read_body: Callable[[str], Stage], words: str, method: str
) -> None:
    stage = read_body(f'session.{method}({words}, "pytest")\nsession.run("pytest")')
    assert (packages(stage), stage.command) == (("pytest",), Exec(("pytest",)))


REMARKED = {
    'session.notify("docs")': "session.notify() is not carried over",
    'session.log("hello")': "session.log() is not carried over",
    "session.create_tmp()": "session.create_tmp() is not carried over",
    "tmp = session.create_tmp()": "session.create_tmp() is not carried over",
    'session.conda_install("x")': "session.conda_install() is not carried over",
    'session.run_install("uv", "sync")': "it installs: name the packages",
    "helper(session)": "`helper(session)` is given the session",
    'shutil.rmtree("x")': "`shutil.rmtree('x')` is Python code",
    'open("x", "w").write("y")': "is Python code",
    'if os.environ.get("CI"):\n    session.run("y")': "`if os.environ.get('CI')`",
    'for x in os.listdir("."):\n    session.run("y", x)': "`for x in os.listdir('.')`",
    'while True:\n    session.run("y")': "`while True` is Python code",
    'with open("x") as file:\n    session.run("y")': "is Python code",
    'try:\n    pass\nexcept OSError:\n    session.run("y")': "`except`",
    'session.run("y", os.getcwd2())': "`os.getcwd2()` is known only when nox runs",
    'session.run("y", stdout=None)': "`stdout=None` is not carried over",
    'session.run("y", env={"A": None})': "the variable A=None is not carried over",
    'session.run("y", env={"A B": "x"})': "the variable A B='x' is not carried over",
    'session.run("y", env=os.environ)': "`env=os.environ` is not carried over",
    'session.run("y", success_codes=[1])': "success_codes without 0",
    'session.run("y", 3)': "`3` is not a word of a command",
    "session.run(print)": "the value of `print` is known only when nox runs",
    "session.run()": "it has no command",
    "session.run(*session.posargs)": "its first word is not the name of a program",
    'session.run("y", *session.posargs, *(session.posargs or ["z"]))': "with different defaults",
    'session.run("y", "a\\0b")': "a text has a NUL character",
    'session.run("y", "\\ud800")': "a text cannot be written as UTF-8",
    'session.run("make", external=True)': "make is not of the virtual environment",
    'session.run("pip-audit")': "pip-audit needs a network",
    'session.run("python", "-m", "pip_audit")': "pip_audit needs a network",
    'session.run("git", "-q", "push")': "git push needs a network",
    'session.run("twine", "upload", "x")': "twine upload needs a network",
    'session.run("safety", "check")': "safety needs a network",
    'session.run("curl", "x")': "curl needs a network",
    'out = session.run("git", "describe", silent=True)': "the output is known only when nox runs",
    "session.unheard_of()": "session.unheard_of() is not known here",
    'if session.posargs:\n    session.run("y")': "as it is without arguments after `--`",
    "assert session.posargs": "is Python code",
}


@pytest.mark.parametrize(("code", "reason"), REMARKED.items())
def test_what_is_not_carried_over_is_remarked_at_its_line(
    read: Callable[[str], tuple[TaskFile, Conversion]], code: str, reason: str
) -> None:
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    sessions = f'@nox.session\ndef unit(session):\n    session.run("x")\n{lines}\n'
    task_file, found = read(f"import os, shutil\n{sessions}")
    (remark,) = remarks(found)
    assert remark.startswith("7: ")
    assert reason in remark
    assert [stage.name for stage in task_file.stages] == ["unit"]


@pytest.mark.parametrize("code", ['session.skip("no")', 'session.error("no")', "raise OSError"])
def test_the_end_of_a_session_is_the_end_of_its_stage(
    read_body: Callable[[str], Stage], folder: Path, code: str
) -> None:
    stage = read_body(f'session.run("x")\n{code}\nsession.run("y")')
    assert stage.command == Exec(("x",))
    assert len(convert(folder / "noxfile.py").remarks) == 1


def test_without_posargs_is_how_a_condition_about_them_is_read(
    read_body: Callable[[str], Stage],
) -> None:
    stage = read_body("""
        if session.posargs and session.posargs[0] == "all":
            session.run("all")
        else:
            session.run("some")
        if not session.posargs:
            session.run("more")
    """)
    assert stage.command == Shell(("some", "more"))


def test_what_a_condition_may_change_is_not_known_after_it(
    read: Callable[[str], tuple[TaskFile, Conversion]],
) -> None:
    task_file, found = read("""
        import os

        @nox.session
        def unit(session):
            args = ["-q"]
            place = "a"
            session.run("w", *args)
            if os.environ.get("CI"):
                args.append("-x")
                place = "b"
                session.chdir("c")
            session.run("x", *args)
            session.run("y", place)
            session.run("z")
        """)
    assert [stage.command for stage in task_file.stages] == [Exec(("w", "-q"))]
    assert remarks(found) == [
        "11: `if os.environ.get('CI')`: `os.environ.get('CI')` is known only when nox runs",
        (
            "15: `session.run('x', *args)` is not carried over:"
            " the value of `args` is known only when nox runs (line 11)"
        ),
        (
            "16: `session.run('y', place)` is not carried over:"
            " the value of `place` is known only when nox runs (line 11)"
        ),
        "17: `session.run('z')` is not carried over: the current folder is not known here",
    ]


def test_finally_comes_after_the_rest(read_body: Callable[[str], Stage]) -> None:
    stage = read_body("""
        try:
            session.run("a")
            return
        finally:
            session.run("b")
    """)
    assert stage.command == Shell(("a", "b"))
