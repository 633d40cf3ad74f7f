"""The command line; `--version` alone is answered before anything is imported."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    _open_closed_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments in (["--version"], ["-V"]) and _say_version():
        return 0
    from isol8tasks.cli.main import run  # noqa: PLC0415 -- the version needs nothing else

    return run(arguments)


def _say_version() -> bool:
    """Print it; False when that fails, which somebody else explains."""
    from isol8tasks import __version__  # noqa: PLC0415 -- see main

    try:
        sys.stdout.write(f"isol8tasks {__version__}\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _open_closed_streams() -> None:
    """Let a closed stream lead nowhere, before a file of ours gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)
            if nowhere != number:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
