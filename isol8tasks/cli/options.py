"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click
from click.shell_completion import CompletionItem

from isol8tasks.cli.choose import Wanted
from isol8tasks.cli.errors import warn
from isol8tasks.cli.kinds import COLORS
from isol8tasks.cli.settings import Settings, current, warning
from isol8tasks.errors import Location, TaskFileError, UsageError
from isol8tasks.model.address import ROOT, local

if TYPE_CHECKING:
    from isol8tasks.taskfile.workspace import Workspace

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


def changes(command: _F) -> _F:
    """Only what a change can influence."""
    return _all(_CHANGES, command)


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

_CHANGES = (
    click.option(
        "--affected",
        is_flag=True,
        help="What the changes since the branch left the main branch can influence.",
    ),
    click.option("--since", metavar="REF", help="With --affected: since another branch or commit."),
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


def wanted(words: dict[str, Any]) -> tuple[Wanted, dict[str, Any]]:
    """The words that choose stages, and those that are settings."""
    names = {field.name for field in attrs.fields(Wanted)}
    found = Wanted(**{name: value for name, value in words.items() if name in names})
    if found.since is not None and not found.affected:
        raise UsageError("--since needs --affected", hint="add --affected, or leave --since out")
    return found, {name: value for name, value in words.items() if name not in names}


def settings(flags: dict[str, Any]) -> Settings:
    """The settings that hold for this command; unknown variables are warned about."""
    found = current(flags)
    for variable in found.unknown:
        warn(warning(variable))
    return found


def workspace(found: Settings) -> Workspace:
    """The workspace around the task file that the settings name, or around where we are."""
    from pathlib import Path  # noqa: PLC0415 -- with the next one, not needed for help

    from isol8tasks.taskfile.workspace import Workspace  # noqa: PLC0415

    if found.file is not None and not found.file.is_file():
        source = dict(found.sources)["file"]
        if source != "--file":
            raise TaskFileError(
                "there is no such task file",
                where=Location(str(found.file), 0),
                hint=f"{source} names it: correct the setting 'file' there",
            )
    return Workspace.around(Path.cwd(), found.file)


def complete_target(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001 -- click's signature
    incomplete: str,
) -> list[CompletionItem]:
    """Stages and tasks of the current task file, after // of all; nothing when that fails."""
    from contextlib import redirect_stdout  # noqa: PLC0415 -- only when a shell asks
    from io import StringIO  # noqa: PLC0415

    everywhere = incomplete.startswith(ROOT)
    try:
        with redirect_stdout(StringIO()):
            found = workspace(current({"file": ctx.params.get("file")}))
            folders = found.everything("") if everywhere else (found.package or "",)
            files = found.load_all(folders)[0]
    except Exception:  # noqa: BLE001 -- a shell that completes wants no errors
        return []
    shown = str if everywhere else local
    items = [
        *((task.name, ", ".join(map(local, task.members))) for f in files for task in f.tasks),
        *((stage.name, stage.description) for f in files for stage in f.stages),
    ]
    found_items = [CompletionItem(shown(name), help=words) for name, words in items]
    return [item for item in found_items if item.value.startswith(incomplete)]
