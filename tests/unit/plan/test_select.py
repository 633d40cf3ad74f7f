from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.errors import PlanError, UsageError
from isol8tasks.plan.keywords import parse_keywords
from isol8tasks.plan.select import select

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage, Task, TaskFile

    MakeStage = Callable[..., Stage]
    MakeTask = Callable[..., Task]
    MakeFile = Callable[..., TaskFile]


SEE_LIST = "run 'isol8tasks list' to see what is declared"


@pytest.fixture
def declared(stage: MakeStage, task: MakeTask, taskfile: MakeFile) -> Any:
    return taskfile(
        stage("lint", tags=("quick",)),
        stage("unit-3.11", tags=("matrix", "slow")),
        stage("unit-3.12", tags=("matrix",)),
        stage("build", tags=("Web",)),
        task("units", "unit-3.12", "unit-3.11"),
        task("checks", "units", "lint", default=True),
    )


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, "lint unit-3.11 unit-3.12"),
        ({"targets": ["build", "lint"]}, "lint build"),
        ({"targets": ["units"]}, "unit-3.11 unit-3.12"),
        ({"targets": ["checks", "build"]}, "lint unit-3.11 unit-3.12 build"),
        ({"tags": ["matrix"]}, "unit-3.11 unit-3.12"),
        ({"tags": ["slow", "Web"]}, "unit-3.11 build"),
        ({"targets": ["unit-3.12", "lint"], "tags": ["matrix"]}, "unit-3.12"),
        ({"keywords": "unit"}, "unit-3.11 unit-3.12"),
        ({"keywords": "not unit"}, "lint build"),
        ({"keywords": "unit-3.11 or web"}, "unit-3.11 build"),
        ({"keywords": "MATRIX and not (slow or lint)"}, "unit-3.12"),
        ({"keywords": "unit", "tags": ["slow"]}, "unit-3.11"),
        ({"skip": ["units"]}, "lint"),
        ({"targets": ["checks"], "skip": ["unit-3.11"]}, "lint unit-3.12"),
    ],
)
def test_selection(declared: Any, asked: Any, names: Any) -> None:
    assert select(declared, **asked) == tuple(names.split())


@pytest.fixture
def workspace(stage: MakeStage, task: MakeTask, taskfile: MakeFile) -> Any:
    """A root, seen from the package `p`, with `p/q` below it."""
    found = taskfile(
        stage("unit"),
        stage("//p:unit", folder="p", tags=("slow",)),
        stage("//p:lint", folder="p"),
        stage("//p/q:unit", folder="p/q", requires=("//elsewhere:x",)),
        stage("//pp:unit", folder="pp"),
        task("checks", "unit", "//p:checks", default=True),
        task("//p:checks", "//p:lint", default=True),
        task("//pp:all", "//elsewhere:all", "//pp:unit"),
    )
    folders = frozenset({"", "p", "p/q", "pp"})
    return attrs.evolve(found, folder="p", folders=folders)


def test_nothing_of_a_task_file_that_was_not_read_is_left_out_silently(workspace: Any) -> None:
    with pytest.raises(PlanError, match="the task file of '//elsewhere:all' was not read"):
        select(workspace, targets=["//pp:all"])


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, "//p:lint"),
        ({"keywords": "unit"}, "//p:unit"),
        ({"tags": ["slow"]}, "//p:unit"),
        ({"below": ""}, "unit //p:unit //p:lint //p/q:unit //pp:unit"),
        ({"below": "p"}, "//p:unit //p:lint //p/q:unit"),
        ({"below": "p", "keywords": "unit"}, "//p:unit //p/q:unit"),
        ({"below": "p", "skip": ["//p:checks"]}, "//p:unit //p/q:unit"),
        ({"targets": ["checks"]}, "unit //p:lint"),
        ({"targets": ["unit", "//p:unit"], "keywords": "not slow"}, "unit"),
    ],
)
def test_selection_in_a_workspace(workspace: Any, asked: Any, names: str) -> None:
    assert select(workspace, **asked) == tuple(names.split())


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("//p:unt", "; did you mean '//p:unit'?"),
        ("//p:zzz", ""),
        ("//p/q:lint", ""),
        ("lint", ""),
        ("unti", "; did you mean 'unit'?"),
    ],
)
def test_a_guess_is_from_the_same_task_file(workspace: Any, name: str, guess: str) -> None:
    with pytest.raises(PlanError) as caught:
        select(workspace, targets=[name])
    assert caught.value.message == f"there is no stage or task '{name}'{guess}"


def test_without_a_default_everything(stage: MakeStage, task: MakeTask, taskfile: MakeFile) -> None:
    assert select(taskfile(stage("b"), stage("a"), task("t", "a"))) == ("b", "a")


