"""What the command `isol8tasks` makes of a backend that it has never heard of."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TASK_FILE = """
from isol8tasks import Image, stage

stage("copy", image=Image.bash(), run="cp in out", inputs=["in"], outputs=["out"])
"""


def isol8tasks(folder: Path, *arguments: str) -> str:
    """What it printed, when it was content."""
    argv = [sys.executable, "-m", "isol8tasks", *arguments, "--cache", str(folder / "cache")]
    ran = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_doctor_lists_it_with_what_it_does_not_hold(tmp_path: Path) -> None:
    found = json.loads(isol8tasks(tmp_path, "doctor", "--json"))["backends"]
    (ours,) = [backend for backend in found if backend["name"] == "unshare"]
    assert ours["works"], ours["reason"]
    held = {name: limit["held"] for name, limit in ours["capabilities"]["limits"].items()}
    none = dict.fromkeys(("memory", "cpus", "pids", "disk"), "none")
    assert held == {"timeout": "enforced", "output_limit": "enforced", **none}


def test_it_runs_a_task_file(tmp_path: Path) -> None:
    (tmp_path / "isol8tasks.toml").touch()  # wherever that folder is
    (tmp_path / "isol8file.py").write_text(TASK_FILE)
    (tmp_path / "in").write_text("content")
    isol8tasks(tmp_path, "run", "--backend", "unshare")
    assert (tmp_path / ".isol8tasks/copy/outputs/out").read_text() == "content"
