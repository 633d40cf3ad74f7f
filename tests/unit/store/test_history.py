from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.errors import StoreError
from isol8tasks.model.result import Phase, RunReport, StageResult, Verdict
from isol8tasks.store.history import Past, RunHistory

DAY = 24 * 3600
OWN = {Phase.INPUTS, Phase.RUN, Phase.OUTPUTS}


@pytest.fixture
def history(tmp_path: Path) -> RunHistory:
    return RunHistory(tmp_path / "history" / "web-0.json")


def report(*results: StageResult) -> RunReport:
    return RunReport(run_id="0", backend="fake", stages=results, seconds=1.0)


def ran(name: str, seconds: float = 1.0, verdict: Verdict = Verdict.PASSED) -> StageResult:
    return StageResult(name=name, verdict=verdict, durations=((Phase.RUN, seconds),), attempts=1)


def not_run(name: str, verdict: Verdict) -> StageResult:
    return StageResult(name=name, verdict=verdict, phase=Phase.WAITING)


def aged(history: RunHistory, name: str, days: float) -> None:
    """Change the file as if the stage had not been seen for so long."""
    document = json.loads(history._file.read_text())
    document["stages"][name]["seen"] = int(time.time() - days * DAY)
    history._file.write_text(json.dumps(document))


def test_before_the_first_run_nothing_is_known(history: RunHistory) -> None:
    assert (dict(history.read()), dict(history.durations())) == ({}, {})
    assert history.failed() is None


def test_a_run_is_read_again(history: RunHistory) -> None:
    history.record(report(ran("unit", 2.0), ran("//a:lint", 3.0, Verdict.FAILED)))
    assert history.read() == {
        "unit": Past(verdict=Verdict.PASSED, seconds=(2.0,)),
        "//a:lint": Past(verdict=Verdict.FAILED, seconds=(3.0,)),
    }
    assert history.failed() == frozenset({"//a:lint"})


def test_when_all_passed_there_are_no_failures_but_a_history(history: RunHistory) -> None:
    history.record(report(ran("unit")))
    assert history.failed() == frozenset()


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASSED])
def test_whatever_is_not_passed_is_to_run_again(history: RunHistory, verdict: Verdict) -> None:
    history.record(report(ran("unit")))
    history.record(report(not_run("unit", verdict)))
    assert history.failed() == frozenset({"unit"})
    history.record(report(ran("unit")))
    assert history.failed() == frozenset()


def test_what_a_failure_skipped_is_to_run_again(history: RunHistory) -> None:
    history.record(report(ran("unit"), ran("report"), ran("lint")))
    history.record(
        report(ran("unit", verdict=Verdict.FAILED), not_run("report", Verdict.SKIPPED), ran("lint"))
    )
    assert history.failed() == frozenset({"unit", "report"})


def test_a_failure_that_the_task_file_allows_did_not_pass_either(history: RunHistory) -> None:
    allowed = StageResult(name="flaky", verdict=Verdict.FAILED, allowed=True)
    history.record(report(allowed))
    assert history.failed() == frozenset({"flaky"})


def test_stages_that_a_run_did_not_have_stay_as_they_are(history: RunHistory) -> None:
    history.record(report(ran("unit", 2.0, Verdict.FAILED)))
    history.record(report(ran("lint", 3.0)))
    assert history.failed() == frozenset({"unit"})
    assert history.durations() == {"unit": 2.0, "lint": 3.0}


@pytest.mark.parametrize("verdict", [Verdict.SKIPPED, Verdict.CANCELLED, Verdict.ERROR])
def test_what_was_not_judged_keeps_its_times(history: RunHistory, verdict: Verdict) -> None:
    history.record(report(ran("unit", 2.0)))
    history.record(report(ran("unit", 0.1, verdict)))
    assert history.read() == {"unit": Past(verdict=verdict, seconds=(2.0,))}


def test_what_never_ran_has_no_duration(history: RunHistory) -> None:
    history.record(report(not_run("unit", Verdict.CANCELLED)))
    assert history.read() == {"unit": Past(verdict=Verdict.CANCELLED, seconds=())}
    assert history.durations() == {}


def test_what_ended_before_its_command_began_has_no_duration(history: RunHistory) -> None:
    inputs = ((Phase.INPUTS, 1.0),)
    history.record(report(StageResult(name="unit", verdict=Verdict.DENIED, durations=inputs)))
    assert history.read() == {"unit": Past(verdict=Verdict.DENIED, seconds=())}


def test_an_answer_from_the_cache_took_no_time(history: RunHistory) -> None:
    history.record(report(ran("unit", 2.0, Verdict.FAILED)))
    cached = StageResult(
        name="unit", verdict=Verdict.PASSED, cached=True, durations=((Phase.RUN, 0.01),)
    )
    history.record(report(cached))
    assert history.read() == {"unit": Past(verdict=Verdict.PASSED, seconds=(2.0,))}


def test_waiting_and_baking_are_not_the_stage_s_own_time(history: RunHistory) -> None:
    durations = tuple((phase, 10.0**power) for power, phase in enumerate(Phase))
    history.record(report(StageResult(name="unit", verdict=Verdict.PASSED, durations=durations)))
    own = [10.0**power for power, phase in enumerate(Phase) if phase in OWN]
    assert history.durations() == {"unit": sum(own)}


