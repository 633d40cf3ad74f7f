"""`isol8tasks sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from isol8tasks.cli import options
from isol8tasks.cli.errors import OPERATION, PASSED, describe, say
from isol8tasks.cli.run import run_options
from isol8tasks.errors import SettingsError
from isol8tasks.model.units import parse_duration


@click.command("sweep", short_help="Remove what crashed runs left behind.")
@click.option(
    "--older-than",
    metavar="TIME",
    help="Also what may belong to a run in another container, when it is older than this.",
)
@options.place
def sweep_command(older_than: str | None, **flags: Any) -> int:
    """Remove containers, mounts, folders, control groups and drafts of runs that died.

    Every run does this for its own kind; what a living run uses is never touched. Exits with 3
    when a backend could not look; the others do so first.
    """
    from isol8tasks.app import sweep  # noqa: PLC0415 -- not for help

    age = None if older_than is None else _seconds(older_than)
    swept = sweep(run_options(options.settings(flags)), root=_root(), older_than=age)
    click.echo(f"removed {swept.removed} leftover{'' if swept.removed == 1 else 's'}")
    for error in swept.errors:
        say(describe(error))
    return OPERATION if swept.errors else PASSED


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--older-than: {error}") from error


def _root() -> Path | None:
    """The workspace that we are in, if any."""
    from isol8tasks.taskfile.root import root_of  # noqa: PLC0415 -- not for help

    return root_of(Path.cwd())
