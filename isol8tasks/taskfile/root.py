"""Where a workspace begins, and how far up files are believed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

FILE_NAME = "isol8file.py"
SETTINGS_FILE = "isol8tasks.toml"
PROJECT_FILE = "pyproject.toml"


def is_believed(file: Path, start: Path) -> bool:
    """Whether a file that was found upwards from a folder may decide what is run.

    Where everybody may put files, such as in /tmp, only if it is ours or the system's.
    """
    if file.parent == start:
        return True
    try:
        shared = file.parent.stat().st_mode & stat.S_IWOTH
        return not shared or file.lstat().st_uid in {0, os.geteuid()}
    except OSError:
        return False


def root_of(folder: Path) -> Path | None:
    """The root of the workspace that a folder is in, None outside of any.

    The nearest folder that says so: by an isol8tasks.toml, or by `workspace = true` of
    [tool.isol8tasks] in its pyproject.toml. Else the topmost one with a task file, in the same
    repository if it is in one.
    """
    topmost = None
    below_repository = True
    for above in (folder, *folder.parents):
        if says_so(above, start=folder):
            return above
        file = above / FILE_NAME
        if below_repository and os.path.isfile(file) and is_believed(file, folder):
            topmost = above
        below_repository = below_repository and not os.path.lexists(above / ".git")
    return topmost


def says_so(folder: Path, *, start: Path | None = None) -> bool:
    """Whether a folder is declared to be the root of a workspace, to who comes from `start`."""
    start, settings, project = start or folder, folder / SETTINGS_FILE, folder / PROJECT_FILE
    if os.path.isfile(settings) and is_believed(settings, start):
        return True
    try:
        text = project.read_bytes()
    except OSError:
        return False
    found = b"workspace" in text and project_table(text).get("workspace") is True
    return found and is_believed(project, start)


def project_table(content: bytes) -> dict[str, Any]:
    """[tool.isol8tasks] of a pyproject.toml; empty without one, or when it is no TOML."""
    if b"isol8tasks" not in content:
        return {}
    import tomllib  # noqa: PLC0415 -- most projects have no settings there

    try:
        table = tomllib.loads(content.decode())["tool"]["isol8tasks"]
    except (ValueError, KeyError, TypeError):
        return {}
    return table if isinstance(table, dict) else {}
