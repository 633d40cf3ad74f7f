"""Finding a task file and running it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from isol8tasks.errors import Location, TaskFileError
from isol8tasks.model.stage import TaskFile
from isol8tasks.taskfile.collect import Collector, collecting, shown
from isol8tasks.taskfile.declare import first_paragraph
from isol8tasks.taskfile.failure import execution_error, syntax_error

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_NAME = "isol8file.py"
_MODULE = "isol8file"
_INIT = "run 'isol8tasks init' to write a first one"


def find(start: Path) -> Path:
    """The absolute path of the nearest isol8file.py in a folder or above it.

    TaskFileError when there is none.
    """
    folder = Path(os.path.abspath(start))
    for candidate in (folder, *folder.parents):
        path = candidate / FILE_NAME
        if os.path.isfile(path):
            return path
        if os.path.lexists(path):
            what = "a link that leads nowhere" if not path.exists() else "not a file"
            raise TaskFileError(
                f"{FILE_NAME} is {what}",
                where=Location(shown(str(path)), 0),
                hint="put a task file in its place, or name another one with --file",
            )
    raise TaskFileError(f"no {FILE_NAME} in '{folder}' or above it", hint=_INIT)


def load(path: Path) -> TaskFile:
    """Run a task file and return what it declared; it prints to stderr.

    TaskFileError, with the line, for everything that goes wrong in it.
    """
    path = Path(os.path.abspath(path))
    code = _compile(path)
    collector = Collector()
    module = ModuleType(_MODULE)
    module.__file__ = str(path)
    with _as_main_module(module, path.parent), collecting(collector):
        _execute(code, module, path)
    if not collector.stages:
        raise TaskFileError(
            "the task file declares no stage",
            where=Location(shown(str(path)), 0),
            hint="declare one: stage('hello', image=Image.bash(), run='echo hello')",
        )
    return TaskFile(
        path=str(path),
        root=str(path.parent),
        description=first_paragraph(module.__doc__),
        stages=tuple(collector.stages),
        tasks=tuple(collector.tasks),
    )


def _compile(path: Path) -> CodeType:
    text = _read(path)
    try:
        return compile(text, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise syntax_error(error, str(path)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise execution_error(error, path) from error


def _read(path: Path) -> str:
    where = Location(shown(str(path)), 0)
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise TaskFileError("there is no such task file", where=where, hint=_INIT) from error
    except IsADirectoryError as error:
        hint = f"name the task file in it: {Path(where.path, FILE_NAME)}"
        raise TaskFileError("a folder is not a task file", where=where, hint=hint) from error
    except OSError as error:
        message = f"the task file cannot be read: {error.strerror}"
        raise TaskFileError(message, where=where, hint="look at its permissions") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TaskFileError(
            f"the task file is not UTF-8: byte 0x{error.object[error.start]:02x}",
            where=where._replace(line=line),
            hint="save it as UTF-8",
        ) from error


def _execute(code: CodeType, module: ModuleType, path: Path) -> None:
    try:
        exec(code, module.__dict__)  # noqa: S102 -- a task file is the user's own program
    except TaskFileError as error:
        if error.where is None:
            raise execution_error(error, path) from error
        raise
    except (Exception, SystemExit) as error:
        raise execution_error(error, path) from error


@contextlib.contextmanager
def _as_main_module(module: ModuleType, folder: Path) -> Iterator[None]:
    """Make the module and its neighbours importable, and send what they print to stderr."""
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(folder))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
