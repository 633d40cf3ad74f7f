from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend.contract import Stream
from isol8tasks.engine.output import KEEP
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import Exit, Phase, StopReason, Verdict
from isol8tasks.model.stage import Secret
from isol8tasks.testing import FakeBackend, FakeProcess, ManualClock, MemoryInputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage
    from tests.unit.engine.conftest import Bench

    MakeStage = Callable[..., Stage]


@pytest.mark.parametrize(
    ("ended", "verdict", "reason"),
    [
        (Exit(code=0), Verdict.PASSED, ""),
        (Exit(code=3), Verdict.FAILED, "exit code 3"),
        (Exit(code=139, signal="SIGSEGV"), Verdict.FAILED, "killed by SIGSEGV"),
        (
            Exit(code=0, limit=Limit.MEMORY),
            Verdict.OUT_OF_MEMORY,
            "needed more than 512m of memory",
        ),
        (Exit(code=1, limit=Limit.DISK), Verdict.DISK_FULL, "wrote more than 256m"),
        (Exit(code=0, limit=Limit.DISK), Verdict.PASSED, ""),
    ],
)
def test_verdicts(
    bench: Bench, stage: MakeStage, ended: Exit, verdict: Verdict, reason: str
) -> None:
    bench.backend = FakeBackend(programs={"it": lambda _: ended})
    result = bench.attempt(stage("s", "it"))
    phase = Phase.DONE if verdict is Verdict.PASSED else Phase.RUN
    assert (result.verdict, result.reason, result.phase) == (verdict, reason, phase)
    assert (result.exit_code, result.signal) == (ended.code, ended.signal)
    assert bench.backend.alive == 0


def test_the_time_limit_is_the_clocks(bench: Bench, stage: MakeStage) -> None:
    bench.clock = clock = ManualClock()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(bench.attempt(stage("s", "sleep", "60", timeout="2s")))
    )
    thread.start()
    clock.wait_for_timer()
    clock.advance(1.9)
    thread.join(0.05)
    assert thread.is_alive()
    clock.advance(0.1)
    thread.join(10)
    assert results[0].verdict is Verdict.TIMED_OUT
    assert results[0].limit is Limit.TIMEOUT
    assert results[0].reason == "still running after 2.00s"
    assert dict(results[0].durations)[Phase.RUN] == pytest.approx(2.0)


def test_a_flood_is_cut_off(bench: Bench, stage: MakeStage) -> None:
    result = bench.attempt(stage("s", "yes", output_limit="2m", timeout="60s"))
    assert (result.verdict, result.limit) == (Verdict.OUTPUT_LIMIT, Limit.OUTPUT)
    assert result.stdout.truncated
    assert result.stdout.size == 2 << 20
    assert KEEP <= len(result.stdout.text) < KEEP + 100
    assert len(bench.artifacts.logs["s", "stdout"]) == 2 << 20


def test_both_streams_share_the_output_limit(bench: Bench, stage: MakeStage) -> None:
    def program(process: FakeProcess) -> int:
        process.sink(Stream.STDOUT, b"o" * 600)
        process.sink(Stream.STDERR, b"e" * 600)
        return 0

    bench.backend = FakeBackend(programs={"it": program})
    result = bench.attempt(stage("s", "it", output_limit=1000))
    assert result.verdict is Verdict.OUTPUT_LIMIT
    assert (result.stdout.size, result.stderr.size) == (600, 400)


def test_outputs_reach_the_next_stage(bench: Bench, stage: MakeStage) -> None:
    bench.inputs = MemoryInputs({"one": {"a": b"content"}})
    results = bench.run(
        stage("one", "cp", "a", "b", outputs=("b",)),
        stage("two", "cat", "b", input_stages=("one",)),
    )
    assert results["two"].stdout.text == "content"
    assert [(file.path, file.size) for file in results["one"].outputs] == [("b", 7)]


def test_a_missing_output_fails_a_stage_that_passed(bench: Bench, stage: MakeStage) -> None:
    result = bench.attempt(stage("s", "true", outputs=("a", "*.xml")))
    assert result.verdict is Verdict.FAILED
    assert result.phase is Phase.OUTPUTS
    assert result.reason == "declared but not produced: 'a', '*.xml'"
    assert result.exit_code == 0


def test_outputs_of_a_failed_stage_are_kept(bench: Bench, stage: MakeStage) -> None:
    def program(process: FakeProcess) -> int:
        process.files["report.xml"] = b"<x/>"
        return 1

    bench.backend = FakeBackend(programs={"it": program})
    result = bench.attempt(stage("s", "it", outputs=("report.xml", "missing")))
    assert (result.verdict, result.phase) == (Verdict.FAILED, Phase.RUN)
    assert bench.artifacts.outputs["s"] == {"report.xml": b"<x/>"}


