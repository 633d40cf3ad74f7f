"""Addresses across task files: what they name, and what is said of those that name nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import declared, failed, stages

if TYPE_CHECKING:
    from tests.cli.conftest import At, Program, Write

SEE_ALL = "  hint: run 'isol8tasks list' in the workspace's root to see what is declared\n"
SEE_LIST = "  hint: run 'isol8tasks list' to see what is declared\n"
FORMS = "  hint: write unit, path/to/package:unit or //path/from/the/root:unit\n"
NAMES = (
    "  hint: a name has up to 100 of the characters A-Z a-z 0-9 . _ + - and starts with a letter "
    "or a digit\n"
)

ADDRESSES = [
    ("", "unit", "unit"),
    ("", ":unit", "unit"),
    ("", "//:unit", "unit"),
    ("", "services/api:lint", "//services/api:lint"),
    ("", "./services/api/:lint", "//services/api:lint"),
    ("", "//libs/core:unit", "//libs/core:unit"),
    ("", "services/...:lint", "//services/api:lint"),
    ("", "//...:wheel", "//libs/core:wheel"),
    ("", "//services/...:checks", "//services/api:unit //services/api:lint"),
    ("", "...:unit", "unit //libs/core:unit //services/api:unit //services/web:unit"),
    ("services", "api:lint", "//services/api:lint"),
    ("services", "...:unit", "//services/api:unit //services/web:unit"),
    ("services", "unit", "unit"),
    ("services", ".:unit", None),
    ("services/api", "lint", "//services/api:lint"),
    ("services/api", ":checks", "//services/api:unit //services/api:lint"),
    ("services/api", "//:unit", "unit"),
    ("services/api", "//services/web:unit", "//services/web:unit"),
    ("services/api", "...", "//services/api:unit //services/api:lint"),
    ("services/api/src/deep", "lint", "//services/api:lint"),
    ("services/api/src/deep", ":lint", "//services/api:lint"),
    ("services/api/src/deep", "api:lint", None),
]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("start", "target", "names"), ADDRESSES)
def test_an_address(at: At, start: str, target: str, names: str | None) -> None:
    ran = at(start)("list", "--json", target)
    if names is None:
        assert ran.code == 2
        assert ran.stderr.startswith(f"error: there is no '{target}': there is no ")
    else:
        assert stages(ran) == names.split()


BAD_ADDRESSES = [
    (
        "//a",
        (
            "error: '//a' names no stage and no task\n"
            "  hint: write //a:NAME, or //a/... for all below it\n"
        ),
    ),
    ("//a/../b:x", f"error: '//a/../b:x' is not the address of a stage or a task\n{FORMS}"),
    ("../b:x", f"error: '../b:x' is not the address of a stage or a task\n{FORMS}"),
    ("a//b", f"error: 'a//b' is not the address of a stage or a task\n{FORMS}"),
    ("/a:b", f"error: '/a:b' is not the address of a stage or a task\n{FORMS}"),
    ("", f"error: '' is not the address of a stage or a task\n{NAMES}"),
    ("services/api:", f"error: 'services/api:' is not the address of a stage or a task\n{NAMES}"),
    (
        "//:x",
        f"error: there is no stage or task 'x'\n{SEE_LIST}",
    ),
    (
        "services/api:unt",
        (
            "error: there is no stage or task '//services/api:unt'; "
            f"did you mean '//services/api:unit'?\n{SEE_LIST}"
        ),
    ),
    ("wheel", f"error: there is no stage or task 'wheel'\n{SEE_LIST}"),
    ("nope:x", f"error: there is no 'nope:x': there is no nope/isol8file.py\n{SEE_ALL}"),
    (
        "services:unit",
        f"error: there is no 'services:unit': there is no services/isol8file.py\n{SEE_ALL}",
    ),
    ("//nope/...", f"error: '//nope/...' matches no task file\n{SEE_ALL}"),
    (
        "//...:whel",
        f"error: '//...:whel' matches no stage and no task; did you mean 'wheel'?\n{SEE_ALL}",
    ),
    (
        "//services/...:wheel",
        f"error: '//services/...:wheel' matches no stage and no task\n{SEE_ALL}",
    ),
    (
        "//" + "x" * 300 + ":a",
        f"error: there is no '//{'x' * 300}:a': there is no {'x' * 300}/isol8file.py\n{SEE_ALL}",
    ),
]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(("target", "err"), BAD_ADDRESSES)
def test_a_bad_address(isol8tasks: Program, target: str, err: str) -> None:
    failed(isol8tasks("list", target), err)
    failed(isol8tasks("graph", target), err)


BAD_REQUIRES = {
    "a pattern": (
        "requires=['//...:unit']",
        (
            "error: stage 'a': requires: '//...:unit' is a pattern, which only a task takes\n"
            "  --> p/isol8file.py:2\n"
            "  hint: name one stage or task: '//path:unit'\n"
        ),
    ),
    "a path without a name": (
        "requires=['//q']",
        (
            "error: stage 'a': requires: '//q' names no stage and no task\n"
            "  --> p/isol8file.py:2\n"
            "  hint: write //q:NAME, or //q/... for all below it\n"
        ),
    ),
    "a path that leaves": (
        "requires=['//p/../q:b']",
        (
            "error: stage 'a': requires: '//p/../q:b' is not the address of a stage or a task\n"
            f"  --> p/isol8file.py:2\n{FORMS}"
        ),
    ),
    "nothing": (
        "requires=['']",
        f"error: stage 'a': requires: '' is not a name\n  --> p/isol8file.py:2\n{NAMES}",
    ),
    "a name in this file": (
        "requires=['nope']",
        (
            "error: stage '//p:a' requires '//p:nope', which is not declared\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "a name in another file": (
        "requires=['//q:bb']",
        (
            "error: stage '//p:a' requires '//q:bb', which is not declared; did you mean '//q:b'?\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "a name that only another file has": (
        "requires=['b']",
        (
            "error: stage '//p:a' requires '//p:b', which is not declared\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "a folder without a task file": (
        "requires=['//zz:b']",
        (
            "error: stage '//p:a' requires '//zz:b': there is no zz/isol8file.py\n"
            f"  --> p/isol8file.py:2\n{SEE_ALL}"
        ),
    ),
    "a path from the root that is not": (
        "requires=['q:b']",
        (
            "error: stage '//p:a' requires '//p/q:b': there is no p/q/isol8file.py\n"
            f"  --> p/isol8file.py:2\n{SEE_ALL}"
        ),
    ),
    "a pattern as an input": (
        "inputs=['//...:b']",
        (
            "error: stage 'a': inputs: '//...:b' is a pattern, which only a task takes\n"
            "  --> p/isol8file.py:2\n"
            "  hint: name one stage or task: '//path:unit'\n"
        ),
    ),
    "an input that is not declared": (
        "inputs=[':zz']",
        (
            "error: stage '//p:a' has the input '//p:zz', which is not declared\n"
            f"  --> p/isol8file.py:2\n{SEE_LIST}"
        ),
    ),
    "an input without outputs": (
        "inputs=['//q:b']",
        (
            "error: stage '//p:a' has the input '//q:b', a stage without outputs\n"
            "  --> p/isol8file.py:2\n"
            "  hint: declare outputs= of '//q:b', or use requires=['//q:b']\n"
        ),
    ),
    "a task as an input": (
        "inputs=['//q:t']",
        (
            "error: stage '//p:a' has the task '//q:t' among its inputs\n"
            "  --> p/isol8file.py:2\n"
            "  hint: only a stage has outputs: name the stages, or use requires=\n"
        ),
    ),
    "itself over another file": (
        "requires=['//q:back']",
        (
            "error: stages wait for each other: //p:a → //q:back → //p:a\n"
            "  --> p/isol8file.py:2\n"
            "  hint: take one of them out of requires= or inputs=\n"
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_REQUIRES)
def test_a_bad_prerequisite(isol8tasks: Program, write: Write, name: str) -> None:
    words, err = BAD_REQUIRES[name]
    back = declared("back", "requires=['//p:a']")
    write(p=declared("a", words), q=declared("b") + "task('t', 'b')\n" + back)
    failed(isol8tasks("graph", "//p:a"), err)


def test_a_bad_member(isol8tasks: Program, write: Write) -> None:
    write(p=declared("a") + "task('t', 'a', '//q:bb')\n", q=declared("b"))
    failed(
        isol8tasks("graph", "p:t"),
        "error: task '//p:t' has the member '//q:bb', which is not declared; "
        f"did you mean '//q:b'?\n  --> p/isol8file.py:3\n{SEE_LIST}",
    )


def test_a_cycle_over_three_files(isol8tasks: Program, write: Write, at: At) -> None:
    write(
        root=declared("unit", "requires=['//p:t']"),
        p=declared("a", "requires=['//q:b']") + "task('t', 'a')\n",
        q=declared("b", "requires=['//:unit']"),
    )
    err = (
        "error: stages wait for each other: unit → //p:t → //p:a → //q:b → unit\n"
        "  --> {}isol8file.py:2\n"
        "  hint: take one of them out of requires= or inputs=\n"
    )
    failed(isol8tasks("graph"), err.format(""))
    ran = at("q")("graph")
    assert (ran.code, "stages wait for each other: " in ran.stderr) == (2, True)


def test_a_task_of_a_pattern(isol8tasks: Program, write: Write) -> None:
    """It stands for all of that name but itself, and is no pattern of stages."""
    write(
        root=declared("own") + "task('checks', '//...:checks', default=True)\n",
        **{name: declared("one") + "task('checks', 'one')\n" for name in ("p", "q/r")},
    )
    assert stages(isol8tasks("list", "--json", "checks")) == ["//p:one", "//q/r:one"]
    assert "* checks        //...:checks\n" in isol8tasks("list").stdout
    write(root=declared("own", "requires=['//...:checks']"))
    failed(
        isol8tasks("list", ":own"),
        "error: stage 'own': requires: '//...:checks' is a pattern, which only a task takes\n"
        "  --> isol8file.py:2\n"
        "  hint: name one stage or task: '//path:unit'\n",
    )


def test_a_pattern_that_contains_itself(isol8tasks: Program, write: Write) -> None:
    text = declared("one") + "task('checks', '//...:checks')\n"
    write(root=text, p=text)
    failed(
        isol8tasks("graph", "checks"),
        "error: tasks contain each other: checks → //p:checks → checks\n"
        "  --> isol8file.py:3\n"
        "  hint: take one of them out of the members\n",
    )
