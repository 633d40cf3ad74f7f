"""What a noxfile becomes, and what is said about the rest."""

from __future__ import annotations

import ast
import random
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isol8tasks.cli.noxfile.commands import Command, lower
from isol8tasks.cli.noxfile.convert import Conversion, convert
from isol8tasks.cli.noxfile.values import Posargs, text
from isol8tasks.cli.noxfile.write import literal
from isol8tasks.errors import Location, UsageError
from isol8tasks.model.image import LayerKind
from isol8tasks.model.stage import Exec, Shell
from isol8tasks.plan.plan import build
from isol8tasks.taskfile.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage, TaskFile

NOXFILES = Path(__file__).parents[2] / "projects/noxfiles"
PROJECTS = ("library", "matrix", "service")


@pytest.fixture
def read(folder: Path) -> Callable[[str], tuple[TaskFile, Conversion]]:
    """Converts a noxfile with these sessions, and loads what it became."""

    def read(sessions: str) -> tuple[TaskFile, Conversion]:
        (folder / "noxfile.py").write_text("import nox\n\n" + dedent(sessions))
        return loaded(folder / "noxfile.py")

    return read


@pytest.fixture
def read_body(read: Callable[[str], tuple[TaskFile, Conversion]]) -> Callable[[str], Stage]:
    """The only stage of a noxfile whose only session has this body."""

    def read_body(body: str) -> Stage:
        lines = "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
        (stage,) = read(f"@nox.session\ndef unit(session):\n{lines}\n")[0].stages
        return stage

    return read_body


def loaded(noxfile: Path) -> tuple[TaskFile, Conversion]:
    """What the noxfile becomes, loaded and planned as `list` and `run` do."""
    found = convert(noxfile)
    path = noxfile.with_name("isol8file.py")
    path.write_text(found.text)
    task_file = load(path)
    build(task_file, [stage.name for stage in task_file.stages])
    return task_file, found


def remarks(found: Conversion) -> list[str]:
    return [f"{remark.line}: {remark.text}" for remark in found.remarks]


def packages(stage: Stage) -> tuple[str, ...]:
    layers = [layer for layer in stage.image.layers if layer.kind is LayerKind.PIP]
    return tuple(argument for layer in layers for argument in layer.arguments)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_real_noxfile(name: str) -> None:
    # ruff's formatter looks at these files too: see `nox -s lint`
    assert convert(NOXFILES / name / "noxfile.py").text == (
        NOXFILES / name / "expected.py"
    ).read_text("utf-8")


@pytest.mark.parametrize("name", PROJECTS)
def test_every_remark_stands_in_the_file_at_its_line(name: str) -> None:
    found = convert(NOXFILES / name / "noxfile.py")
    comments = " ".join(
        line.strip().removeprefix("#").strip() for line in found.text.splitlines() if "#" in line
    )
    lines = (NOXFILES / name / "noxfile.py").read_text().splitlines()
    assert found.remarks
    for remark in found.remarks:
        assert f"TODO(nox): noxfile.py:{remark.line}: {' '.join(remark.text.split())}" in comments
        assert 1 <= remark.line <= len(lines)


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


