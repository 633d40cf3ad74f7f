from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.errors import Location, PlanError
from isol8tasks.model.limits import Limits
from isol8tasks.plan.plan import Plan, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage, Task, TaskFile

    MakeStage = Callable[..., Stage]
    MakeTask = Callable[..., Task]
    MakeFile = Callable[..., TaskFile]
    Mistake = Callable[..., tuple[str, str, str]]


SEE_LIST = "run 'isol8tasks list' to see what is declared"


@pytest.fixture
def mistake(taskfile: MakeFile) -> Any:
    def run(*declared: Stage | Task, goals: Any = (), posargs: Any = ()) -> tuple[str, str, str]:
        with pytest.raises(PlanError) as caught:
            build(taskfile(*declared), goals, posargs=posargs)
        return str(caught.value.where), caught.value.message, caught.value.hint

    return run


def names(plan: Plan) -> tuple[str, ...]:
    return tuple(stage.name for stage in plan.stages)


def test_the_closure_in_order(stage: MakeStage, taskfile: MakeFile) -> None:
    plan = build(
        taskfile(
            stage("summary", input_stages=("unit",), inputs=("ci/**",)),
            stage("unit", requires=("syntax",), outputs=("r.xml",)),
            stage("syntax"),
            stage("other"),
            stage("lint", requires=("syntax",)),
        ),
        ("summary", "lint"),
    )
    assert names(plan) == ("syntax", "unit", "summary", "lint")
    assert plan.root == "/work"
    assert plan.stage("unit").outputs == ("r.xml",)
    assert plan.prerequisites("summary") == ("unit",)
    assert plan.prerequisites("syntax") == ()
    assert plan.dependants("syntax") == ("unit", "lint")
    assert plan.dependants("lint") == ()
    assert [plan.weight(name) for name in names(plan)] == [3, 2, 1, 1]
    with pytest.raises(KeyError):
        plan.stage("other")


def test_declaration_order_is_kept(stage: MakeStage, taskfile: MakeFile) -> None:
    declared = taskfile(stage("b"), stage("a", requires=("b",)), stage("d"), stage("c"))
    assert names(build(declared, ("c", "d", "a"))) == ("b", "a", "d", "c")


def test_goals_may_be_tasks(stage: MakeStage, task: MakeTask, taskfile: MakeFile) -> None:
    declared = taskfile(stage("a"), stage("b"), task("t", "u", "a"), task("u", "a"))
    assert names(build(declared, ("t",))) == ("a",)


def test_a_required_task_stands_for_its_stages(
    stage: MakeStage, task: MakeTask, taskfile: MakeFile
) -> None:
    plan = build(
        taskfile(
            stage("deploy", requires=("checks", "a")),
            stage("a"),
            stage("b"),
            task("checks", "inner", "b"),
            task("inner", "a"),
        ),
        ("deploy",),
    )
    assert names(plan) == ("a", "b", "deploy")
    assert plan.stage("deploy").requires == ("a", "b")
    assert plan.prerequisites("deploy") == ("a", "b")
    assert plan.dependants("b") == ("deploy",)


def test_plans_are_values(stage: MakeStage) -> None:
    a, b = stage("a"), stage("b", requires=("a",))
    plan = Plan(stages=(b,), root="/work")
    assert plan.prerequisites("b") == ()
    assert plan == Plan(stages=(b,), root="/work")
    assert plan != Plan(stages=(a, b), root="/work")
    assert len({plan, Plan(stages=(b,), root="/work")}) == 1


def test_a_chain_of_ten_thousand(stage: MakeStage, taskfile: MakeFile) -> None:
    size = 10_000
    stages = [stage(f"n{i}", requires=(f"n{i + 1}",) * (i < size - 1)) for i in range(size)]
    plan = build(taskfile(*stages), ("n0",))
    assert plan.weight(f"n{size - 1}") == size


def test_unknown_names(stage: MakeStage, task: MakeTask, mistake: Mistake) -> None:
    lint = stage("lint")
    assert mistake(lint, stage("a", requires=("lnit",))) == (
        "isol8file.py:2",
        "stage 'a' requires 'lnit', which is not declared; did you mean 'lint'?",
        SEE_LIST,
    )
    assert mistake(lint, stage("a", input_stages=("zzz",))) == (
        "isol8file.py:3",
        "stage 'a' has the input 'zzz', which is not declared",
        SEE_LIST,
    )
    assert mistake(lint, task("checks", "lint", "lin")) == (
        "isol8file.py:4",
        "task 'checks' has the member 'lin', which is not declared; did you mean 'lint'?",
        SEE_LIST,
    )
    assert mistake(lint, goals=("lintt",)) == (
        "None",
        "there is no stage or task 'lintt'; did you mean 'lint'?",
        SEE_LIST,
    )


def test_cycles(stage: MakeStage, task: MakeTask, mistake: Mistake) -> None:
    hint = "take one of them out of requires= or inputs="
    assert mistake(stage("a", requires=("a",))) == (
        "isol8file.py:1",
        "stages wait for each other: a → a",
        hint,
    )
    ring = (
        stage("free"),
        stage("x", requires=("b",)),
        stage("a", requires=("b",)),
        stage("b", input_stages=("c",)),
        stage("c", requires=("a",), outputs=("o",)),
    )
    assert mistake(*ring, goals=("free",)) == (
        "isol8file.py:5",
        "stages wait for each other: b → c → a → b",
        hint,
    )
    assert mistake(stage("a", requires=("t",)), task("t", "a")) == (
        "isol8file.py:7",
        "stages wait for each other: a → t → a",
        hint,
    )