def test_the_last_five_times_are_kept_and_their_median_counts(history: RunHistory) -> None:
    for seconds in (100.0, 5.0, 1.0, 2.0, 4.0, 3.0):
        history.record(report(ran("unit", seconds)))
    assert history.read()["unit"].seconds == (5.0, 1.0, 2.0, 4.0, 3.0)
    assert history.durations() == {"unit": 3.0}


def test_of_an_even_number_of_times_the_middle_counts(history: RunHistory) -> None:
    for seconds in (1.0, 2.0):
        history.record(report(ran("unit", seconds)))
    assert history.durations() == {"unit": 1.5}


@pytest.mark.parametrize(("days", "left"), [(89, {"old", "new"}), (91, {"new"})])
def test_what_is_not_seen_for_90_days_is_forgotten(
    history: RunHistory, days: float, left: set[str]
) -> None:
    history.record(report(ran("old")))
    aged(history, "old", days)
    history.record(report(ran("new")))
    assert history.read().keys() == left


def test_of_too_many_names_the_last_and_the_failed_are_kept(history: RunHistory) -> None:
    history.record(report(ran("yesterday", verdict=Verdict.FAILED)))
    aged(history, "yesterday", 1)
    many = [ran(f"s{number:05}") for number in range(10_000)]
    history.record(report(*many, ran("z", verdict=Verdict.FAILED)))
    known = history.read()
    assert len(known) == 10_000
    assert "z" in known
    assert "yesterday" not in known
    assert "s09999" not in known


@given(st.dictionaries(st.text(st.characters()), st.sampled_from(Verdict), min_size=1, max_size=5))
def test_any_name_survives(tmp_path_factory: Any, verdicts: dict[str, Verdict]) -> None:
    history = RunHistory(tmp_path_factory.mktemp("state") / "h.json")
    history.record(report(*(ran(name, verdict=verdict) for name, verdict in verdicts.items())))
    assert {name: past.verdict for name, past in history.read().items()} == verdicts


def test_a_name_that_is_no_utf_8_survives(history: RunHistory) -> None:
    name = f"//{os.fsdecode(bytes([0xE9]))}:unit"
    history.record(report(ran(name)))
    assert list(history.read()) == [name]


