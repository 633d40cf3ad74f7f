"""`isol8tasks init`."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from isol8tasks.errors import Location, UsageError

STARTER = '''\
"""What can be run here: `isol8tasks list` shows it, `isol8tasks run` runs it."""

from isol8tasks import Image, stage, task

# What a sandbox is made of. Without a version any supported one will do;
# Image.python("3.12").pip("pytest==8.4.2") asks for one, with packages in it.
python = Image.python()
shell = Image.bash()


# The body of this function runs in a sandbox: no network, no files but its inputs, 10 seconds.
# `inputs` are globs such as "src/**/*.py"; without the word, all files that git would track.
@stage.python(image=python, inputs=[], outputs=["squares.txt"], timeout="10s")
def squares():
    """Write some numbers to a file."""
    from pathlib import Path

    Path("squares.txt").write_text("".join(f"{n * n}\\n" for n in range(10)))
    print("wrote squares.txt")


# A stage among the inputs runs first, and its outputs come along.
largest = stage(
    "largest",
    image=shell,
    run='echo "the largest is $(sort -n squares.txt | tail -n 1)"',
    inputs=[squares],
    timeout="10s",
)

# A task is a name for several stages; the default one is what a bare `isol8tasks run` means.
task("all", squares, largest, default=True)
'''


@click.command("init", short_help="Write a task file to start from.")
@click.argument("path", default="isol8file.py", type=click.Path(path_type=Path))
def init_command(path: Path) -> None:
    """Write a commented task file that runs as it is; an existing file is left alone."""
    with _opened(path) as file:
        file.write(STARTER)
    click.echo(f"wrote {path}; now try: isol8tasks list, isol8tasks run")


def _opened(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise UsageError(
            f"{str(path)!r} exists already",
            where=Location(str(path), 0),
            hint="give another path: isol8tasks init other/isol8file.py",
        ) from None
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be written: {error.strerror}",
            hint="give a path in a folder that exists and that you may write to",
        ) from None
