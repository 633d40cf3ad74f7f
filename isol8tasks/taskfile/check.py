"""The values that a task file may give: checked, and in the form that the model keeps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from isol8tasks.model.address import ROOT, canonical
from isol8tasks.model.image import Image
from isol8tasks.model.network import Network
from isol8tasks.model.stage import Exec, Secret, Shell, Stage, Task
from isol8tasks.taskfile.address import DEEP, NAME, NAME_HINT, parse
from isol8tasks.taskfile.collect import current
from isol8tasks.taskfile.path import glob, path
from isol8tasks.taskfile.wrong import Wrong, described, encoded, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_ARGUMENT = (128 << 10) - 1
"""What Linux takes as one argument of a program (MAX_ARG_STRLEN), less the zero at its end."""

_RUN_HINT = (
    "write a string for a shell command, a list of strings for several in order, "
    "or a tuple for a program and its arguments"
)


def name(value: object) -> str:
    """The name of a stage or a task."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Wrong(f"{described(value)} is not a name", NAME_HINT)
    return value


def image(value: object) -> Image:
    """An image."""
    if not isinstance(value, Image):
        hint = _image(value) if isinstance(value, str) else "Image.python()"
        raise Wrong(f"{described(value)} is not an Image", f"write image={hint}")
    return value


def _image(reference: str) -> str:
    """What to write for the image that a text names."""
    name, _, version = reference.partition(":")
    if name in {"python", "node"}:
        return f"Image.{name}({version!r})" if version else f"Image.{name}()"
    return "Image.bash()" if reference in {"bash", "sh"} else f"Image({reference!r})"


def network(value: object) -> Network:
    """A network policy."""
    if not isinstance(value, Network):
        raise Wrong(
            f"{described(value)} is not a Network",
            "write Network.none() or Network.host()",
        )
    return value


def run(value: object) -> Shell | Exec:
    """A command: a shell string, a list of them, or the argv of a program."""
    match value:
        case str():
            return Shell((_script(value),))
        case list() if value:
            return Shell(tuple(_script(script) for script in value))
        case tuple() if value:
            _script(value[0])
            return Exec(tuple(_argument(argument) for argument in value))
    raise Wrong(f"{described(value)} is not a command", _RUN_HINT)


def text(value: object) -> str:
    """Any text that can be written down as UTF-8."""
    if not isinstance(value, str):
        raise Wrong(f"{described(value)} is not a string", "write a string")
    encoded(value)
    return value


def content(value: object) -> bytes:
    """The content of a file, from text or bytes."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise Wrong(f"{described(value)} is neither text nor bytes", "write a string or bytes")
    return encoded(value)


def globs(value: object) -> tuple[str, ...]:
    """A list of globs, each once."""
    return _unique(listed(value, glob, "['src/**']"))


def inputs(value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Globs, and the names of stages, from a list that mixes globs with stages.

    A text is an address only when it begins as no glob can: a file's name may have a colon.
    """
    stages: list[str] = []

    def one(item: object) -> str:
        if isinstance(item, Stage):
            stages.append(item.name)
            return ""
        if not isinstance(item, str):
            refuse(item, "neither a glob nor a stage", "write 'src/**', or a stage")
        if item.startswith((ROOT, ":")):
            stages.append(reference(item))
            return ""
        return glob(item)

    found = listed(value, one, "['src/**']")
    return _unique(tuple(item for item in found if item)), _unique(tuple(stages))


def requires(value: object) -> tuple[str, ...]:
    """Names, from a list of stages, tasks and names."""
    return _unique(listed(value, reference, "[lint, 'unit']"))


def reference(value: object) -> str:
    """The name that a stage, a task or a name stands for."""
    if isinstance(value, Stage | Task):
        return value.name
    if not isinstance(value, str):
        refuse(value, "not a stage, a task or a name", "write lint or 'lint', each on its own")
    if ":" not in value and "/" not in value:
        return canonical(current().folder, name(value))
    folder = current().folder
    address = parse(value, package=folder, folder=folder)
    if address.deep:
        raise Wrong(
            f"{value!r} is a pattern, which only a task takes",
            "name one stage or task: '//path:unit'",
        )
    return address.canonical


def member(value: object) -> str:
    """The same, or a pattern: a task may stand for what other task files will declare."""
    if not isinstance(value, str) or DEEP not in value:
        return reference(value)
    folder = current().folder
    return parse(value, package=folder, folder=folder).canonical


def files(value: object) -> tuple[tuple[str, bytes], ...]:
    """Sorted pairs of a path and its content, from a mapping."""
    if not isinstance(value, dict):
        refuse(value, "not a mapping of paths to text or bytes", "write {'path': 'text'}")
    found: dict[str, bytes] = {}
    for key, item in value.items():
        where = path(key)
        if where in found:
            raise Wrong(f"{key!r} is there twice", "give each file a path of its own")
        found[where] = _inside(repr(key), content, item)
    return tuple(sorted(found.items()))


def secrets(value: object) -> tuple[Secret, ...]:
    """A list of secrets, each once."""
    return _unique(listed(value, _secret, "[secret('TOKEN')]"))


def secret_name(value: object) -> str:
    """The name of a variable."""
    if not isinstance(value, str) or not _ENV_NAME.fullmatch(value):
        raise Wrong(f"{described(value)} is not the name of a variable", "write secret('TOKEN')")
    return value


def tags(value: object) -> tuple[str, ...]:
    """A list of tags, each once."""
    return _unique(listed(value, _tag, "['slow']"))


def flag(value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise Wrong(f"{described(value)} is not a truth value", "write True or False")
    return value


def count(value: object) -> int:
    """A whole number from zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Wrong(f"{described(value)} is not a whole number from 0", "write 0, 1, 2 …")
    return value


def listed(value: object, convert: Callable[[object], T], example: str) -> tuple[T, ...]:
    """Every item of a list or a tuple, converted."""
    if not isinstance(value, list | tuple):
        refuse(value, "not a list", f"write {[value] if isinstance(value, str) else example}")
    return tuple(convert(item) for item in value)


def _script(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"{described(value)} is not a command", _RUN_HINT)
    return _argument(value)


def _argument(value: object) -> str:
    argument = text(value)
    if "\0" in argument:
        raise Wrong("a command has a NUL character", "pass such bytes by stdin= or files=")
    if len(encoded(argument)) > _LONGEST_ARGUMENT:
        raise Wrong("a command is longer than 128 KiB", "put it into a file with files=")
    return argument


def _secret(value: object) -> Secret:
    if not isinstance(value, Secret):
        raise Wrong(f"{described(value)} is not a secret", "write secrets=[secret('TOKEN')]")
    return value


def _tag(value: object) -> str:
    if not isinstance(value, str) or not value or re.search(r"[\s,]", value):
        raise Wrong(f"{described(value)} is not a tag", "write a word such as 'slow'")
    return text(value)


def _inside(word: str, convert: Callable[[object], T], value: object) -> T:
    try:
        return convert(value)
    except Wrong as error:
        raise Wrong(f"{word}: {error.message}", error.hint) from error


def _unique(items: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
