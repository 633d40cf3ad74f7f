"""Tasks as sessions of the real nox."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.cli.conftest import Program

MODULE = ("-m", "nox")

NOXFILE = "import isol8tasks.nox\nisol8tasks.nox.sessions(globals(){})\n"

HEAD = """\
from isol8tasks import Image, stage, task

def sh(name, run, **words):
    return stage(name, image=Image.bash(), run=run, inputs=[], **words)

"""

TASKS = (
    HEAD
    + """\
sh("lint", "echo fine", tags=["quick", "style"], description="Nothing to say.\\nMore.")
sh("unit", 'echo "got $*"', tags=["quick"], posargs=True)
sh("bad", "echo no; exit 3")
sh("endless", "while :; do :; done", timeout="300ms")
sh("after", "true", requires=["bad"])
sh("may", "exit 4", allow_failure=True)
task("checks", "lint", "unit", default=True)
task("all", "checks", "bad", "endless", "after", "may")
"""
)


@attrs.frozen
class Ran:
    """How nox ended; `out` and `err` have TIME for times and RUN for the run's id."""

    code: int
    out: str
    err: str


def plain(text: str) -> str:
    """What is the same on every host, at every time."""
    text = re.sub(r"^note: on this host .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\brun [0-9a-f]{8}\b", "run RUN", text)
    text = re.sub(r" \(took .*?\)| in (a|\d+) seconds?\b", "", text)
    return re.sub(r"\b\d+(\.\d+)?s\b", "TIME", text)


@attrs.frozen
class Nox:
    """nox in a folder."""

    folder: Path
    environ: Mapping[str, str]
    started: list[subprocess.Popen[str]] = attrs.field(factory=list)

    def __call__(
        self, *words: str, python: Sequence[str] = MODULE, env: Mapping[str, str] | None = None
    ) -> Ran:
        process = self.start(*words, python=python, env=env)
        stdout, stderr = process.communicate(timeout=100)
        return Ran(process.returncode, plain(stdout), plain(stderr))

    def start(
        self, *words: str, python: Sequence[str] = MODULE, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start it, for tests that meddle while it runs."""
        process = subprocess.Popen(
            [sys.executable, *python, *words],
            cwd=self.folder,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.started.append(process)
        return process

    def write(self, tasks: str = TASKS, noxfile: str = NOXFILE.format("")) -> None:
        """Make the project."""
        (self.folder / "isol8file.py").write_text(tasks)
        (self.folder / "noxfile.py").write_text(noxfile)


@pytest.fixture
def nox(isol8tasks: Program, folder: Path) -> Iterator[Nox]:
    ours = ("NOX", "FORCE_COLOR", "CI")
    environ = {n: v for n, v in isol8tasks.environ.items() if not n.startswith(ours)}
    program = Nox(folder, environ)
    yield program
    for process in program.started:
        with process:
            process.kill()
