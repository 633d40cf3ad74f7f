"""The names of stages and tasks across task files.

What the workspace root's task file declares goes by its own name, what another one declares by
`//FOLDER:NAME`, the folder relative to the root. So a name means the same wherever it is read.
"""

from __future__ import annotations

ROOT = "//"


def canonical(folder: str, name: str) -> str:
    """The name everywhere of what a task file in this folder calls so."""
    return f"{ROOT}{folder}:{name}" if folder else name


def split(name: str) -> tuple[str, str]:
    """The folder, "" for the root, and the name there."""
    if not name.startswith(ROOT):
        return "", name
    folder, colon, local = name[len(ROOT) :].rpartition(":")
    return (folder, local) if colon else (local, "")  # a pattern may have no name


def local(name: str) -> str:
    """The name in its own task file."""
    return split(name)[1]


def is_below(folder: str, top: str) -> bool:
    """Whether a folder is this one or in it, both relative to the root."""
    return not top or folder == top or folder.startswith(f"{top}/")
