"""What went wrong while a task file ran, as one error with its place in the file."""

from __future__ import annotations

import builtins
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from isol8tasks.errors import Isol8Error, Location, TaskFileError
from isol8tasks.plan.suggest import nearest
from isol8tasks.taskfile.collect import shown
from isol8tasks.taskfile.wrong import message_and_hint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

_MODEL = "isol8tasks.model"
_OURSELVES = Path(__file__).parents[1]
_CANNOT_IMPORT = re.compile(r"cannot import name '(.+?)' from '([\w.]+)'")


def syntax_error(error: SyntaxError, filename: str) -> TaskFileError:
    """The error of a file that is no Python."""
    near = f" near '{error.text.strip()}'" if error.text and error.text.strip() else ""
    where = Location(shown(error.filename or filename), error.lineno or 0)
    return TaskFileError(f"syntax error: {error.msg}{near}", where=where, hint="correct the line")


def execution_error(error: BaseException, path: Path, root: Path) -> TaskFileError:
    """The error of a task file that ended with an exception, at the deepest line of the user's."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return syntax_error(error, str(path))
    frames = list(_frames(error))
    where = _where(frames, path, root)
    if isinstance(error, SystemExit):
        hint = "a task file only declares: let it run to its end"
        return TaskFileError(f"the task file ended itself: {_text(error)}", where=where, hint=hint)
    if isinstance(error, Isol8Error):
        return TaskFileError(error.message, where=where, hint=error.hint)
    if isinstance(error, ValueError) and frames and _module(frames[-1][0]).startswith(_MODEL):
        message, hint = message_and_hint(error)
        return TaskFileError(message, where=where, hint=hint)
    shared = "" if path.parent == root else f"PYTHONPATH={shlex.quote(os.path.relpath(root))} "
    hint = f"run '{shared}python {shown(str(path))}' to see the whole traceback"
    return TaskFileError(_text(error) + _suggestion(error, frames), where=where, hint=hint)


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _where(frames: Iterable[tuple[FrameType, int]], path: Path, root: Path) -> Location:
    """The deepest line of the workspace's own code; the whole task file if there is none."""
    filename, line = str(path), 0
    for frame, number in frames:
        if frame.f_code.co_filename == str(path) or is_users(frame.f_code.co_filename, root):
            filename, line = frame.f_code.co_filename, number
    return Location(shown(filename), line)


def is_users(filename: str, root: Path) -> bool:
    """Whether a module's file is the workspace's own, and not that of something installed in it."""
    if not filename.startswith(f"{root}{os.sep}"):
        return False
    file = Path(filename)
    prefix = Path(sys.prefix)
    ours = prefix != root and prefix.is_relative_to(root)
    installed = (ours and file.is_relative_to(prefix)) or "site-packages" in file.parts
    return not installed and not file.is_relative_to(_OURSELVES)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _text(error: BaseException) -> str:
    """`NameError: …`, as Python shows it."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 -- a stranger's __str__ may do anything
        message = ""
    return f"{name}: {message}" if message else name


def _suggestion(error: BaseException, frames: list[tuple[FrameType, int]]) -> str:
    """Python's own "Did you mean", which it makes only while it prints a traceback."""
    word, candidates = _misspelt(error, frames)
    found = nearest(word, candidates) if word else None
    return f". Did you mean: '{found}'?" if found else ""


def _misspelt(
    error: BaseException, frames: list[tuple[FrameType, int]]
) -> tuple[str | None, Iterable[str]]:
    match error:
        case NameError() if frames:
            frame = frames[-1][0]
            return error.name, [*frame.f_locals, *frame.f_globals, *dir(builtins)]
        case AttributeError():
            return error.name, [name for name in dir(error.obj) if not name.startswith("_")]
        case ImportError() if found := _CANNOT_IMPORT.match(str(error)):
            return found[1], dir(sys.modules.get(found[2]))
    return None, ()