DECORATORS = {
    "@nox.session(python='3.12')": ["unit"],
    "@nox.session(py=['3.11', '3.12'])": ["unit-3.11", "unit-3.12"],
    "@nox.session(python=('3.11',))": ["unit-3.11"],
    "@nox.session(name='Unit tests!')": ["Unit-tests"],
    "@nox.session(name='...')": ["x"],
    "@nox.session\n@nox.parametrize('a', ['x', 'y'])": ["unit-a-x", "unit-a-y"],
    "@nox.session\n@nox.parametrize('a, b', [('x', 1), ('y', 2)])": [
        "unit-a-x-b-1",
        "unit-a-y-b-2",
    ],
    "@nox.session\n@nox.parametrize(['a'], ['x', 'y'], ids=['one', None])": [
        "unit-one",
        "unit-a-y",
    ],
    "@nox.session\n@nox.parametrize('a', [nox.param('x', id='one'), 'x'])": [
        "unit-one",
        "unit-a-x",
    ],
    "@nox.session(python=['3.11'])\n@nox.parametrize('a', ['<1', '>1'])": [
        "unit-3.11-a-1",
        "unit-3.11-a-1-2",
    ],
    "@nox.session\n@nox.parametrize('a', [1, 2])\n@nox.parametrize('b', ['x', 'y'])": [
        "unit-b-x-a-1",
        "unit-b-y-a-1",
        "unit-b-x-a-2",
        "unit-b-y-a-2",
    ],
    "@nox.session\n@nox.parametrize('python', ['3.11', '3.12'])": [
        "unit-python-3.11",
        "unit-python-3.12",
    ],
    "@nox.session(python=VERSIONS[:2])": ["unit-3.11", "unit-3.12"],
    "@nox.session(python=[f'3.{minor}' for minor in (11, 12)])": ["unit-3.11", "unit-3.12"],
    "@nox.parametrize('a', [*VERSIONS])\n@nox.session": [
        "unit-a-3.11",
        "unit-a-3.12",
        "unit-a-3.13",
    ],
    f"@nox.session(name={'n' * 120!r})": ["n" * 100],
}


@pytest.mark.parametrize(("decorators", "names"), DECORATORS.items())
def test_names(
    read: Callable[[str], tuple[TaskFile, Conversion]], decorators: str, names: list[str]
) -> None:
    arguments = ", a=0, b=0"
    task_file, _ = read(
        f'VERSIONS = ["3.11", "3.12"]\nVERSIONS += ["3.13"]\n{decorators}\n'
        f'def unit(session{arguments}):\n    session.run("x", f"{{a}} {{b}} {{session.python}}")\n'
    )
    assert [stage.name for stage in task_file.stages] == names


def test_arguments_are_those_of_their_round(
    read: Callable[[str], tuple[TaskFile, Conversion]],
) -> None:
    task_file, _ = read("""
        @nox.session(python=["3.11", "3.12"])
        @nox.parametrize("n", [1, 2])
        @nox.parametrize("name, version", [("it's", "{0}"), ("b", '"c"'), ("d", "e")])
        def unit(session, n, name, version):
            session.install(f"x=={n}")
            session.run("a", name, version, f"{n}{session.python}", env={"V": f"{{{version}}}"})
            if n == 2 and session.python == "3.12":
                session.run("b", *session.posargs)
        """)
    words = {
        (stage.image.reference, *stage.command.argv, packages(stage), stage.env)
        for stage in task_file.stages
        if isinstance(stage.command, Exec)
    }
    pairs = [("it's", "{0}"), ("b", '"c"'), ("d", "e")]
    assert words == {
        (python, "a", name, version, f"{n}{python}", (f"x=={n}",), (("V", f"{{{version}}}"),))
        for python in ("3.11", "3.12")
        for n in (1, 2)
        for name, version in pairs
        if (n, python) != (2, "3.12")
    }
    scripts = [s.command.scripts for s in task_file.stages if isinstance(s.command, Shell)]
    assert scripts == [
        ("V='{{0}}' a 'it'\"'\"'s' '{0}' 23.12", 'b "$@"'),
        ("V='{\"c\"}' a b '\"c\"' 23.12", 'b "$@"'),
        ("V='{e}' a d e 23.12", 'b "$@"'),
    ]