def test_task_cycles(stage: MakeStage, task: MakeTask, mistake: Mistake) -> None:
    assert mistake(stage("a"), task("t", "a", "u"), task("u", "t")) == (
        "isol8file.py:2",
        "tasks contain each other: t → u → t",
        "take one of them out of the members",
    )


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"files": (("r.xml", b""),)}, "files= and the outputs of 'one'"),
        ({"inputs": ("r.xml",)}, "inputs= and the outputs of 'one'"),
        (
            {"inputs": ("r.xml",), "files": (("r.xml", b""),), "input_stages": ()},
            "files= and inputs=",
        ),
        ({"input_stages": ("one", "two")}, "the outputs of 'one' and the outputs of 'two'"),
    ],
)
def test_colliding_inputs(stage: MakeStage, mistake: Mistake, words: Any, what: str) -> None:
    words = {"input_stages": ("one",), "workdir": "elsewhere", **words}
    declared = (
        stage("one", outputs=("r.xml", "*.log")),
        stage("two", outputs=("r.xml",)),
        stage("a", **words),
    )
    assert mistake(*declared) == (
        "isol8file.py:3",
        f"stage 'a': two inputs give 'r.xml': {what}",
        "let one of them have another path",
    )


def test_inputs_that_do_not_collide(stage: MakeStage, taskfile: MakeFile) -> None:
    declared = taskfile(
        stage("one", outputs=("r.xml", "dist/"), workdir="web"),
        stage("two", outputs=("r.xml", "*.log", "[r].xml", "dist/")),
        stage("a", input_stages=("one", "two"), inputs=("*.xml", "b", "b", "dist/")),
    )
    assert len(build(declared, ("a",)).stages) == 3


def test_outputs_collide_below_their_working_directory(stage: MakeStage, mistake: Mistake) -> None:
    one = stage("one", outputs=("r.xml",), workdir="web")
    a = stage("a", input_stages=("one",), files=(("web/r.xml", b""),))
    assert mistake(one, a)[1] == (
        "stage 'a': two inputs give 'web/r.xml': files= and the outputs of 'one'"
    )


def test_inputs_from_what_has_no_outputs(
    stage: MakeStage, task: MakeTask, mistake: Mistake
) -> None:
    silent = stage("silent")
    assert mistake(silent, stage("a", input_stages=("silent",))) == (
        "isol8file.py:2",
        "stage 'a' has the input 'silent', a stage without outputs",
        "declare outputs= of 'silent', or use requires=['silent']",
    )
    assert mistake(silent, stage("a", input_stages=("t",)), task("t", "silent")) == (
        "isol8file.py:3",
        "stage 'a' has the task 't' among its inputs",
        "only a stage has outputs: name the stages, or use requires=",
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"disk": "512m"}, "stage 'a': disk 512m is not below memory 512m"),
        ({"disk": "1g", "memory": "64m"}, "stage 'a': disk 1g is not below memory 64m"),
    ],
)
def test_disk_and_memory(stage: MakeStage, mistake: Mistake, limits: Any, message: str) -> None:
    assert mistake(stage("other"), stage("a", limits=Limits.of(**limits))) == (
        "isol8file.py:2",
        message,
        "files in memory-backed mounts count as memory: disk must stay below memory",
    )


def test_little_memory_alone_is_fine(stage: MakeStage, taskfile: MakeFile) -> None:
    declared = taskfile(stage("a", limits=Limits.of(memory="64m")))
    assert build(declared, ("a",)).stage("a").limits.disk == 32 << 20


def test_posargs(stage: MakeStage, mistake: Mistake, taskfile: MakeFile) -> None:
    plain, taking = stage("plain"), stage("taking", posargs=True)
    after = stage("after", requires=("taking",))
    assert build(taskfile(plain, taking, after), ("after",), posargs=["x"]).posargs == ("x",)
    assert mistake(taking, plain, goals=("plain",), posargs=["x"]) == (
        "isol8file.py:1",
        "no selected stage takes the arguments after '--'",
        "set posargs=True on the stage that is to take them",
    )


def test_the_error_has_data(stage: MakeStage, taskfile: MakeFile) -> None:
    with pytest.raises(PlanError) as caught:
        build(taskfile(stage("a", requires=("b",))), ())
    assert caught.value.where == Location("isol8file.py", 1)


def test_only_these(stage: MakeStage, task: MakeTask, taskfile: MakeFile) -> None:
    declared = taskfile(
        stage("made", outputs=("o",)),
        stage("before"),
        stage("a", requires=("before",), input_stages=("made",)),
        stage("b", requires=("a",)),
        task("both", "b", "a"),
    )
    plan = build(declared, ["both"], only=True)
    assert [each.name for each in plan.stages] == ["a", "b"]
    assert plan.prerequisites("b") == ("a",)
    assert plan.prerequisites("a") == ()
    assert plan.left_out == {"made"}
    assert build(declared, ["both"]).left_out == frozenset()
