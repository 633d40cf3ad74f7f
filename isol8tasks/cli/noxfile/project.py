"""What pyproject.toml and requirements files say about packages, read when a noxfile is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from isol8tasks.cli.noxfile.values import Unresolved

_LARGEST = 1 << 20
_DEEPEST = 10
_LONGEST = 500
_CLASSIFIER = re.compile(r"Programming Language :: Python :: (\d+\.\d+)")
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"(?:\(?\s*(?:[<>=!~]=?=?).*|;.*)?",
    re.ASCII,
)
_HASH = re.compile(r"\s--hash[= ]\S+")

Found = tuple[tuple[str, ...], tuple[str, ...]]
"""Packages, and the reasons why others are missing."""


def read(path: Path) -> str:
    """The text of a small regular file; Unresolved otherwise."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            raise Unresolved(f"{path.name} is not a file that can be read here")
        return path.read_text("utf-8-sig")
    except (OSError, ValueError):
        raise Unresolved(f"{path.name} cannot be read") from None


def load(path: Path) -> dict[str, object]:
    """The table of a TOML file; Unresolved otherwise."""
    try:
        return tomllib.loads(read(path))
    except (tomllib.TOMLDecodeError, RecursionError):
        raise Unresolved(f"{path.name} is not TOML") from None


def is_plain(requirement: str) -> bool:
    """Whether a requirement names a package of an index, and nothing else."""
    if len(requirement) > _LONGEST or not requirement.isprintable():
        return False
    return bool(_REQUIREMENT.fullmatch(requirement))


def python_versions(table: dict[str, object]) -> tuple[str, ...]:
    """The versions of Python among the classifiers, as nox takes them."""
    classifiers = _texts(_table(table, "project").get("classifiers"))
    found = [match[1] for item in classifiers if (match := _CLASSIFIER.fullmatch(item))]
    if not found:
        raise Unresolved("pyproject.toml has no classifiers of Python versions")
    return tuple(found)


def dependencies(table: dict[str, object], extras: tuple[str, ...]) -> Found:
    """What the project itself needs, with some of its extras."""
    about = _table(table, "project")
    if not about:
        return (), ("pyproject.toml has no [project] table that lists what it needs",)
    notes = []
    if "dependencies" in _texts(about.get("dynamic")):
        notes.append("its dependencies are dynamic: add them to .pip(…)")
    packages = list(_texts(about.get("dependencies")))
    seen: set[str] = set()
    _add_extras(about, extras, packages, notes, seen)
    return _sorted_out(tuple(packages), tuple(notes))


def groups(table: dict[str, object], names: tuple[str, ...]) -> Found:
    """What dependency groups list, with the groups that they include."""
    packages: list[str] = []
    notes: list[str] = []
    seen: set[str] = set()
    for name in names:
        _add_group(_table(table, "dependency-groups"), name, packages, notes, seen)
    return _sorted_out(tuple(packages), tuple(notes))


def requirements(path: Path, depth: int = 0) -> Found:
    """The packages of a requirements file, and of those that it names with `-r`."""
    packages: list[str] = []
    notes: list[str] = []
    if depth > _DEEPEST:
        return (), (f"{path.name}: files include each other",)
    for line in _logical_lines(read(path)):
        if nested := re.fullmatch(r"(?:-r|--requirement)[ =]?\s*(.+)", line):
            more, reasons = requirements(path.parent / nested[1], depth + 1)
            packages += more
            notes += reasons
        elif line.startswith("-"):
            notes.append(f"{path.name}: `{line}` is an option of pip")
        else:
            packages.append(line)
    found, reasons = _sorted_out(tuple(packages), ())
    return found, (*notes, *(f"{path.name}: {reason}" for reason in reasons))


def _logical_lines(content: str) -> Iterator[str]:
    for raw in content.replace("\\\n", " ").splitlines():
        line = _HASH.sub("", re.sub(r"(^|\s)#.*", "", raw)).strip()
        if line:
            yield line


def _sorted_out(packages: tuple[str, ...], notes: tuple[str, ...]) -> Found:
    odd = tuple(package for package in packages if not is_plain(package))
    reasons = tuple(f"`{package}` is not a package of an index" for package in odd)
    return tuple(p for p in dict.fromkeys(packages) if p not in odd), (*notes, *reasons)


def _add_extras(
    about: dict[str, object],
    extras: tuple[str, ...],
    packages: list[str],
    notes: list[str],
    seen: set[str],
) -> None:
    optional = {
        _normal(name): item for name, item in _table(about, "optional-dependencies").items()
    }
    for extra in map(_normal, extras):
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in optional:
            notes.append(f"pyproject.toml has no extra '{extra}'")
        for requirement in _texts(optional.get(extra)):
            match = _REQUIREMENT.fullmatch(requirement)
            if match and match["extras"] and _normal(match["name"]) == _own_name(about):
                inner = tuple(part.strip() for part in match["extras"].split(","))
                _add_extras(about, inner, packages, notes, seen)
            else:
                packages.append(requirement)


def _add_group(
    table: dict[str, object], name: str, packages: list[str], notes: list[str], seen: set[str]
) -> None:
    known = {_normal(key): item for key, item in table.items()}
    if _normal(name) in seen:
        return
    seen.add(_normal(name))
    items = known.get(_normal(name))
    if not isinstance(items, list):
        notes.append(f"pyproject.toml has no dependency group '{name}'")
        return
    for item in items:
        if isinstance(item, str):
            packages.append(item)
        elif isinstance(item, dict) and isinstance(item.get("include-group"), str):
            _add_group(table, item["include-group"], packages, notes, seen)


def _own_name(about: dict[str, object]) -> str:
    return _normal(str(about.get("name", "")))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(table: dict[str, object], name: str) -> dict[str, object]:
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