def test_requirements_between_sessions(
    read: Callable[[str], tuple[TaskFile, Conversion]],
) -> None:
    task_file, found = read("""
        PYTHONS = ["3.11", "3.12"]

        @nox.session(python=PYTHONS)
        def build(session):
            session.run("x")

        @nox.session(python=PYTHONS, requires=["build-{python}", "later"])
        def unit(session):
            session.run("x")

        @nox.session(requires=["build", "unit-3.11"])
        def all(session):
            session.run("x")

        @nox.session(requires=["unit", "later", "empty"])
        def later(session):
            session.run("x")

        @nox.session(requires=["x-{python}"])
        def empty(session):
            pass
        """)
    requires = {stage.name: stage.requires for stage in task_file.stages}
    assert requires == {
        "build-3.11": (),
        "build-3.12": (),
        "unit-3.11": ("build-3.11", "later"),
        "unit-3.12": ("build-3.12", "later"),
        "all": ("build", "unit-3.11"),
        "later": (),
    }
    assert remarks(found) == [
        "19: requires='later': there is no such stage",
        "19: requires='empty': there is no such stage",
        "19: requires='unit-3.11': the sessions wait for each other",
        "19: requires='unit-3.12': the sessions wait for each other",
        "23: requires='x-{python}' is not a name that can be filled in here",
    ]


DEFAULTS = {
    "": ("default", ("a", "b")),
    "nox.options.sessions = ['b', 'c-3.12']": ("default", ("b", "c-3.12")),
    "nox.options.sessions = ('c',)": ("default", ("c",)),
    "nox.options.tags = ['t']": ("default", ("c",)),
    "@nox.session(name='default', default=False)\ndef d(session):\n    session.run('x')\n": (
        "all",
        ("a", "b"),
    ),
}


@pytest.mark.parametrize(("more", "expected"), DEFAULTS.items())
def test_the_default_task(
    read: Callable[[str], tuple[TaskFile, Conversion]],
    more: str,
    expected: tuple[str, tuple[str, ...]],
) -> None:
    task_file, _ = read(f"""
{more}
@nox.session
def a(session):
    session.run("x")

@nox.session
def b(session):
    session.run("x")

@nox.session(python=["3.11", "3.12"], tags=["t"], default=False)
def c(session):
    session.run("x")
""")
    (default,) = (task for task in task_file.tasks if task.default)
    assert (default.name, default.members) == expected


IMPORTS = [
    "import nox\n@nox.session",
    "import nox as n\n@n.session()",
    "from nox import session\n@session",
    "from nox import session as s\n@s(python='3.12')",
    "import nox.sessions, nox\n@nox.session(reuse_venv=True, venv_backend='uv')",
    "try:\n    import nox_poetry as nox\nexcept ImportError:\n    import nox\n@nox.session",
]


@pytest.mark.parametrize("start", IMPORTS)
def test_however_nox_is_imported(folder: Path, start: str) -> None:
    (folder / "noxfile.py").write_text(f'{start}\ndef unit(s):\n    s.run("x")\n')
    task_file, _ = loaded(folder / "noxfile.py")
    assert [stage.name for stage in task_file.stages] == ["unit"]


def test_a_session_without_any_command_is_only_a_comment(
    read: Callable[[str], tuple[TaskFile, Conversion]],
) -> None:
    task_file, found = read("""
        @nox.session
        def unit(session):
            session.run("x")

        @nox.session
        def empty(session):
            session.install("y")
            work(session)
        """)
    assert [stage.name for stage in task_file.stages] == ["unit"]
    assert (found.carried, found.sessions) == (1, 2)
    assert "# The session 'empty' is not carried over.\n" in found.text
    assert remarks(found) == ["11: `work(session)` is given the session: what it does is missing"]


