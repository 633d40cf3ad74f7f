"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from isol8tasks.cli.errors import warn
from isol8tasks.cli.kinds import COLORS
from isol8tasks.cli.settings import Settings, current, warning

if TYPE_CHECKING:
    from isol8tasks.model.stage import TaskFile

_POSARGS = "isol8tasks.posargs"
_F = TypeVar("_F", bound=Callable[..., Any])


class PosargsCommand(click.Command):
    """A command that keeps what follows `--` apart from its own arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set aside what follows the first `--`."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[_POSARGS] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line, which ends in what may follow `--`."""
        return [*super().collect_usage_pieces(ctx), "[-- ARG...]"]


def posargs(ctx: click.Context) -> tuple[str, ...]:
    """What followed `--`."""
    found: tuple[str, ...] = ctx.meta.get(_POSARGS, ())
    return found


def file(command: _F) -> _F:
    """Which task file."""
    return click.option(
        "-f", "--file", metavar="FILE", help="The task file; default: isol8file.py, found upwards."
    )(command)


def color(command: _F) -> _F:
    """Whether to use colours."""
    return click.option(
        "--color", type=click.Choice(COLORS), help="Use colours; auto: on a terminal."
    )(command)


def place(command: _F) -> _F:
    """Where sandboxes run."""
    return _all(_PLACE, command)


def firmness(command: _F) -> _F:
    """How firmly sandboxes are held, and how long their images may take."""
    return _all(_FIRMNESS, command)


def _all(options: tuple[Callable[[_F], _F], ...], command: _F) -> _F:
    for option in reversed(options):
        command = option(command)
    return command


_PLACE = (
    click.option("--backend", metavar="NAME", help="Where to run; default: what works here."),
    click.option("--runtime", metavar="NAME", help="The backend's runtime, such as runsc."),
    click.option("--cache", metavar="FOLDER", help="Where baked images are kept."),
)

_FIRMNESS = (
    click.option(
        "--allow-unenforced",
        multiple=True,
        metavar="LIMIT",
        help="Run although this host does not enforce a stated limit: memory, cpus, pids, disk;"
        " repeatable.",
    ),
    click.option(
        "--require-enforced/--no-require-enforced",
        default=None,
        help="Refuse to run with any limit unenforced, default ones too.",
    ),
    click.option("--bake-timeout", metavar="TIME", help="For baking an image; default: 10m."),
)


def settings(flags: dict[str, Any]) -> Settings:
    """The settings that hold for this command; unknown variables are warned about."""
    found = current(flags)
    for variable in found.unknown:
        warn(warning(variable))
    return found


def task_file(found: Settings) -> TaskFile:
    """Load the task file that the settings name, or the one found upwards."""
    from pathlib import Path  # noqa: PLC0415 -- with the next ones, not needed for help

    from isol8tasks.errors import TaskFileError  # noqa: PLC0415
    from isol8tasks.taskfile.load import find, load  # noqa: PLC0415

    if found.file is None:
        return load(find(Path.cwd()))
    try:
        return load(found.file)
    except TaskFileError as error:
        source = dict(found.sources)["file"]
        if source == "--file" or found.file.is_file():
            raise
        hint = f"{source} names it: correct the setting 'file' there"
        raise TaskFileError(error.message, where=error.where, hint=hint) from error


def complete_target(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001 -- click's signature
    incomplete: str,
) -> list[CompletionItem]:
    """Stages and tasks of the task file; nothing when it cannot be loaded."""
    from contextlib import redirect_stdout  # noqa: PLC0415 -- only when a shell asks
    from io import StringIO  # noqa: PLC0415

    try:
        with redirect_stdout(StringIO()):
            found = task_file(current({"file": ctx.params.get("file")}))
    except Exception:  # noqa: BLE001 -- a shell that completes wants no errors
        return []
    tasks = [CompletionItem(task.name, help=", ".join(task.members)) for task in found.tasks]
    stages = [CompletionItem(stage.name, help=stage.description) for stage in found.stages]
    return [item for item in (*tasks, *stages) if item.value.startswith(incomplete)]
