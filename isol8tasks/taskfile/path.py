"""Paths and globs below the task file's folder.

Bad globs are found without the library that will match them: a listing must be quick.
"""

from __future__ import annotations

import posixpath
import re

from isol8tasks.model.stage import STATE_FOLDER
from isol8tasks.taskfile.wrong import Wrong, encoded, refuse

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_BRACKETS = re.compile(r"\\.|\[[!^]?+(\]?+[^\]/]*+)\]|[\[\\]", re.DOTALL)
"""An escaped character, a whole bracket expression, or what is left over of either."""

_SET_OPERATOR = re.compile(r"^\[|\[:|--|&&|~~|\|\|")
"""What git and Python read differently between brackets."""


def path(value: object) -> str:
    """A normalised path below the task file's folder."""
    return _below(value, "a path")


def workdir(value: object) -> str:
    """A folder below the task file's, "" for that folder itself."""
    return "" if value in {"", ".", "./"} else path(value)


def glob(value: object) -> str:
    """A normalised glob that means the same to git, to pathspec after a '/', and to its reader."""
    pattern = _below(value, "a glob")
    _check_glob(pattern)
    return pattern + "/" * str(value).endswith("/")


def _below(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        refuse(value, f"not {what}", "write a path below the task file's folder")
    if _CONTROL.search(value):
        refuse(value, f"not {what}: it has a control character", "leave the character out")
    parts = [part for part in value.split("/") if part not in {"", "."}]
    if value.startswith("/") or ".." in parts:
        refuse(
            value,
            "outside: it leaves the workspace root",
            "write a path below the task file's folder, without '..'",
        )
    if not parts:
        refuse(value, f"not {what}", "write '**' for everything below the task file's folder")
    if parts[0] == STATE_FOLDER:
        refuse(value, f"in {STATE_FOLDER}, the folder of isol8tasks itself", "choose another path")
    encoded(value)
    return posixpath.join(*parts)


def _check_glob(glob: str) -> None:
    if glob != glob.strip():
        raise Wrong(f"{glob!r} begins or ends with white space", "write ? for the white space")
    if glob.startswith("!"):
        raise Wrong(f"{glob!r} begins with '!', but a glob only adds", "name what is wanted")
    if any("**" in part and part != "**" for part in glob.split("/")):
        raise Wrong(f"{glob!r} has a '**' that is not a whole part", "write 'src/**/*.py'")
    for match in _BRACKETS.finditer(glob):
        _check_bracket(glob, match)


def _check_bracket(glob: str, match: re.Match[str]) -> None:
    if match[0] == "\\":
        raise Wrong(f"{glob!r} ends with a backslash", "write \\\\ for a backslash in a name")
    if match[0] == "[":
        raise Wrong(f"{glob!r} has a '[' without its ']'", "write \\[ for a bracket in a name")
    if match[0].startswith("[") and not _is_set(match[1]):
        hint = "write single characters and ranges such as [a-z0-9_]"
        raise Wrong(f"{glob!r} has a bad character range '{match[0]}'", hint)


def _is_set(characters: str) -> bool:
    if _SET_OPERATOR.search(characters):
        return False
    escaped = characters.replace("\\", "\\\\")
    try:
        re.compile(f"[{escaped}]")
    except re.error:
        return False
    return True
