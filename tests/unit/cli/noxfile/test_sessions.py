"""Which stages sessions become: their names, parameters and requirements, and the default task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isol8tasks.cli.noxfile.convert import Conversion
from isol8tasks.model.stage import Exec, Shell
from tests.unit.cli.noxfile.conftest import loaded, packages, remarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import TaskFile

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
