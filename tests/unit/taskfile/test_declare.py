from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pathspec import PathSpec

from isol8tasks import Image, Network, secret, stage, task
from isol8tasks.errors import Location
from isol8tasks.model.limits import Limit
from isol8tasks.model.stage import Exec, PythonSource, Secret, Shell
from isol8tasks.taskfile.path import glob

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import TaskFile

    Load = Callable[[str], TaskFile]


def test_every_word(declare: Load) -> None:
    taskfile = declare(
        """
first = stage("first", image=py, run="true", outputs=["out/*.xml", "out/*.xml"])
goal = task("goal", first)
stage(
    "a", image=py.pip("attrs"), run="echo hi", inputs=["./src//**", first, "docs/"],
    outputs=["r.xml"], requires=[first, goal, "first"], stdin="é",
    files={"b": b"\\xff", "./a": "x"}, env={"B": "2", "A": "1"}, secrets=[secret("T")],
    network=Network.allow("b", "a"),
    timeout="2m", memory="64m", cpus=0.5, pids=9, disk="1k", output_limit=100, retries=2,
    allow_failure=True, cache=False, tags=["x", "y"], posargs=True, description=" d ",
    workdir="./web/",
)
"""
    )
    first, a = taskfile.stages
    assert first.outputs == ("out/*.xml",)
    assert a.image == Image.python().pip("attrs")
    assert a.command == Shell(("echo hi",))
    assert a.declared_at == Location("isol8file.py", 6)
    assert (a.inputs, a.input_stages) == (("src/**", "docs/"), ("first",))
    assert (a.outputs, a.requires) == (("r.xml",), ("first", "goal"))
    assert a.stdin == "é".encode()
    assert a.files == (("a", b"x"), ("b", b"\xff"))
    assert a.env == (("A", "1"), ("B", "2"))
    assert a.secrets == (Secret("T"),)
    assert a.network == Network.allow("a", "b")
    limits = a.limits
    assert (limits.timeout, limits.memory, limits.cpus, limits.pids) == (120.0, 64 << 20, 0.5, 9)
    assert (limits.disk, limits.output_limit, limits.stated) == (1024, 100, frozenset(Limit))
    assert (a.retries, a.allow_failure, a.cache, a.posargs) == (2, True, False, True)
    assert (a.tags, a.description, a.workdir) == (("x", "y"), "d", "web")


def test_defaults(declare: Load) -> None:
    (a,) = declare('stage("a", image=py, run="x")').stages
    assert a.inputs is None
    assert (a.outputs, a.requires, a.stdin, a.files, a.env) == ((), (), b"", (), ())
    assert (a.network, a.limits.stated, a.cache, a.workdir) == (
        Network.none(),
        frozenset(),
        None,
        "",
    )


@pytest.mark.parametrize(
    ("run", "command"),
    [
        ("a\nb", Shell(("a\nb",))),
        (["a", "b"], Shell(("a", "b"))),
        (("a", "", "c d"), Exec(("a", "", "c d"))),
    ],
)
def test_commands(run: Any, command: Any) -> None:
    assert stage("a", image=Image.bash(), run=run).command == command


def test_none_is_the_default() -> None:
    a = stage("a", image=Image.bash(), run="x", inputs=None, env=None, timeout=None, tags=None)
    assert a == stage("a", image=Image.bash(), run="x") or a.declared_at.line
    assert (a.inputs, a.env, a.limits.timeout) == (None, (), 30.0)


def test_no_inputs_are_not_all_inputs() -> None:
    assert stage("a", image=Image.bash(), run="x", inputs=[]).inputs == ()


def test_outside_a_load_values_are_returned() -> None:
    first = stage("a", image=Image.bash(), run="x")
    assert first.declared_at.path.endswith("test_declare.py")
    assert task("t", first, "b", first).members == ("a", "b")
    assert stage("a", image=Image.bash(), run="x").name == "a"
    assert secret("TOKEN") == Secret("TOKEN")


def test_python_stage(declare: Load) -> None:
    (stage_,) = declare(
        '''
@stage.python(
    image=py,
    timeout="3s",
)
def check():
    """Reads
    two lines.

    And more.
    """
'''
    ).stages
    assert stage_.name == "check"
    assert stage_.description == "Reads two lines."
    assert stage_.declared_at == Location("isol8file.py", 4)
    assert isinstance(stage_.command, PythonSource)
    assert stage_.command.name == "check"
    assert stage_.limits.timeout == 3.0


def test_a_stated_description_wins(declare: Load) -> None:
    text = "@stage.python(image=py, description='b')\ndef f():\n    'a'\n"
    assert declare(text).stages[0].description == "b"


def test_one_decorator_for_several(declare: Load) -> None:
    taskfile = declare(
        "check = stage.python(image=py, tags=['t'])\n@check\ndef a(): ...\n@check\ndef b(): ...\n"
    )
    assert [(s.name, s.declared_at.line, s.tags) for s in taskfile.stages] == [
        ("a", 4, ("t",)),
        ("b", 6, ("t",)),
    ]


GLOBS = [
    "**", "src/**", "**/*.py", "a/**/b", "[ab]", "[!a]x", "[]]", "[!]]x", "[^a-z]", "\\[x", "\\!x",
    "a[\\]", "*.tar.gz", "docs/", "a b", "é*", "?",
]  # fmt: skip


@pytest.mark.parametrize("text", GLOBS)
def test_good_globs_are_good_for_pathspec(text: str) -> None:
    assert glob(text) == text
    assert PathSpec.from_lines("gitignore", ["/" + text])
