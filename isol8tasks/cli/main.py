"""The command group; a command's module is imported when the command is used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from isol8tasks import __version__
from isol8tasks.cli.errors import guarded
from isol8tasks.plan.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "isol8tasks"

_COMMANDS = {
    "run": "isol8tasks.cli.run",
    "list": "isol8tasks.cli.listing",
    "graph": "isol8tasks.cli.listing",
    "exec": "isol8tasks.cli.exec",
    "doctor": "isol8tasks.cli.doctor",
    "init": "isol8tasks.cli.init",
    "sweep": "isol8tasks.cli.sweep",
    "completion": "isol8tasks.cli.completion",
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names, the important ones first."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name."""
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name]), f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101 -- for the type checker
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was asked for; a usage error names the nearest one."""
        name = args[0]
        if not name.startswith("-") and name not in _COMMANDS:
            raise click.UsageError(
                f"there is no command {name!r}{did_you_mean(name, _COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)


def _show_settings(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Do what `run --show-settings` does."""
    if wanted:
        from isol8tasks.cli import options  # noqa: PLC0415 -- not for help
        from isol8tasks.cli.run import show_settings  # noqa: PLC0415

        show_settings(options.settings({}))
        ctx.exit()


@click.group(
    PROGRAM,
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all passed, 1 a stage did not pass, 2 usage, 3 no backend, bake or"
    " store failure, 130 interrupted, 143 terminated.",
)
@click.version_option(__version__, "-V", "--version", message=f"{PROGRAM} %(version)s")
@click.option(
    "--show-settings",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_settings,
    help="Show every setting and where it came from.",
)
def cli() -> None:
    """Make for code you do not trust.

    A task file, isol8file.py, declares stages: commands with inputs, outputs, network, time and
    memory. Each runs in a sandbox of its own.
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code and never raises."""
    return guarded(lambda: _run(list(arguments) or ["--help"]))


def _run(words: list[str]) -> int | None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code: int | None = cli.main(words, PROGRAM, standalone_mode=False)
    return code