def test_what_is_left_out_around_sessions_is_remarked(
    read: Callable[[str], tuple[TaskFile, Conversion]],
) -> None:
    task_file, found = read("""
        import os
        nox.options.keywords = "unit"
        nox.options.sessions = ["unit", "nowhere"]

        if os.environ.get("CI"):
            @nox.session(venv_params=["--copies"], unheard=1)
            @other
            def unit(session):
                session.run("x")

        for name in ("a", "b"):
            @nox.session(name=name)
            def loop(session):
                session.run("x")

        @decorated
        def mine(session):
            session.run("x")

        @nox.session(python=["3.12", "pypy3.10"])
        def pypy(session):
            session.run("x")

        @nox.session
        @nox.parametrize("a", os.listdir("."))
        def unknown(session, a):
            session.run("x")
            session.run("y", a)
        """)
    assert [stage.name for stage in task_file.stages] == ["unit", "pypy-3.12", "unknown"]
    assert remarks(found) == [
        "1: nox.options.sessions: there is no session 'nowhere'",
        "5: nox.options.keywords is not carried over",
        "8: it is a session only `if os.environ.get('CI')`, and a stage always",
        "9: unheard= of it: it is not known here",
        "10: the decorator `other` is not carried over",
        "16: 'loop' is declared in a loop or a class",
        "20: 'mine' is left out: its decorator `decorated` is not nox's",
        "24: there is no image for the Python 'pypy3.10'",
        "28: its parameters: `os.listdir('.')` is known only when nox runs",
        (
            "31: `session.run('y', a)` is not carried over:"
            " the value of `a` is known only when nox runs (line 29)"
        ),
    ]


WRONG = {
    "syntax": (b"import nox\n@nox.session\ndef (:\n", 3, "the noxfile is not Python: "),
    "not text": (b"import nox\nx = '\xff'\n", None, "the noxfile is not Python: "),
    "NUL": (b"import nox\0\n", None, "the noxfile is not Python: "),
    "no session": (b"import nox\n", 0, "the noxfile declares no session that can be read"),
    "nothing": (b"", 0, "the noxfile declares no session that can be read"),
    "no command": (
        b"import nox\n@nox.session\ndef unit(session):\n    work(session)\n",
        4,
        "nothing of the noxfile can be carried over",
    ),
    "too deep": (
        b"import nox\n@nox.session\ndef unit(session):\n    x = " + b"-" * 5000 + b"1\n",
        None,
        "the noxfile is ",
    ),
    "too large": (b"#" * (2 << 20), 0, "the noxfile is larger than 1 MiB"),
}


@pytest.mark.parametrize(("content", "line", "message"), WRONG.values(), ids=WRONG)
def test_a_noxfile_that_cannot_be_read(
    folder: Path, content: bytes, line: int | None, message: str
) -> None:
    path = folder / "noxfile.py"
    path.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        convert(path)
    assert raised.value.message.startswith(message)
    assert raised.value.where
    assert raised.value.where.path == str(path)
    assert line in {None, raised.value.where.line}


def test_a_noxfile_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no such noxfile"):
        convert(folder / "noxfile.py")
    (folder / "noxfile.py").mkdir()
    with pytest.raises(UsageError, match="the noxfile is not a file") as raised:
        convert(folder / "noxfile.py")
    assert raised.value.where == Location(str(folder / "noxfile.py"), 0)


def test_nothing_of_a_noxfile_is_executed(folder: Path) -> None:
    (folder / "noxfile.py").write_text(
        "import nox, pathlib\n"
        "pathlib.Path('touched').write_text('')\n"
        "BIG = 'x' * 10 ** 12\n"
        "LONG = 'x' * 9 + '{:1000000000}'.format(1) + '%1000000000s' % 1\n"
        "A = 'ab'\n" + "A = A + A\n" * 60 + "L = [1, 2]\n" + "L = L + L\n" * 60 + "@nox.session\n"
        "def unit(session):\n"
        "    session.run('x')\n"
        "    session.run(A, BIG, LONG)\n"
        "    for a in range(10 ** 12):\n"
        "        session.run('y')\n"
        "    for a in L:\n"
        "        for b in L:\n"
        "            session.run('y')\n"
    )
    task_file, _ = loaded(folder / "noxfile.py")
    assert [stage.command for stage in task_file.stages] == [Exec(("x",))]
    assert not (folder / "touched").exists()


