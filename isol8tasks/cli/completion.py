"""`isol8tasks completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HELP = """Print what makes SHELL complete commands, options, tasks and stages.

\b
bash: isol8tasks completion bash > ~/.local/share/bash-completion/completions/isol8tasks
zsh:  isol8tasks completion zsh > "${fpath[1]}/_isol8tasks"
fish: isol8tasks completion fish > ~/.config/fish/completions/isol8tasks.fish
"""


@click.command("completion", help=_HELP, short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    root = ctx.find_root()
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 -- the choice above
    click.echo(kind(root.command, {}, "isol8tasks", "_ISOL8TASKS_COMPLETE").source())