GOOD = '"unit":{"verdict":"passed","seconds":[1.0],"seen":1}'
DAMAGED = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[" * 100_000,
    b"[]",
    b"null",
    b"{}",
    b'{"schema":1}',
    b'{"schema":1,"stages":[]}',
    f'{{"schema":2,"stages":{{{GOOD}}}}}'.encode(),
    f'{{"schema":1,"stages":{{{GOOD},"a":null}}}}'.encode(),
    *(
        f'{{"schema":1,"stages":{{{GOOD},"a":{entry}}}}}'.encode()
        for entry in (
            "{}",
            '{"verdict":"great","seconds":[],"seen":1}',
            '{"verdict":[],"seconds":[],"seen":1}',
            '{"verdict":"passed","seconds":null,"seen":1}',
            '{"verdict":"passed","seconds":["1"],"seen":1}',
            '{"verdict":"passed","seconds":[true],"seen":1}',
            '{"verdict":"passed","seconds":[NaN],"seen":1}',
            '{"verdict":"passed","seconds":[-1],"seen":1}',
            '{"verdict":"passed","seconds":[],"seen":Infinity}',
            '{"verdict":"passed","seconds":[],"seen":1' + "0" * 400 + "}",
            '{"verdict":"passed","seconds":[],"seen":1' + "0" * 5000 + "}",
        )
    ),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_no_history_until_the_next_run(
    history: RunHistory, content: bytes
) -> None:
    history.record(report(ran("unit")))
    history._file.write_bytes(content)
    assert dict(history.read()) == {}
    assert history.failed() is None
    history.record(report(ran("lint", 2.0)))
    assert history.read() == {"lint": Past(verdict=Verdict.PASSED, seconds=(2.0,))}


def test_the_file_of_those_tests_is_not_damaged_by_itself(history: RunHistory) -> None:
    history._file.parent.mkdir()
    history._file.write_text(f'{{"schema":1,"stages":{{{GOOD}}}}}')
    assert history.durations() == {"unit": 1.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["verdict", "seconds", "seen", "a"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(json_values)
def test_reading_never_fails(tmp_path_factory: Any, value: Any) -> None:
    history = RunHistory(tmp_path_factory.mktemp("state") / "h.json")
    history._file.write_text(json.dumps({"schema": 1, "stages": {"unit": value}}))
    for past in history.read().values():
        assert isinstance(past.verdict, Verdict)
        assert all(seconds >= 0 for seconds in past.seconds)


def test_a_folder_at_the_file_s_name_is_no_history_and_cannot_be_replaced(
    history: RunHistory,
) -> None:
    history._file.mkdir(parents=True)
    assert history.failed() is None
    with pytest.raises(StoreError, match=r"cannot keep the run history in .*: Is a directory"):
        history.record(report(ran("unit")))


def test_a_file_that_cannot_be_read_now_is_not_replaced(history: RunHistory) -> None:
    """A link to itself, as root may read everything else."""
    history._file.parent.mkdir()
    history._file.symlink_to(history._file)
    assert dict(history.read()) == {}
    with pytest.raises(StoreError, match="Too many levels of symbolic links"):
        history.record(report(ran("unit")))
    assert history._file.is_symlink()


def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    history = RunHistory.of_workspace(tmp_path, tmp_path / "state" / "isol8tasks")
    old = os.umask(0)
    try:
        history.record(report(ran("unit")))
    finally:
        os.umask(old)
    folder = history._file.parent
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop(folder) == 0o700
    assert set(modes.values()) == {0o600}
    for path in (tmp_path / "state", tmp_path / "state" / "isol8tasks"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_only_the_history_and_its_lock_are_left(history: RunHistory) -> None:
    for _ in range(3):
        history.record(report(ran("unit")))
    assert {path.name for path in history._file.parent.iterdir()} == {"web-0.json", "web-0.lock"}


def test_a_state_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    history = RunHistory(tmp_path / "state" / "history" / "h.json")
    assert dict(history.read()) == {}
    with pytest.raises(StoreError) as caught:
        history.record(report(ran("unit")))
    folder = tmp_path / "state" / "history"
    assert caught.value.message == f"cannot keep the run history in {folder}: Not a directory"
    assert caught.value.hint == (
        "--last-failed and --shard go by it: make the folder and what is in it yours to write, "
        "or set XDG_STATE_HOME to another folder"
    )


def test_a_full_disk_leaves_what_was_there(history: RunHistory) -> None:
    history.record(report(ran("unit", 2.0)))
    before = history._file.read_bytes()
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from isol8tasks.errors import StoreError\n"
        "from isol8tasks.model.result import *\n"
        "from isol8tasks.store.history import RunHistory\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "stages = (StageResult(name='unit', verdict=Verdict.FAILED),)\n"
        "report = RunReport(run_id='0', backend='fake', stages=stages, seconds=1)\n"
        "try: RunHistory(Path(sys.argv[1])).record(report)\n"
        "except StoreError as error: sys.exit(7)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, history._file], check=False, timeout=60)
    assert ended.returncode == 7
    assert history._file.read_bytes() == before
    assert {path.name for path in history._file.parent.iterdir()} == {"web-0.json", "web-0.lock"}


def test_runs_at_the_same_time_lose_nothing(history: RunHistory) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from isol8tasks.model.result import *\n"
        "from isol8tasks.store.history import RunHistory\n"
        "history = RunHistory(Path(sys.argv[1]), patience=60)\n"
        "sys.stdin.read()\n"
        "for number in range(40):\n"
        "    stages = (StageResult(name=f'{sys.argv[2]}{number}', verdict=Verdict.PASSED),)\n"
        "    history.record(RunReport(run_id='0', backend='fake', stages=stages, seconds=1))\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, history._file, who], stdin=subprocess.PIPE)
        for who in "abc"
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.close()
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    assert history.read().keys() == {f"{who}{number}" for who in "abc" for number in range(40)}


def test_a_run_that_holds_the_lock_is_not_waited_for_without_end(tmp_path: Path) -> None:
    history = RunHistory(tmp_path / "h.json", patience=0.05)
    with (tmp_path / "h.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"another process holds h\.lock$"):
            history.record(report(ran("unit")))
    history.record(report(ran("unit")))
    assert history.failed() == frozenset()


def test_each_workspace_has_a_history_of_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    roots = [tmp_path / "a" / "web", tmp_path / "b" / "web"]
    for root in roots:
        root.mkdir(parents=True)
        RunHistory.of_workspace(root, state).record(report(ran(root.parent.name)))
    assert [list(RunHistory.of_workspace(root, state).read()) for root in roots] == [["a"], ["b"]]
    assert all(p.name.startswith("web-") for p in (state / "history").iterdir())


def test_a_link_to_a_workspace_and_a_relative_path_have_the_same_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, link = tmp_path / "web", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    RunHistory.of_workspace(root, tmp_path / "state").record(report(ran("unit")))
    monkeypatch.chdir(tmp_path)
    for other in (link, Path("web"), Path("web/../link")):
        assert list(RunHistory.of_workspace(other, tmp_path / "state").read()) == ["unit"]


@pytest.mark.parametrize("name", ["caf\udce9", "a b\n[x]*", "." * 3, "-" * 5, "x" * 255, "é"])
def test_the_workspace_may_have_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    RunHistory.of_workspace(root, tmp_path / "state").record(report(ran("unit")))
    (file,) = (tmp_path / "state" / "history").glob("*.json")
    assert file.name.isascii()
    assert not file.name.startswith((".", "-"))
    assert RunHistory.of_workspace(root, tmp_path / "state").failed() == frozenset()


def test_the_file_system_s_root_may_be_a_workspace(tmp_path: Path) -> None:
    assert RunHistory.of_workspace(Path("/"), tmp_path)._file.name.startswith("workspace-")