def test_a_session_without_end_is_cut(read_body: Callable[[str], Stage], folder: Path) -> None:
    numbers = ", ".join("0" * 60)
    read_body(
        f'session.run("x")\nfor a in [{numbers}]:\n for b in [{numbers}]:\n  session.run("y")'
    )
    found = convert(folder / "noxfile.py")
    assert any("too long to follow" in remark.text for remark in found.remarks)


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(
    words=st.lists(WORDS, max_size=4),
    default=st.lists(WORDS, max_size=2),
    posargs=st.lists(WORDS, max_size=2),
    value=WORDS,
)
@settings(max_examples=60, deadline=None)
def test_a_shell_sees_the_words_that_nox_would_run(
    words: list[str], default: list[str], posargs: list[str], value: str
) -> None:
    other = Command(words=(text("true"),))  # so that the variable is not the stage's
    printing = ("sh", "-c", 'printf "%s\\0" "$VALUE" "$@"', "sh", *words)
    command = Command(
        words=(*map(text, printing), Posargs(tuple(map(text, default)))),
        env=(("VALUE", text(value)),),
    )
    script = str(lower((other, command), ()).scripts[1])
    argv = ["sh", "-eu", "-c", script, "sh", *posargs]
    ran = subprocess.run(argv, capture_output=True, check=True)
    assert ran.stdout.decode().split("\0") == [value, *words, *(posargs or default), ""]


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_literal_is_the_string(value: str) -> None:
    written = literal(value)
    assert ast.literal_eval(written) == value
    assert "\n" not in written
    assert written[0] == ('"' if value.count('"') <= value.count("'") else "'")


TEXTS = st.text(st.sampled_from("ab'\"\\{}$ \n\t#é;"), max_size=20)
DECLARED = st.tuples(
    st.text(st.sampled_from("ab'\"\\{}$ \n.-é"), min_size=1, max_size=8),  # its name
    st.lists(st.sampled_from(["3.11", "3.12", "pypy", "3"]), max_size=3),
    st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    st.lists(TEXTS, max_size=2),  # tags
    st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=3),  # commands
    TEXTS,
)


@given(sessions=st.lists(DECLARED, min_size=1, max_size=4))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_written_loads(folder: Path, sessions: list[tuple]) -> None:  # type: ignore[type-arg]
    lines = ["import nox"]
    for number, (name, pythons, pairs, tags, commands, words) in enumerate(sessions):
        lines += [
            f"@nox.session(name={name!r}, python={pythons or None!r}, tags={tags!r})",
            *([f"@nox.parametrize('a, name', {pairs!r})"] if pairs else []),
            f"def s{number}(session, a={words!r}, name='n'):",
            f"    {words!r}",
            f"    session.install({words!r}, f'x=={{a}}')",
            *(f"    session.run(*{command!r}, a, f'{{name}}-{{a}}')" for command in commands),
            "    session.run('true', f'{session.python}', env={'A': a})",
        ]
    (folder / "noxfile.py").write_text("\n".join(lines), encoding="utf-8")
    try:
        task_file, _ = loaded(folder / "noxfile.py")
    except UsageError as error:
        assert error.message == "nothing of the noxfile can be carried over"  # noqa: PT017
    else:
        assert len({stage.name for stage in task_file.stages}) == len(task_file.stages)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_noxfile_that_lost_lines_never_breaks_anything(folder: Path, name: str) -> None:
    lines = (NOXFILES / name / "noxfile.py").read_text().splitlines()
    for seed in range(60):
        chosen = random.Random(seed)
        kept = [line for line in lines if chosen.random() > 0.08]
        (folder / "noxfile.py").write_text("\n".join(kept))
        try:
            loaded(folder / "noxfile.py")
        except UsageError as error:
            assert "the noxfile" in error.message  # noqa: PT017
            assert error.where  # noqa: PT017
