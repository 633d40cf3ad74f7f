"""The limits that a workspace gives its stages, and the most that it allows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.cli.conftest import declared, failed, verdicts

if TYPE_CHECKING:
    from tests.cli.conftest import Program, Write

pytestmark = pytest.mark.bubblewrap

CEILING = "  hint: state less, or ask who set `ceilings` (--show-settings says where)\n"


class TestLimits:
    """What a workspace gives its stages, and the most that it allows."""

    def test_given_limits_hold(self, isol8tasks: Program, write: Write, folder: Path) -> None:
        write(p=declared("a", run="sleep 30") + declared("b", "timeout='20s'"))
        (folder / "isol8tasks.toml").write_text("[limits]\ntimeout = '300ms'\n")
        ran = isol8tasks("run", "//p:a", "--report", "report.json")
        assert (ran.code, verdicts(folder)) == (1, {"//p:a": "timed_out"})
        assert isol8tasks("run", "-q", "//p:b").code == 0

    def test_more_than_the_ceiling(self, isol8tasks: Program, write: Write, folder: Path) -> None:
        write(root=declared("ok"), **{"p/q": "\n" + declared("a", "memory='1g'")})
        (folder / "isol8tasks.toml").write_text("[ceilings]\nmemory = '400m'\n")
        err = "error: stage '//p/q:a' states memory 1g: the ceiling is 400m\n"
        failed(isol8tasks("run", "//p/q:a"), f"{err}  --> p/q/isol8file.py:3\n{CEILING}")
        below = attrs.evolve(isol8tasks, folder=folder / "p/q")
        failed(below("run"), f"{err}  --> isol8file.py:3\n{CEILING}")
        assert isol8tasks("run", "ok", "--dry-run").code == 0

    def test_a_ceiling_narrows_the_default(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        write(root=declared("a", run="sleep 30"))
        (folder / "isol8tasks.toml").write_text("[ceilings]\ntimeout = 0.3\n")
        ran = isol8tasks("run", "--report", "report.json")
        assert (ran.code, verdicts(folder)) == (1, {"a": "timed_out"})

    def test_ceilings_hold_for_a_program_without_a_task_file(
        self, isol8tasks: Program, folder: Path
    ) -> None:
        (folder / "isol8tasks.toml").write_text("[ceilings]\nmemory = '400m'\n")
        ran = isol8tasks("exec", "--memory", "1g", "--", "true")
        assert ran.code == 2
        assert "the ceiling is 400m" in ran.stderr

    def test_in_variables(self, isol8tasks: Program, write: Write) -> None:
        write(root=declared("a", "pids=20"))
        ran = isol8tasks("run", "--dry-run", env={"ISOL8TASKS_CEILINGS": "pids=10, timeout=5"})
        err = "error: stage 'a' states pids 20: the ceiling is 10\n  --> isol8file.py:2\n"
        failed(ran, err + CEILING)
        env = {"ISOL8TASKS_LIMITS": "timeout=0.3", "ISOL8TASKS_CEILINGS": "timeout=20s"}
        write(root=declared("a", run="sleep 30"))
        assert isol8tasks("run", env=env).code == 1

    @pytest.mark.parametrize("name", ["limits", "ceilings"])
    @pytest.mark.parametrize(
        ("entry", "message", "hint"),
        [
            (
                "memry = '1g'",
                "'memry' is not a limit",
                "write timeout, memory, cpus, pids, disk, output_limit",
            ),
            ("memory = 'lots'", "memory: 'lots' is not a size", "write 64k, 512m, 1g or bytes"),
            ("pids = 0", "pids: 0 is not a whole number above zero", "write 1, 2, 3 …"),
        ],
    )
    def test_a_wrong_entry(
        self,
        isol8tasks: Program,
        write: Write,
        folder: Path,
        name: str,
        entry: str,
        message: str,
        hint: str,
    ) -> None:
        write(root=declared("a"))
        (folder / "isol8tasks.toml").write_text(f"jobs = 1\n[{name}]\ntimeout = 5\n{entry}\n")
        failed(
            isol8tasks("run"),
            f"error: {name}: {message}\n  --> isol8tasks.toml:4\n  hint: {hint}\n",
        )

    def test_ceilings_are_for_the_whole_workspace(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        write(p=declared("a"))
        project = folder / "p/pyproject.toml"
        project.write_text("[tool.isol8tasks]\njobs = 1\n\n[tool.isol8tasks.ceilings]\npids = 9\n")
        failed(
            attrs.evolve(isol8tasks, folder=folder / "p")("run"),
            "error: ceilings are for the whole workspace\n"
            "  --> pyproject.toml:4\n"
            f"  hint: set them in {folder / 'isol8tasks.toml'}\n",
        )
        assert isol8tasks("run", "//p:a", "--dry-run").code == 0

    def test_a_nearer_file_leaves_the_ceilings(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        write(p=declared("a", "pids=20"))
        (folder / "isol8tasks.toml").write_text("jobs = 1\n[ceilings]\npids = 9\n")
        (folder / "p/pyproject.toml").write_text("[tool.isol8tasks]\njobs = 2\n")
        below = attrs.evolve(isol8tasks, folder=folder / "p")
        rows = {
            row.split()[0]: row.split()[1:]
            for row in below("run", "--show-settings").stdout.splitlines()
        }
        assert rows["jobs"] == ["2", str(folder / "p/pyproject.toml")]
        assert rows["ceilings"] == ["pids=9", str(folder / "isol8tasks.toml")]
        assert "the ceiling is 9" in below("run").stderr

    def test_a_workspace_within_does_not_loosen_what_is_above(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        """Its ceilings are its own, and so are the stages that can be named in it."""
        write(root=declared("a", "pids=20"))
        (folder / "isol8tasks.toml").write_text("[ceilings]\npids = 9\n")
        (folder / "within").mkdir()
        (folder / "within/isol8tasks.toml").touch()
        ran = attrs.evolve(isol8tasks, folder=folder / "within")("run", "--dry-run", "//:a")
        assert ran.code == 2
