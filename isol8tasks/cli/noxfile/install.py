"""The arguments of `session.install` to packages of an image, and reasons for the rest."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import attrs

from isol8tasks.cli.noxfile import project
from isol8tasks.cli.noxfile.values import Posargs, Text, Unresolved, Word, text

_HARMLESS = {
    "-q", "--quiet", "-qq", "-v", "--verbose", "-U", "--upgrade", "--no-cache-dir", "--no-cache",
    "--disable-pip-version-check", "--no-warn-script-location", "--prefer-binary", "--no-input",
    "--no-build-isolation", "--force-reinstall", "--reinstall", "--no-python-version-warning",
    "--no-deps",
}  # fmt: skip
"""Options that change nothing about which packages an image has."""

_HARMLESS_WITH_VALUE = {"--upgrade-strategy", "--progress-bar", "--timeout", "--retries"}
_WITH_VALUE = {
    "-i", "--index-url", "--extra-index-url", "--default-index", "--index", "-f", "--find-links",
    "--no-binary", "--only-binary", "-t", "--target", "--platform", "--python-version", "--prefix",
    "--root", "--config-settings", "-C", "--trusted-host", "--resolution", "--python", "--src",
    "-c", "--constraint", "-b", "--build-constraint", "--override", "--no-build-isolation-package",
    "--reinstall-package", "--upgrade-package", "-P", "--exclude-newer", "--cache-dir", "--proxy",
}  # fmt: skip
_SHORT = ("-r", "-e", "-c", "-i", "-f")
_LOCAL = re.compile(r"(?P<path>[^\[\]]*)(?:\[(?P<extras>[^\]]*)\])?")
_PIP = (
    ("pip", "install"),
    ("pip3", "install"),
    ("python", "-m", "pip", "install"),
    ("uv", "pip", "install"),
)


@attrs.define
class Installed:
    """What an install brings: packages, folders with Python sources, and reasons.

    `folder` is the noxfile's, and `at` where in it pip is started.
    """

    folder: Path
    at: str = ""
    with_dependencies: bool = True
    packages: list[Text] = attrs.Factory(list)
    sources: list[str] = attrs.Factory(list)
    reasons: list[str] = attrs.Factory(list)


def pip_arguments(words: tuple[Word, ...]) -> tuple[Word, ...] | None:
    """The arguments of a command that is `pip install`; None for any other command."""
    start = [str(word) for word in words[:4]]
    for prefix in _PIP:
        if tuple(start[: len(prefix)]) == prefix:
            return words[len(prefix) :]
    return None


def installed(words: tuple[Word, ...], folder: Path, at: str) -> Installed:
    """What `pip install` with these words brings into an image."""
    found = Installed(folder, at, "--no-deps" not in map(str, words))
    pending = [part for word in words for part in _split(word)]
    while pending:
        word = pending.pop(0)
        try:
            _take(word, pending, found)
        except Unresolved as error:
            found.reasons.append(str(error))
    return found


def _take(word: Word, pending: list[Word], found: Installed) -> None:
    if isinstance(word, Posargs):
        raise Unresolved("an image cannot depend on what follows `--`")
    if str(word).startswith("-"):
        _option(word, pending, found)
    else:
        _package(word, found)


def _split(word: Word) -> list[Word]:
    """`--name=value`, `-rFILE` and `-r FILE` in one word, as pip reads them."""
    if isinstance(word, Posargs):
        return [word]
    concrete = str(word)
    if concrete.startswith("--") and "=" in concrete:
        name, _, value = concrete.partition("=")
        return [text(name), text(value)] if _takes_value(name) else [word]
    if concrete.startswith(_SHORT) and len(concrete) > 2:
        return [text(concrete[:2]), text(concrete[2:].strip())]
    return [word]


def _takes_value(name: str) -> bool:
    known = _WITH_VALUE | _HARMLESS_WITH_VALUE
    return name in known or name in {"--requirement", "--editable", "--group", "--extra"}


def _option(option: Text, pending: list[Word], found: Installed) -> None:
    name = str(option)
    value = pending.pop(0) if pending and (_takes_value(name) or name in _SHORT) else None
    if isinstance(value, Posargs):
        raise Unresolved("an image cannot depend on what follows `--`")
    shown = name if value is None else f"{name} {value}"
    match name, value:
        case (("-r" | "--requirement"), Text()):
            _copy(f"{value}", project.requirements(found.folder / found.at / str(value)), found)
        case "--group", Text():
            _group(str(value), found)
        case (("-e" | "--editable"), Text()):
            _package(value, found)
        case _ if name in _HARMLESS or name in _HARMLESS_WITH_VALUE:
            pass
        case (("-c" | "--constraint"), Text()):
            found.reasons.append(f"`{shown}`: an image has no constraints: pin the packages")
        case _:
            found.reasons.append(f"`{shown}` is an option of pip that an image does not have")


def _group(value: str, found: Installed) -> None:
    path, _, name = value.rpartition(":")
    table = project.load(found.folder / found.at / (path or "pyproject.toml"))
    _copy(f"group '{name}'", project.groups(table, (name,)), found)


def _copy(what: str, copied: project.Found, found: Installed) -> None:
    """Take packages over from a file, and say that they are a copy."""
    packages, reasons = copied
    if packages:
        found.packages += [text(package) for package in packages]
        found.reasons.append(f"the packages of {what} are a copy: keep both the same")
    found.reasons += [f"{what}: {reason}" for reason in reasons]


def _package(word: Text, found: Installed) -> None:
    concrete = str(word)
    if _is_local(concrete, found.folder / found.at):
        _local(word, found)
    elif project.is_plain(concrete):
        found.packages.append(word)
    else:
        found.reasons.append(
            f"`{concrete}` is not a package of an index: bake it with Image.run(…)"
        )


def _is_local(concrete: str, folder: Path) -> bool:
    path = concrete.partition("[")[0]
    if "://" in concrete or " " in concrete:
        return False
    if path.startswith((".", "/")) or path == "":
        return True
    return "/" in path and (folder / path).is_dir()


def _local(word: Text, found: Installed) -> None:
    match = _LOCAL.fullmatch(str(word))
    path = posixpath.normpath(posixpath.join(found.at, match["path"])) if match else ""
    if not match or path.startswith(("/", "..")) or not (found.folder / path).is_dir():
        found.reasons.append(f"`{word}` is not a folder below the noxfile")
        return
    in_src = (found.folder / path / "src").is_dir()
    sources = posixpath.normpath(posixpath.join(path, "src")) if in_src else path
    found.sources.append(sources)
    found.reasons.append(
        f"the project in '{path}' is not installed: PYTHONPATH finds its sources; it has no"
        " metadata, no commands of its own and no compiled parts"
    )
    if found.with_dependencies:
        extras = tuple(part.strip() for part in (match["extras"] or "").split(",") if part.strip())
        _dependencies(path, extras, found)


def _dependencies(path: str, extras: tuple[str, ...], found: Installed) -> None:
    name = posixpath.normpath(posixpath.join(path, "pyproject.toml"))
    try:
        table = project.load(found.folder / name)
    except Unresolved as error:
        found.reasons.append(f"what the project needs is not known: {error}")
        return
    _copy(name, project.dependencies(table, extras), found)
