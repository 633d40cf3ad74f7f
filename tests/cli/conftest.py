"""The command line as a black box."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROJECTS = Path(__file__).parents[1] / "projects"
STARTS_SANDBOXES = frozenset({"run", "exec", "doctor", "sweep"})
ENGINES = frozenset({"docker", "podman"})
IMAGES = "ISOL8TASKS_IMAGES"
"""What scripts/engines.sh made, by the names of a task file."""

_TIME = re.compile(r"\b\d+(\.\d+)?s\b|\b\d+m\d\ds\b")


@attrs.frozen(kw_only=True)
class Ran:
    """How a command ended. `out` and `err` have TIME for times and RUN for the run's id.

    What a host cannot enforce is left out there: it is another sentence on every host. So are
    bakes, which only the first run of a host has.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def out(self) -> str:
        return normalised(self.stdout)

    @property
    def err(self) -> str:
        return normalised(self.stderr)


def normalised(text: str) -> str:
    passing = r"^(note: on this host|… baking|✓ baked) .*\n"
    text = re.sub(passing, "", text, flags=re.MULTILINE)
    return _TIME.sub("TIME", re.sub(r"\brun [0-9a-f]{8}\b", "run RUN", text))


@attrs.frozen
class Program:
    """`isol8tasks` in a folder; what starts sandboxes needs the mark."""

    folder: Path
    may_start: bool
    environ: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    def __call__(self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
        process = self.start(*words, env=env)
        stdout, stderr = process.communicate(stdin.encode(), timeout=100)
        return Ran(code=process.returncode, stdout=stdout.decode(), stderr=stderr.decode())

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start it, for tests that meddle while it runs."""
        self.check(*words)
        process = subprocess.Popen(
            [sys.executable, "-m", "isol8tasks", *words],
            cwd=self.folder,
            env={**self.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            with process:
                process.kill()

    def check(self, *words: str) -> None:
        """Fail a test without the mark that could start a sandbox."""
        harmless = {"--help", "-h", "--show-settings"} & set(words)
        if words and words[0] in STARTS_SANDBOXES and not harmless:
            assert self.may_start, f"'{words[0]}' needs the mark of an engine"


def _environ(state: Path) -> dict[str, str]:
    """Nothing of ours but a run history of its own: the user's is not for tests."""
    quiet = {"PYTHONWARNINGS": "error", "PYTHONUTF8": "1", "TERM": "dumb"}
    ours = {n: v for n, v in os.environ.items() if not n.startswith(("ISOL8TASKS_", "NO_COLOR"))}
    return {**ours, **quiet, "XDG_STATE_HOME": str(state)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to run in."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def isol8tasks(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """The program in that folder."""
    marks = {mark.name for mark in request.node.iter_markers()}
    environ = _environ(tmp_path / "state")
    if marks & ENGINES:
        environ |= {name: os.environ[name] for name in (IMAGES,) if name in os.environ}
    with closing(Program(folder, bool(marks & {"bubblewrap", *ENGINES}), environ)) as program:
        yield program


@pytest.fixture
def project(folder: Path) -> Callable[[str], Path]:
    """Puts a copy of one of tests/projects into the folder."""

    def copy(name: str) -> Path:
        shutil.copytree(PROJECTS / name, folder, dirs_exist_ok=True)
        return folder

    return copy
