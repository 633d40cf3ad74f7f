"""What a task file declares: stages and tasks."""

from __future__ import annotations

import posixpath

import attrs

from isol8tasks.errors import Location
from isol8tasks.model.image import Image
from isol8tasks.model.limits import Limits
from isol8tasks.model.network import Network

SANDBOX_ROOT = "/sandbox"
"""Where the workspace root is in every sandbox."""

STATE_FOLDER = ".isol8tasks"
"""Our folder beside a task file: logs and artifacts; in a sandbox, python programs."""


@attrs.frozen
class Shell:
    """Commands for `sh -eu`, each in a shell of its own, in order; the first failure ends it."""

    scripts: tuple[str, ...]


@attrs.frozen
class Exec:
    """One program and its arguments; no shell."""

    argv: tuple[str, ...]


@attrs.frozen
class PythonSource:
    """The text of a Python program; `name` is the function it was written as."""

    name: str
    text: str


Command = Shell | Exec | PythonSource


@attrs.frozen
class Secret:
    """A variable whose value comes from the environment of the run and is masked in all output."""

    name: str


@attrs.frozen(kw_only=True)
class Stage:
    """A command in a sandbox with declared inputs, outputs, network and limits.

    Names of stages are those of `isol8tasks.model.address`. `inputs` are globs below `folder`
    (None: every file that git would track there), `input_stages` the stages whose outputs come
    along, `outputs` globs below the working directory. `folder` is the task file's folder relative
    to the workspace root, "" for the root itself.
    """

    name: str
    image: Image
    command: Command
    declared_at: Location
    folder: str = ""
    description: str = ""
    inputs: tuple[str, ...] | None = None
    input_stages: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    stdin: bytes = b""
    files: tuple[tuple[str, bytes], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    network: Network = Network()
    limits: Limits = Limits()
    retries: int = 0
    allow_failure: bool = False
    cache: bool | None = None
    tags: tuple[str, ...] = ()
    posargs: bool = False
    workdir: str = ""

    @property
    def working_directory(self) -> str:
        """The working directory relative to the workspace root, "" for the root itself."""
        return posixpath.join(self.folder, self.workdir).rstrip("/")

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """Names of the stages that must pass first, each once, in order of declaration."""
        return tuple(dict.fromkeys((*self.requires, *self.input_stages)))


@attrs.frozen(kw_only=True)
class Task:
    """A named goal: the stages and tasks it stands for."""

    name: str
    members: tuple[str, ...]
    declared_at: Location
    default: bool = False


@attrs.frozen(kw_only=True)
class TaskFile:
    """Everything that task files declared, in order: one, or several of a workspace together.

    `path` is absolute; of several it is that of the current one, in `folder`. `root` is the
    workspace, absolute. `folders` are those whose task files were read; what others declare is not
    known. `sources` are the files, relative to the root, that a task file was made from.
    """

    path: str
    root: str
    folder: str = ""
    folders: frozenset[str] = frozenset({""})
    sources: frozenset[str] = frozenset()
    description: str = ""
    stages: tuple[Stage, ...] = ()
    tasks: tuple[Task, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names, those of tasks first."""
        return (*(task.name for task in self.tasks), *(stage.name for stage in self.stages))
