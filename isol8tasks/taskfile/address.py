"""What users write for stages and tasks of any task file: read, without looking for them."""

from __future__ import annotations

import posixpath
import re

import attrs

from isol8tasks.model.address import ROOT, canonical
from isol8tasks.taskfile.wrong import Wrong

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
NAME_HINT = (
    "a name has up to 100 of the characters A-Z a-z 0-9 . _ + - and starts with a letter or a digit"
)
DEEP = "..."
_FORMS = "write unit, path/to/package:unit or //path/from/the/root:unit"


@attrs.frozen(kw_only=True)
class Address:
    """A name in one folder, or with `deep` in that and all below it.

    `folder` is relative to the workspace root. Without a `name` it means what runs by default.
    """

    folder: str
    name: str = ""
    deep: bool = False

    @property
    def canonical(self) -> str:
        """The name that a plan has for it; of a pattern, the same from any folder."""
        if not self.deep:
            return canonical(self.folder, self.name)
        name = f":{self.name}" if self.name else ""
        return f"{ROOT}{posixpath.join(self.folder, DEEP)}{name}"


def parse(text: str, *, package: str, folder: str) -> Address:
    """Read an address; Wrong for what is none.

    `NAME` and `:NAME` are of the package, other paths relative to the folder, or after `//` to the
    workspace root. `...` at the end of a path stands for all folders from there on.
    """
    path, colon, name = text.rpartition(":")
    if not colon and (text.startswith(ROOT) or DEEP in text.split("/")):
        path, name = text, ""
    if (colon or not path) and not NAME.fullmatch(name):
        hint = NAME_HINT if colon or "/" not in text else _FORMS
        raise Wrong(f"{text!r} is not the address of a stage or a task", hint)
    if not path:
        return Address(folder=package, name=name)
    start, rest = ("", path[len(ROOT) :]) if path.startswith(ROOT) else (folder, path)
    parts = [part for part in rest.split("/") if part not in {"", "."}]
    deep = parts[-1:] == [DEEP]
    if rest.startswith("/") or ".." in parts or DEEP in parts[:-1]:
        raise Wrong(f"{text!r} is not the address of a stage or a task", _FORMS)
    if not colon and not deep:
        raise Wrong(
            f"{text!r} names no stage and no task",
            f"write {text}:NAME, or {posixpath.join(text, DEEP)} for all below it",
        )
    return Address(
        folder=posixpath.join(start, *parts[: -1 if deep else None]), name=name, deep=deep
    )


def is_pattern(name: str) -> bool:
    """Whether a canonical name stands for several folders."""
    folder, colon, rest = name.removeprefix(ROOT).rpartition(":")
    return DEEP in (folder if colon else rest).split("/")