def test_outputs_count_against_the_disk_limit(bench: Bench, stage: MakeStage) -> None:
    bench.inputs = MemoryInputs({"s": {"a": b"x" * 101}})
    result = bench.attempt(stage("s", "true", outputs=("a",), disk=100))
    assert (result.verdict, result.phase) == (Verdict.FAILED, Phase.OUTPUTS)


def test_colliding_outputs_are_an_error_of_the_stage(bench: Bench, stage: MakeStage) -> None:
    bench.inputs = MemoryInputs({"two": {"b": b""}, "one": {"a": b""}})
    results = bench.run(
        stage("one", "cp", "a", "b", outputs=("*b",)),
        stage("two", "true", input_stages=("one",)),
    )
    assert results["two"].verdict is Verdict.ERROR
    assert results["two"].phase is Phase.INPUTS
    assert "two inputs give the path 'b'" in results["two"].reason
    assert bench.backend.alive == 0


def test_cancelling_kills_what_runs(bench: Bench, stage: MakeStage) -> None:
    def program(process: FakeProcess) -> int:
        bench.cancel.cancel(StopReason.INTERRUPTED)
        assert process.killed.wait(10)
        return 0

    bench.backend = FakeBackend(programs={"it": program})
    result = bench.attempt(stage("s", "it"))
    assert (result.verdict, result.reason) == (Verdict.CANCELLED, "the run was stopped")


def test_a_real_failure_stays_one_when_the_run_stops(bench: Bench, stage: MakeStage) -> None:
    def program(process: FakeProcess) -> int:
        bench.cancel.cancel(StopReason.INTERRUPTED)
        process.killed.clear()
        return 1

    bench.backend = FakeBackend(programs={"it": program})
    assert bench.attempt(stage("s", "it")).verdict is Verdict.FAILED


@pytest.mark.parametrize("pieces", [1, 3, 7, 100])
def test_secrets_are_masked(bench: Bench, stage: MakeStage, pieces: int) -> None:
    bench.secrets = (("TOKEN", "hunter2-hunter2"), ("OTHER", "unrelated"))

    def program(process: FakeProcess) -> int:
        text = f"it is {process.env['TOKEN']}!\n".encode()
        for start in range(0, len(text), pieces):
            process.sink(Stream.STDOUT, text[start : start + pieces])
        return 0 if "OTHER" not in process.env else 1

    bench.backend = FakeBackend(programs={"it": program})
    result = bench.attempt(stage("s", "it", secrets=(Secret("TOKEN"),)))
    assert result.verdict is Verdict.PASSED
    assert result.stdout.text == "it is ***!\n"
    assert bench.artifacts.logs["s", "stdout"] == b"it is ***!\n"


def test_posargs_go_where_they_were_asked_for(bench: Bench, stage: MakeStage) -> None:
    bench.posargs = ("-k", "a b")
    results = bench.run(stage("one", "echo", posargs=True), stage("two", "echo"))
    assert results["one"].stdout.text == "-k a b\n"
    assert results["two"].stdout.text == "\n"


def test_broken_utf8_does_not_hurt(bench: Bench, stage: MakeStage) -> None:
    def program(process: FakeProcess) -> int:
        process.sink(Stream.STDOUT, b"\xff\xc3")
        process.sink(Stream.STDOUT, b"\xa4")
        return 0

    bench.backend = FakeBackend(programs={"it": program})
    assert bench.attempt(stage("s", "it")).stdout.text == "\ufffdä"


def test_a_bug_in_a_backend_is_not_swallowed(bench: Bench, stage: MakeStage) -> None:
    def program(_: FakeProcess) -> int:
        raise ZeroDivisionError

    bench.backend = FakeBackend(programs={"it": program})
    with pytest.raises(ZeroDivisionError):
        bench.run(stage("one", "it"), stage("two", "true", requires=("one",)))
    assert bench.backend.alive == 0


def test_an_output_with_a_secret_in_its_name_goes_nowhere(bench: Bench, stage: MakeStage) -> None:
    bench.secrets = (("TOKEN", "hunter2-hunter2"),)

    def program(process: FakeProcess) -> int:
        process.files[f"{process.env['TOKEN']}.txt"] = b"x"
        process.files["fine.txt"] = b"x"
        return 0

    bench.backend = FakeBackend(programs={"it": program})
    result = bench.attempt(stage("s", "it", outputs=("*.txt",), secrets=(Secret("TOKEN"),)))
    assert (result.verdict, result.phase) == (Verdict.FAILED, Phase.OUTPUTS)
    assert result.reason == "an output has a secret in its name: '***.txt'"
    assert result.outputs == ()
    assert bench.artifacts.outputs["s"] == {}
