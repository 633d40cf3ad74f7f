"""The one place where exceptions become text and exit codes."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING, TextIO

import click

from isol8tasks.errors import ImageError, Isol8Error, Location, OperationError, UsageError
from isol8tasks.report.text import neutralise_bare, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isol8tasks.model.result import RunReport

PASSED = 0
NOT_PASSED = 1
USAGE = 2
OPERATION = 3
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

_LOG_LINES = 30
_UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF}


def guarded(command: Callable[[], int | None]) -> int:
    """Run a command; whatever it raises is printed on stderr and becomes the exit code."""
    try:
        code = command() or PASSED
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- the boundary
        say(describe(error))
        code = exit_code(error)
    _flush(sys.stdout)
    return code


def exit_code(error: Exception) -> int:
    """2 for what the caller can change in what was asked for, 3 for everything else."""
    return USAGE if isinstance(error, UsageError | click.UsageError) else OPERATION


def report_code(report: RunReport) -> int:
    """The exit code of a run that came to its end."""
    from isol8tasks.model.result import StopReason, Verdict  # noqa: PLC0415 -- not for `list`

    if report.stopped is StopReason.INTERRUPTED:
        return INTERRUPTED
    if report.stopped is StopReason.TERMINATED:
        return TERMINATED
    return {Verdict.PASSED: PASSED, Verdict.ERROR: OPERATION}.get(report.verdict, NOT_PASSED)


def describe(error: Exception) -> str:
    """What happened, where, and what to do next; a traceback only for what is a bug of ours."""
    if isinstance(error, Isol8Error):
        parts: tuple[Isol8Error, ...] = getattr(error, "errors", ()) or (error,)
        return "\n".join(line for part in parts for line in _ours(part))
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "isol8tasks"
        message = re.sub(r"\s*\n\s*", " ", error.format_message())
        return f"error: {one_line(message)}\n  hint: see {path} --help"
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {one_line(os.fsdecode(error.filename))}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in _UNWRITTEN:
        return "\n".join(_ours(unwritten(error)))
    import traceback  # noqa: PLC0415 -- a bug is rare

    trace = neutralise_bare("".join(traceback.format_exception(error))).rstrip()
    return f"{trace}\nerror: this is a bug in isol8tasks; please report it with the lines above"


def unwritten(error: OSError) -> OperationError:
    """The error for output of our own that did not get where it should go."""
    return OperationError(
        f"the output cannot be written: {error.strerror}",
        hint="look at where it goes: the disk may be full, or the file closed",
    )


def warn(text: str) -> None:
    """Print a warning."""
    say(f"warning: {one_line(text)}")


def say(text: str) -> None:
    """Print on stderr; where that cannot be, there is nobody to tell."""
    try:
        click.echo(text, err=True)
    except OSError:
        _silence(sys.stderr)


def _ours(error: Isol8Error) -> Iterator[str]:
    yield f"error: {_indented(error.message)}"
    if error.where:
        yield f"  --> {one_line(str(_nearby(error.where)))}"
    if error.hint:
        yield f"  hint: {_indented(error.hint)}"
    if isinstance(error, ImageError) and error.log:
        for line in neutralise_bare(error.log).rstrip("\n").split("\n")[-_LOG_LINES:]:
            yield f"  │ {line}"


def _indented(text: str) -> str:
    return neutralise_bare(text.strip()).replace("\n", "\n  ")


def _nearby(where: Location) -> Location:
    """The same place, relative to the current directory where it is below that."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:
        return where
    return where._replace(path=where.path.removeprefix(here))


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let the interpreter's last flush go nowhere instead of failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
