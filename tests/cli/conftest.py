"""The command line as a black box."""

from __future__ import annotations

import json
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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Write = Callable[..., None]
    At = Callable[[str], "Program"]

PROJECTS = Path(__file__).parents[1] / "projects"
STARTS_SANDBOXES = frozenset({"run", "exec", "doctor", "sweep"})
ENGINES = frozenset({"docker", "podman"})
IMAGES = "ISOL8TASKS_IMAGES"
"""What scripts/engines.sh made, by the names of a task file."""

HEAD = "from isol8tasks import Image, stage, task\n"

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


def reduced(*capabilities: str) -> tuple[str, ...]:
    """What makes root as it is in a container: without these, and without control groups."""
    less = ",".join(f"-{name}" for name in capabilities)
    become = f'exec setpriv --bounding-set={less} "$@"'
    return ("unshare", "--mount", "sh", "-c", f"umount -l -a -t cgroup,cgroup2; {become}", "sh")


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

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, under: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start it, for tests that meddle while it runs; `under` a program that becomes it."""
        self.check(*words)
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "isol8tasks", *words],
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


def completed(program: Program, line: str) -> set[str]:
    """What the shell would offer after this line."""
    env = {
        "_ISOL8TASKS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    ran = program(env=env)
    assert ran.stderr == ""
    return {item.split(",", 1)[1] for item in ran.stdout.split()}


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


def declared(name: str, words: str = "", run: str = "true") -> str:
    """A line that declares a stage."""
    return f"stage('{name}', image=Image.bash(), run={run!r}{words and ', ' + words})\n"


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes task files by their folders, "root" for the root, in a folder that is a workspace."""
    (folder / "isol8tasks.toml").touch()

    def put(files: Mapping[str, str] | None = None, **packages: str) -> None:
        for name, text in packages.items():
            put({f"{name}/isol8file.py" if name != "root" else "isol8file.py": HEAD + text})
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)

    return put


@pytest.fixture
def at(isol8tasks: Program, folder: Path) -> At:
    """The program in a folder below."""

    def go(name: str) -> Program:
        (folder / name).mkdir(parents=True, exist_ok=True)
        return attrs.evolve(isol8tasks, folder=folder / name)

    return go


@pytest.fixture
def services(write: Write) -> None:
    """A root and three packages."""
    write(
        root="__doc__ = 'Everything.'\n"
        + declared("unit", "tags=['quick']")
        + "task('checks', 'unit', '//services/api:checks', default=True)\n",
        **{
            "libs/core": declared("wheel", "outputs=['dist/*']", "mkdir dist; echo w > dist/w")
            + declared("unit"),
            "services/api": "__doc__ = 'The API.'\n"
            + declared("unit", "inputs=['//libs/core:wheel'], description='Tests.'")
            + declared("lint", "requires=[':unit', '//:unit']")
            + "task('checks', 'unit', ':lint', default=True)\n",
            "services/web": declared("unit", "requires=['//services/api:checks']"),
        },
    )


def failed(ran: Ran, err: str) -> None:
    """It is a mistake of the user's: said in full, and nothing else."""
    assert (ran.code, ran.stdout, ran.stderr) == (2, "", err)


def stages(ran: Ran) -> list[str]:
    assert (ran.code, ran.stderr) == (0, "")
    return [stage["name"] for stage in json.loads(ran.stdout)["stages"]]


def verdicts(folder: Path) -> dict[str, str]:
    stages = json.loads((folder / "report.json").read_text())["stages"]
    return {stage["name"]: stage["verdict"] for stage in stages}
