"""What is executed in a sandbox, and the files that it needs there."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, assert_never

from isol8tasks.model.stage import SANDBOX_ROOT, STATE_FOLDER, Exec, PythonSource, Shell

if TYPE_CHECKING:
    from isol8tasks.model.stage import Command, Stage

_SHELL = ("sh", "-eu", "-c")


def argv(command: Command, posargs: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The program and its arguments; a shell sees the posargs as `$@`."""
    match command:
        case Exec(arguments):
            return (*arguments, *posargs)
        case Shell((script,)):
            return (*_SHELL, script, "sh", *posargs)
        case Shell(scripts):
            return (*_SHELL, _in_order(len(scripts)), "sh", *scripts, *posargs)
        case PythonSource():
            return ("python", posixpath.join(SANDBOX_ROOT, program_path(command)), *posargs)
        case _:
            assert_never(command)


def program_path(command: PythonSource) -> str:
    """Where the program of a python stage is, relative to the workspace root."""
    return f"{STATE_FOLDER}/{command.name}.py"


def program_files(stage: Stage) -> tuple[tuple[str, bytes], ...]:
    """Paths relative to the workspace root and contents: files= and the python program."""
    files = tuple((posixpath.join(stage.folder, path), content) for path, content in stage.files)
    if isinstance(stage.command, PythonSource):
        program = stage.command.text.encode()
        return (*files, (program_path(stage.command), program))
    return files


def _in_order(count: int) -> str:
    """A script that runs its first arguments as scripts, each with the remaining arguments.

    It holds no text of a user's, so nothing in it needs quoting. The names are ours alone, for a
    variable that the environment exports would reach the scripts.
    """
    names = [f"_isol8tasks_{number}" for number in range(1, count + 1)]
    lines = [f"{name}=${{{number}}}" for number, name in enumerate(names, 1)]
    lines.append(f"shift {count}")
    lines += [f'sh -eu -c "${name}" sh "$@"' for name in names[:-1]]
    lines.append(f'exec sh -eu -c "${names[-1]}" sh "$@"')
    return "\n".join(lines)
