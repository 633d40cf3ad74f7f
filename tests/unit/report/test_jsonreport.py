"""The JSON report and its description."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import attrs
import pytest

from isol8tasks.errors import StoreError
from isol8tasks.model.result import Captured, RunReport
from isol8tasks.report.jsonreport import check_place, document, write

DOCS = Path(__file__).parents[3] / "docs" / "report.md"

UNIT = {
    "name": "unit",
    "verdict": "failed",
    "phase": "run",
    "reason": "exit code 1",
    "cached": False,
    "allowed": False,
    "attempts": 2,
    "exit_code": 1,
    "signal": None,
    "limit": None,
    "durations": {"inputs": 0.25, "run": 1.0},
    "peak_memory_bytes": 31457280,
    "cpu_seconds": 0.9,
    "stdout": "\x1b[1m1 failed[/]\n::error ::no\n",
    "stderr": "[red]warning[/red]",
    "stdout_size": 2 << 20,
    "stderr_size": 18,
    "truncated": True,
    "outputs": [{"path": "report.xml", "sha256": "e3b0", "size": 7}],
    "unenforced": ["memory"],
    "log": ".isol8tasks/logs/unit",
}


def documented(title: str) -> set[str]:
    section = DOCS.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def example() -> dict[str, object]:
    found = json.loads(DOCS.read_text().split("```json\n")[1].split("```")[0])
    assert isinstance(found, dict)
    return found


def test_the_run(report: RunReport) -> None:
    found = document(report, version="1.2")
    assert [stage["name"] for stage in found.pop("stages")] == [s.name for s in report.stages]
    assert found == {
        "schema": 1,
        "isol8tasks": "1.2",
        "run": "r1",
        "backend": "bubblewrap",
        "verdict": "failed",
        "stopped": None,
        "seconds": 11.5,
        "notices": ["not enforced here: memory"],
    }


def test_a_stage(report: RunReport) -> None:
    assert document(report, version="1.2")["stages"][1] == UNIT
    assert document(report, version="1.2")["stages"][2]["limit"] == "timeout"


def test_the_documented_keys_are_the_real_ones(report: RunReport) -> None:
    found = document(report, version="1.2")
    assert documented("The run") == set(found)
    assert documented("A stage") == set(found["stages"][0])


def test_the_example_has_the_real_keys_in_their_order(report: RunReport) -> None:
    found = document(report, version="1.2")
    assert list(example()) == list(found)
    stages = example()["stages"]
    assert isinstance(stages, list)
    assert list(stages[0]) == list(found["stages"][0])


def test_it_is_written_whole_and_readable_by_others(report: RunReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    write(report, path, version="1.2")
    assert json.loads(path.read_text()) == document(report, version="1.2")
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_link_stays_a_link(report: RunReport, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write(report, tmp_path / "link.json", version="1.2")
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["run"] == "r1"


def test_a_device_stays_a_device(report: RunReport) -> None:
    write(report, Path(os.devnull), version="1.2")
    assert Path(os.devnull).is_char_device()


def test_text_that_is_no_text_is_still_json(report: RunReport, tmp_path: Path) -> None:
    odd = attrs.evolve(report.stages[0], stdout=Captured(text="\udc80\x1b\u2028", size=3))
    write(
        RunReport(run_id="r", backend="b", stages=(odd,), seconds=0),
        tmp_path / "r.json",
        version="1.2",
    )
    content = (tmp_path / "r.json").read_bytes()
    assert content.isascii()
    assert b"\x1b" not in content
    assert json.loads(content)["stages"][0]["stdout"] == "\udc80\x1b\u2028"


@pytest.mark.parametrize("path", ["missing/report.json", "folder"])
def test_no_place_for_it(report: RunReport, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be written") as caught:
        check_place(tmp_path / path)
    assert caught.value.hint
    with pytest.raises(StoreError, match="cannot be written") as caught:
        write(report, tmp_path / path, version="1.2")
    assert caught.value.hint
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("place", ["new.json", "old.json", "link.json"])
def test_looking_for_a_place_changes_nothing(tmp_path: Path, place: str) -> None:
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "link.json").symlink_to("old.json")
    check_place(tmp_path / place)
    check_place(Path(os.devnull))
    assert sorted(os.listdir(tmp_path)) == ["link.json", "old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_a_folder_that_nobody_can_write_to_is_no_place() -> None:
    with pytest.raises(StoreError, match=r"'/proc/r.json' cannot be written: "):
        check_place(Path("/proc/r.json"))
