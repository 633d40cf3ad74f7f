"""The command line; `--version` alone is answered before anything is imported."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments in (["--version"], ["-V"]):
        from isol8tasks import __version__  # noqa: PLC0415 -- nothing else is needed

        sys.stdout.write(f"isol8tasks {__version__}\n")
        return 0
    from isol8tasks.cli.main import run  # noqa: PLC0415 -- see above

    return run(arguments)
