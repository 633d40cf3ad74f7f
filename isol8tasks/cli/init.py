"""`isol8tasks init`."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from isol8tasks.errors import Location, UsageError
from isol8tasks.report.text import one_line

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


@click.command(
    "init",
    short_help="Write a task file to start from.",
    epilog="In what --from-noxfile writes, comments with TODO(nox) say what was not carried over,"
    " from which line of the noxfile, and why.",
)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--from-noxfile",
    "noxfile",
    is_flag=False,
    flag_value=Path("noxfile.py"),
    metavar="[NOXFILE]",
    type=click.Path(path_type=Path),
    help="Write the sessions of a noxfile as stages, without executing it; default: noxfile.py."
    " PATH, if any, comes before this option.",
)
def init_command(path: Path | None, noxfile: Path | None) -> None:
    """Write a commented task file that runs as it is; an existing file is left alone.

    PATH is isol8file.py, with --from-noxfile the one beside the noxfile.
    """
    if noxfile is not None:
        _from_noxfile(noxfile, path or noxfile.parent / "isol8file.py")
        return
    path = path or Path("isol8file.py")
    with _opened(path) as file:
        file.write(STARTER)
    click.echo(f"wrote {path}; now try: isol8tasks list, isol8tasks run")


def _from_noxfile(noxfile: Path, path: Path) -> None:
    from isol8tasks.cli.noxfile.convert import convert  # noqa: PLC0415 -- plain init needs none

    beside = noxfile.parent.resolve() == path.parent.resolve()
    found = convert(noxfile, beside=beside)
    with _opened(path) as file:
        file.write(found.text)
    click.echo(
        f"wrote {path}: {found.carried} of {_count(found.sessions, 'session')} carried over,"
        f" {_count(len(found.remarks), 'remark')}"
    )
    for remark in found.remarks:
        click.echo(f"  {one_line(f'{noxfile}:{remark.line}: {remark.text}')}")
    click.echo("now try: isol8tasks list, isol8tasks run --dry-run")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


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
