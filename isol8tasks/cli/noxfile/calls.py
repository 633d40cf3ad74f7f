"""The functions and methods whose results are known without executing a noxfile."""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path, PurePosixPath
from string import Formatter

from isol8tasks.cli.noxfile import project
from isol8tasks.cli.noxfile.values import Hole, Posargs, Text, Unresolved, join, text

_PATHS = {"pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "pathlib.PurePosixPath"}
_ABSOLUTE = {"abspath", "realpath", "resolve", "absolute"}
_FROM_HERE = {*_ABSOLUTE, "cwd", "getcwd"}
_PLAIN = {"strip", "lstrip", "rstrip", "lower", "upper", "replace", "removeprefix", "removesuffix"}


def function(
    name: str, arguments: tuple[object, ...], options: dict[str, object], folder: Path
) -> object:
    """What a call gives; NotImplemented for a function that is not known."""
    if name.startswith("nox.project."):
        return _project(name.removeprefix("nox.project."), arguments, options, folder)
    if options:
        return NotImplemented
    texts = tuple(item for item in arguments if isinstance(item, Text))
    found = _of_paths(name, texts) if len(texts) == len(arguments) else NotImplemented
    return _builtin(name, arguments) if found is NotImplemented else found


def _of_paths(name: str, texts: tuple[Text, ...]) -> object:
    match name, texts:
        case _ if name in _PATHS:
            return path_join(texts)
        case "os.path.join", (_, *_):
            return _join(texts)
        case (("os.path.normpath" | "os.fspath"), (path,)):
            return path
        case (("os.path.abspath" | "os.path.realpath"), (path,)):
            return _absolute(path)
        case "os.path.dirname", (path,):
            return path_attribute("parent", path)
        case (("pathlib.Path.cwd" | "os.getcwd"), ()):
            return text(".", anchored=True)
        case "platform.system", ():
            return text("Linux")
    return NotImplemented


def method(
    owner: object, name: str, arguments: tuple[object, ...], options: dict[str, object]
) -> object:
    """What a method of a known value gives; NotImplemented for one that is not known."""
    if isinstance(owner, dict):
        return _of_mapping(owner, name, arguments) if not options else NotImplemented
    if not isinstance(owner, Text):
        return NotImplemented
    if name == "format":
        return _format(owner, arguments, options)
    if options:
        return NotImplemented
    if name in _ABSOLUTE and not arguments:
        return _absolute(owner)
    if name == "as_posix" and not arguments:
        return owner
    if name == "joinpath" and all(isinstance(item, Text) for item in arguments):
        return path_join((owner, *(item for item in arguments if isinstance(item, Text))))
    if name == "join" and len(arguments) == 1 and isinstance(arguments[0], tuple):
        pieces = tuple(item for item in arguments[0] if isinstance(item, Text))
        return join(str(owner), pieces) if len(pieces) == len(arguments[0]) else NotImplemented
    return _of_text(owner, name, arguments)


def depends_on_folder(function: ast.expr) -> bool:
    """Whether what a function gives depends on the current folder."""
    return isinstance(function, ast.Attribute) and function.attr in _FROM_HERE


def _absolute(path: Text) -> Text:
    return path if str(path).startswith("/") else text(path, anchored=True)


def path_join(paths: tuple[Text, ...]) -> Text:
    """The path that pathlib makes of some: without a slash at its end, or a dot between."""
    found = _join(paths) if paths else text(".")
    normal = str(PurePosixPath(str(found)))
    return found if normal == str(found) else text(normal, anchored=found.anchored)


def _join(paths: tuple[Text, ...]) -> Text:
    """What os.path.join makes of some; where one begins anew, those before it do not count."""
    found = paths[0]
    for path in paths[1:]:
        if path.anchored or str(path).startswith("/"):
            found = path
        elif str(found) == "." and found.anchored:
            found = text(path, anchored=True)
        else:
            found = text(found, "/" if str(found) and not str(found).endswith("/") else "", path)
    return found


def path_attribute(name: str, value: object) -> Text:
    """`parent` or `name` of a path."""
    if not isinstance(value, Text):
        raise Unresolved("it is not a path")
    concrete = str(value)
    if name == "name":
        return text(posixpath.basename(concrete))
    if concrete == "." and value.anchored:
        raise Unresolved("it is above the folder of the noxfile")
    return text(posixpath.dirname(concrete) or ".", anchored=value.anchored)


def _builtin(name: str, arguments: tuple[object, ...]) -> object:
    match name, arguments:
        case "builtins.str", (Text(),):
            return arguments[0]
        case "builtins.str", (bool() | int() | float(),):
            return text(str(arguments[0]))
        case (("builtins.list" | "builtins.tuple"), ()):
            return ()
        case (("builtins.list" | "builtins.tuple"), (tuple(),)):
            return arguments[0]
        case "builtins.len", (tuple() as items,) if not _has_posargs(items):
            return len(items)
        case "builtins.sorted", (tuple() as items,) if all(isinstance(i, Text) for i in items):
            return tuple(sorted(items, key=str))
    return NotImplemented


def _has_posargs(items: tuple[object, ...]) -> bool:
    return any(isinstance(item, Posargs) for item in items)


def _of_mapping(owner: dict[str, object], name: str, arguments: tuple[object, ...]) -> object:
    if name == "get" and arguments:
        return owner.get(str(arguments[0]), arguments[1] if len(arguments) > 1 else None)
    if arguments:
        return NotImplemented
    if name == "keys":
        return tuple(text(key) for key in owner)
    if name == "values":
        return tuple(owner.values())
    if name == "items":
        return tuple((text(key), value) for key, value in owner.items())
    return NotImplemented


def _of_text(owner: Text, name: str, arguments: tuple[object, ...]) -> object:
    words = [str(item) for item in arguments if isinstance(item, Text)]
    if len(words) < len(arguments):
        return NotImplemented
    try:
        if name == "split" and len(words) < 2:
            parts = str(owner).split(words[0] if words else None)
            return tuple(text(part) for part in parts)
        if name in {"startswith", "endswith"} and len(words) == 1:
            return bool(getattr(str(owner), name)(words[0]))
        if name in _PLAIN:
            return text(getattr(str(owner), name)(*words))
    except (TypeError, ValueError):
        pass
    return NotImplemented


def _format(owner: Text, arguments: tuple[object, ...], options: dict[str, object]) -> object:
    """`str.format` with plain fields only: a width could make any amount of text."""
    found: list[str | Hole | Text] = []
    number = 0
    try:
        for literal, field, spec, conversion in Formatter().parse(str(owner)):
            found.append(literal)
            if field is None:
                continue
            if spec or conversion or not re.fullmatch(r"\w*", field):
                return NotImplemented
            key = field or str(number)
            number += not field
            value = arguments[int(key)] if key.isdigit() else options[key]
            if not isinstance(value, Text | int | float):
                return NotImplemented
            found.append(value if isinstance(value, Text) else str(value))
    except (KeyError, IndexError, ValueError):
        return NotImplemented
    return text(*found)


def _project(
    name: str, arguments: tuple[object, ...], options: dict[str, object], folder: Path
) -> object:
    """Nox's own functions about pyproject.toml, which only read."""
    match name, arguments:
        case "load_toml", (Text() as path,) if not options:
            return _values(project.load(folder / str(path)))
        case "load_toml", () if not options:
            return _values(project.load(folder / "pyproject.toml"))
        case "python_versions", (dict() as table,) if not options:
            return tuple(text(version) for version in project.python_versions(_plain(table)))
        case "dependency_groups", (dict() as table, *groups) if not options:
            names = tuple(str(group) for group in groups)
            found, notes = project.groups(_plain(table), names)
            return tuple(text(package) for package in found) if not notes else NotImplemented
    return NotImplemented


def _values(value: object) -> object:
    """A table of TOML as values of a noxfile; dates are nothing that a session needs."""
    match value:
        case str():
            return text(value)
        case list():
            return tuple(_values(item) for item in value)
        case dict():
            return {str(key): _values(item) for key, item in value.items()}
        case bool() | int() | float():
            return value
    return None


def _plain(value: object) -> dict[str, object]:
    """The table of TOML that the values came from."""

    def plain(item: object) -> object:
        match item:
            case Text():
                return str(item)
            case tuple():
                return [plain(each) for each in item]
            case dict():
                return {key: plain(each) for key, each in item.items()}
        return item

    found = plain(value)
    return found if isinstance(found, dict) else {}
