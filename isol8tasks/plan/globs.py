"""The globs of a task file: gitignore's rules, anchored at its folder."""

from __future__ import annotations

import functools
from collections.abc import Callable

from isol8tasks.errors import PlanError


@functools.cache
def compile_glob(glob: str) -> Callable[[str], bool]:
    """Whether a relative path matches; PlanError for a glob that pathspec does not understand."""
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 -- `list` needs no globs

    try:
        return GitIgnoreSpec.from_lines([f"/{glob}"]).match_file
    except ValueError as error:
        raise PlanError(f"the glob '{glob}' cannot be understood: {error}") from error


def literal_folder(glob: str) -> str:
    """The part of a glob that needs no search, as a relative path."""
    parts: list[str] = []
    for part in glob.strip("/").split("/"):
        if any(character in part for character in "*?[\\"):
            break
        parts.append(part)
    return "/".join(parts)
