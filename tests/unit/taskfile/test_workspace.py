"""What is asked of a workspace: what it finds, what runs for that, and what is wrong then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isol8tasks.plan.plan import build
from isol8tasks.plan.select import select
from isol8tasks.taskfile.workspace import Problems
from tests.unit.taskfile.conftest import Tree, declared, error_of

if TYPE_CHECKING:
    from isol8tasks.model.stage import TaskFile

SEE_ALL = "run 'isol8tasks list' in the workspace's root to see what is declared"


@pytest.mark.parametrize(
    ("start", "targets", "found", "ran"),
    [
        ("", ["unit"], ["unit"], {".", "a", "b/c"}),
        ("", ["alone"], ["alone"], {"."}),
        ("", [], [], {".", "a", "b/c"}),
        ("d", [], [], {"d"}),
        ("d", ["d"], ["//d:d"], {"d"}),
        ("d", ["//b/c:c"], ["//b/c:c"], {"b/c"}),
        ("b", ["c:c"], ["//b/c:c"], {"b/c"}),
        ("b", ["alone"], ["alone"], {"."}),
        ("b", ["c/...", ":alone"], ["//b/c:c", "alone"], {".", "b/c"}),
        ("", ["b/...:c"], ["//b/c:c"], {"b/c"}),
        ("", ["//b/...:all", "d:d"], ["//b/c:all", "//d:d"], {"b/c", "d"}),
    ],
)
def test_only_what_is_needed_runs(
    chain: Tree, start: str, targets: list[str], found: list[str], ran: set[str]
) -> None:
    request = chain.at(start).request(targets)
    assert request.targets == tuple(found)
    assert chain.ran == ran
    assert {"" if folder == "." else folder for folder in ran} == request.taskfile.folders


def test_a_file_runs_once(tree: Tree) -> None:
    tree.write(
        root="with open('runs', 'a') as runs:\n    print(end='x', file=runs)\n"
        + declared("a")
        + declared("b"),
        p=declared("c", "requires=['//:a', '//:b']"),
    )
    workspace = tree.at()
    workspace.request(["//p:c", "a", "//...:b"], skip=["b"])
    workspace.request([], below="")
    assert (tree.root / "runs").read_text() == "x"


def test_skipped_names_are_looked_up_too(chain: Tree) -> None:
    request = chain.at("b/c").request(["c"], skip=["//d:d", "...:c"])
    assert request.skip == ("//d:d", "//b/c:c")
    assert chain.ran == {"b/c", "d"}


def test_the_same_name_twice_is_one(chain: Tree) -> None:
    targets = ["//d:d", "d:d", "//...:d"]
    (chain.root / "broken/isol8file.py").unlink()
    assert chain.at().request(targets).targets == ("//d:d",)


def test_a_pattern_without_a_name_is_what_runs_by_default(tree: Tree) -> None:
    tree.write(
        root=declared("a"),
        p=declared("b") + declared("c") + "task('t', 'b', default=True)\n",
        q=declared("d") + declared("e"),
    )
    assert tree.at().request(["//..."]).targets == ("a", "//p:t", "//q:d", "//q:e")
    assert tree.at("p").request(["..."]).targets == ("//p:t",)


@pytest.mark.parametrize(
    ("start", "targets", "message", "hint"),
    [
        ("", ["zz:a"], "there is no 'zz:a': there is no zz/isol8file.py", SEE_ALL),
        ("", ["//b:a"], "there is no '//b:a': there is no b/isol8file.py", SEE_ALL),
        ("b", ["//zz:a"], "there is no '//zz:a': there is no zz/isol8file.py", SEE_ALL),
        ("b", ["zz:a"], "there is no 'zz:a': there is no b/zz/isol8file.py", SEE_ALL),
        ("", ["//zz/..."], "'//zz/...' matches no task file", SEE_ALL),
        ("", ["d/...:x"], "'d/...:x' matches no stage and no task", SEE_ALL),
        (
            "",
            ["b/...:al"],
            "'b/...:al' matches no stage and no task; did you mean 'all'?",
            SEE_ALL,
        ),
        (
            "",
            ["//d"],
            "'//d' names no stage and no task",
            "write //d:NAME, or //d/... for all below it",
        ),
    ],
)
def test_targets_that_are_not_there(
    chain: Tree, start: str, targets: list[str], message: str, hint: str
) -> None:
    assert error_of(chain.at(start), *targets) == ("None", message, hint)


@pytest.fixture
def patterns(tree: Tree) -> Tree:
    """A root whose tasks stand for what two packages declare."""
    tasks = "task('all', '//s/...', 'unit')\ntask('checks', '...:checks')\n"
    text = declared("unit") + declared("lint") + "task('checks', 'unit', default=True)\n"
    tree.write(root=declared("unit") + tasks, **{"s/a": text, "s/b": text})
    return tree


@pytest.mark.parametrize(
    ("target", "task", "members"),
    [
        ("all", "all", ("//s/a:checks", "//s/b:checks", "unit")),
        ("checks", "checks", ("//s/a:checks", "//s/b:checks")),
    ],
)
def test_a_pattern_as_a_member(
    patterns: Tree, target: str, task: str, members: tuple[str, ...]
) -> None:
    found = patterns.at().request([target]).taskfile
    assert {each.name: each.members for each in found.tasks}[task] == members
    assert patterns.ran == {".", "s/a", "s/b"}
    root = ["unit"] if target == "all" else []
    assert sorted(_planned(found, target)) == ["//s/a:unit", "//s/b:unit", *root]


def _planned(found: TaskFile, target: str) -> list[str]:
    return [stage.name for stage in build(found, [target]).stages]


@pytest.mark.parametrize("target", ["unit", "//s/a:checks", "checks"])
def test_a_pattern_that_nobody_asked_for(patterns: Tree, target: str) -> None:
    found = patterns.at().request([target]).taskfile
    assert _planned(found, target)
    assert (
        patterns.ran
        == {
            "unit": {"."},
            "//s/a:checks": {"s/a"},
            "checks": {".", "s/a", "s/b"},
        }[target]
    )


def test_without_a_target_only_what_runs_by_default_is_needed(patterns: Tree) -> None:
    patterns.write(broken="1 / 0\n", root=declared("unit") + "task('all', '//...')\n")
    found = patterns.at().request([]).taskfile
    assert select(found) == ("unit",)
    assert patterns.ran == {"."}


def test_a_pattern_that_matches_nothing(tree: Tree) -> None:
    tree.write(p=declared("a") + "task('t', 'a', '...:b', '//q/...')\n")
    assert error_of(tree.at(), "//p:t") == (
        "p/isol8file.py:5",
        "'//p/...:b' matches no stage and no task",
        SEE_ALL,
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            declared("a", "requires=['//zz:x']"),
            4,
            "stage '//p:a' requires '//zz:x': there is no zz/isol8file.py",
        ),
        (
            declared("a", "inputs=['//zz:x']"),
            4,
            "stage '//p:a' requires '//zz:x': there is no zz/isol8file.py",
        ),
        (
            declared("b") + "task('a', 'b', '//zz:x')\n",
            5,
            "task '//p:a' has the member '//zz:x': there is no zz/isol8file.py",
        ),
        (
            declared("a", "requires=['q:x']"),
            4,
            "stage '//p:a' requires '//p/q:x': there is no p/q/isol8file.py",
        ),
        (
            declared("a", r"requires=['//zz\0:x']"),
            4,
            "stage '//p:a' requires '//zz\0:x': there is no zz\0/isol8file.py",
        ),
        (
            declared("a", "requires=['//' + 'z' * 300 + ':x']"),
            4,
            f"stage '//p:a' requires '//{'z' * 300}:x': there is no {'z' * 300}/isol8file.py",
        ),
    ],
)
def test_a_prerequisite_in_no_task_file(tree: Tree, text: str, line: int, message: str) -> None:
    tree.write(p=text)
    assert error_of(tree.at(), "//p:a") == (f"p/isol8file.py:{line}", message, SEE_ALL)


def test_a_prerequisite_in_a_broken_file_is_that_files_error(tree: Tree) -> None:
    tree.write(p=declared("a", "requires=['//q:b']"), q="\n1 / 0\n")
    assert error_of(tree.at(), "//p:a") == (
        "q/isol8file.py:5",
        "ZeroDivisionError: division by zero",
        "run 'PYTHONPATH=. python q/isol8file.py' to see the whole traceback",
    )


def test_a_broken_file_elsewhere_is_no_concern(chain: Tree) -> None:
    chain.at().request(["unit", "//d:d"])
    chain.at().request(["b/...:c"])


def test_patterns_meet_every_broken_file(chain: Tree) -> None:
    assert error_of(chain.at(), "//...:d")[:2] == (
        "broken/isol8file.py:4",
        "ZeroDivisionError: division by zero",
    )
    chain.write(other="x = \n")
    for words in ({"targets": ["//...:d"]}, {"targets": [], "below": ""}):
        with pytest.raises(Problems) as caught:
            chain.at().request(**words)
        assert caught.value.message == "2 task files are wrong"
        assert [str(error.where) for error in caught.value.errors] == [
            "broken/isol8file.py:4",
            "other/isol8file.py:4",
        ]


def test_all_that_can_be_loaded_is(chain: Tree) -> None:
    workspace = chain.at()
    files, errors = workspace.load_all(workspace.everything())
    assert [file.folder for file in files] == ["", "a", "b/c", "d"]
    assert [str(error.where) for error in errors] == ["broken/isol8file.py:4"]
    together = workspace.together(files)
    assert [stage.name for stage in together.stages] == [
        "unit",
        "alone",
        "//a:a",
        "//b/c:c",
        "//d:d",
    ]
    assert (together.root, together.folder) == (str(chain.root), "")