def test_tasks_that_contain_each_other_end(
    stage: MakeStage, task: MakeTask, taskfile: MakeFile
) -> None:
    declared = taskfile(stage("a"), task("t", "u", "a"), task("u", "t"))
    assert select(declared, targets=["u"]) == ("a",)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"targets": ["lin"]}, "there is no stage or task 'lin'; did you mean 'lint'?"),
        ({"targets": ["qqq"]}, "there is no stage or task 'qqq'"),
        ({"skip": ["check"]}, "there is no stage or task 'check'; did you mean 'checks'?"),
        ({"keywords": "nightly"}, "nothing is selected: no stage matches 'nightly'"),
        (
            {"targets": ["lint"], "tags": ["matrix", "slow"], "keywords": "a"},
            "nothing is selected: no stage has the tag 'matrix' or 'slow' and matches 'a'",
        ),
        ({"skip": ["checks"]}, "nothing is selected: no stage is left by --skip checks"),
    ],
)
def test_nothing_to_select(declared: Any, asked: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        select(declared, **asked)
    assert (caught.value.where, caught.value.message, caught.value.hint) == (
        None,
        message,
        SEE_LIST,
    )


@pytest.mark.parametrize(("tag", "guess"), [("matrx", "; did you mean 'matrix'?"), ("nightly", "")])
def test_a_tag_that_no_stage_has(declared: Any, tag: str, guess: str) -> None:
    with pytest.raises(PlanError) as caught:
        select(declared, tags=[tag])
    assert caught.value.message == f"no stage has the tag '{tag}'{guess}"
    assert caught.value.hint == "there are the tags quick, matrix, slow, Web"


def test_a_wrong_reference_is_found_first(stage: MakeStage, taskfile: MakeFile) -> None:
    with pytest.raises(PlanError, match=r"^stage 'a' requires 'b', which is not declared$"):
        select(taskfile(stage("a", requires=("b",))))


@pytest.mark.parametrize(
    "expression",
    [
        " ",
        "a and",
        "and",
        "not",
        "a b",
        "(a",
        "a)",
        "()",
        "a (b)",
        "a and (b (c))",
        "a or a(b)",
    ],
)
def test_bad_keywords(declared: Any, expression: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(declared, keywords=expression)
    assert type(caught.value) is UsageError
    assert caught.value.message == f"'{expression}' is not a keyword expression"
    assert caught.value.hint == "combine parts of names and tags with and, or, not and parentheses"


@pytest.mark.parametrize("expression", ["(" * 300 + "a" + ")" * 300, "not " * 100_000 + "a"])
def test_keywords_without_end(expression: str) -> None:
    with pytest.raises(UsageError):
        parse_keywords(expression)


@pytest.mark.parametrize("word", ["__import__", "a.b", "1", "'x'", "a,b", "x=1", "if", "True", "ä"])
def test_any_other_text_is_a_word(word: str) -> None:
    assert parse_keywords(word).match([f"-{word}-"])
    assert not parse_keywords(word).match(["-"])


WORDS = st.sampled_from(["a", "b", "c.d", "E"])
TREES = st.recursive(
    WORDS,
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.just("and"), inner, inner)
        | st.tuples(st.just("or"), inner, inner)
    ),
    max_leaves=12,
)


def written(tree: Any) -> str:
    match tree:
        case str(word):
            return word
        case ("not", inner):
            return f"not ({written(inner)})"
        case (operator, left, right):
            return f"({written(left)}) {operator} ({written(right)})"
    raise AssertionError(tree)


def meant(tree: Any, names: list[str]) -> bool:
    match tree:
        case str(word):
            return any(word.lower() in name.lower() for name in names)
        case ("not", inner):
            return not meant(inner, names)
        case ("and", left, right):
            return meant(left, names) and meant(right, names)
        case (_, left, right):
            return meant(left, names) or meant(right, names)
    raise AssertionError(tree)


@given(TREES, st.lists(WORDS))
def test_keywords_mean_what_they_say(tree: Any, names: Any) -> None:
    assert parse_keywords(written(tree)).match(names) == meant(tree, names)


@given(st.text(alphabet="ab() \tandort.", max_size=30))
def test_keywords_never_break(expression: str) -> None:
    with contextlib.suppress(UsageError):
        parse_keywords(expression).match(["a", "b"])


@pytest.mark.parametrize("members", [("t",), ("u",)])
def test_tasks_that_only_contain_each_other_are_a_cycle(
    stage: MakeStage, task: MakeTask, taskfile: MakeFile, members: tuple[str, ...]
) -> None:
    declared = taskfile(stage("a"), task("t", *members), task("u", "t"))
    with pytest.raises(PlanError, match=r"^tasks contain each other: t → ") as caught:
        select(declared, targets=("t",))
    assert caught.value.where is not None
