"""Settings and where each came from: flag, variable, settings file, default."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from isol8tasks.cli import kinds
from isol8tasks.errors import Location, SettingsError, UsageError
from isol8tasks.plan.suggest import did_you_mean, nearest
from isol8tasks.taskfile.root import SETTINGS_FILE, is_believed, root_of
from isol8tasks.taskfile.wrong import message_and_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from isol8tasks.model.limits import Limit


PREFIX = "ISOL8TASKS_"
FILE_NAMES = (SETTINGS_FILE, "pyproject.toml")
_WORKSPACE = "workspace"
"""No setting: it says that a folder is the root of a workspace, see `isol8tasks.taskfile.root`."""

_AT_LINE = re.compile(r"\(at line (\d+),")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set outside a task file. `bake_timeout` is in seconds.

    `images` is what an image name stands for: sorted pairs of a name and a reference. `limits` are
    for stages that do not state them, `ceilings` the most that a stage may state.
    `sources` says, per setting, where its value came from; `unknown` names variables that look
    like settings and are none.
    """

    file: Path | None = attrs.field(default=None, metadata={"kind": kinds.PATH})
    backend: str | None = attrs.field(default=None, metadata={"kind": kinds.TEXT})
    runtime: str | None = attrs.field(default=None, metadata={"kind": kinds.TEXT})
    jobs: int | None = attrs.field(default=None, metadata={"kind": kinds.COUNT})
    fail_fast: bool = attrs.field(default=False, metadata={"kind": kinds.BOOLEAN})
    quiet: bool = attrs.field(default=False, metadata={"kind": kinds.BOOLEAN})
    verbose: bool = attrs.field(default=False, metadata={"kind": kinds.BOOLEAN})
    color: str = attrs.field(default="auto", metadata={"kind": kinds.COLOR})
    report: Path | None = attrs.field(default=None, metadata={"kind": kinds.PATH})
    allow_host_network: bool = attrs.field(default=False, metadata={"kind": kinds.BOOLEAN})
    allow_unenforced: frozenset[Limit] = attrs.field(
        default=frozenset(), metadata={"kind": kinds.LIMITS}
    )
    require_enforced: bool = attrs.field(default=False, metadata={"kind": kinds.BOOLEAN})
    bake_timeout: float = attrs.field(default=600.0, metadata={"kind": kinds.DURATION})
    cache: Path | None = attrs.field(default=None, metadata={"kind": kinds.PATH})
    state: Path | None = attrs.field(default=None, metadata={"kind": kinds.PATH})
    images: tuple[tuple[str, str], ...] = attrs.field(default=(), metadata={"kind": kinds.IMAGES})
    limits: tuple[tuple[str, Any], ...] = attrs.field(
        default=(), metadata={"kind": kinds.LIMIT_VALUES}
    )
    ceilings: tuple[tuple[str, Any], ...] = attrs.field(
        default=(), metadata={"kind": kinds.LIMIT_VALUES}
    )
    sources: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()

    def table(self) -> Iterator[tuple[str, str, str]]:
        """Name, value and source of every setting."""
        sources = dict(self.sources)
        for name in KINDS:
            yield name, kinds.render(getattr(self, name)), sources.get(name, "default")


KINDS: Mapping[str, kinds.Kind] = {
    field.name: field.metadata["kind"]
    for field in attrs.fields(Settings)
    if "kind" in field.metadata
}
"""The kind of every setting by its name."""


def resolve(flags: Mapping[str, Any], environ: Mapping[str, str], folder: Path) -> Settings:
    """Settings as they are in a folder; a flag that is None was not given."""
    variables = _variables(environ)
    start = flags.get("file") or variables.get(PREFIX + "FILE")
    found = _from_file((folder / start).parent if start else folder)
    found |= _from_variables(variables, folder)
    found |= _from_flags(flags, folder)
    return Settings(
        **{name: value for name, (value, _) in found.items()},
        sources=tuple((name, source) for name, (_, source) in found.items()),
        unknown=tuple(name for name in variables if _setting_of(name) not in KINDS),
    )


def warning(variable: str) -> str:
    """What to say about an unknown variable."""
    close = nearest(_setting_of(variable), KINDS)
    meant = f"; did you mean '{PREFIX}{close.upper()}'?" if close else ""
    return f"{variable} is not a setting{meant}"


_Found = dict[str, tuple[Any, str]]


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environ.items() if name.startswith(PREFIX) and text}


def _setting_of(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


def _from_flags(flags: Mapping[str, Any], folder: Path) -> _Found:
    found: _Found = {}
    for name, value in flags.items():
        if value is not None and value != ():
            flag = "--" + name.replace("_", "-")
            convert = KINDS[name].from_text if isinstance(value, str) else KINDS[name].from_value
            found[name] = (_converted(convert, value, label=flag, folder=folder), flag)
    return found


def _from_variables(variables: Mapping[str, str], folder: Path) -> _Found:
    found: _Found = {}
    for variable, text in variables.items():
        name = _setting_of(variable)
        if name in KINDS:
            value = _converted(KINDS[name].from_text, text, label=variable, folder=folder)
            found[name] = (value, variable)
    return found


def _from_file(folder: Path) -> _Found:
    """The nearest table, and below it that of the workspace, which alone may set ceilings."""
    top = root_of(folder)
    tables = list(_tables(folder, top))
    if not tables:
        return {}
    found: _Found = {}
    workspace = next((path for path, _ in tables if path.parent == top), None)
    for path, table in reversed(tables):
        if path in {workspace, tables[0][0]}:
            found |= _checked(table, path)
            if "ceilings" in table and workspace not in {None, path}:
                raise SettingsError(
                    "ceilings are for the whole workspace",
                    where=Location(str(path), _line(path, "ceilings")),
                    hint=f"set them in {workspace}",
                )
    return found


def _tables(folder: Path, top: Path | None) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The files with settings, from the nearest up to that of the workspace."""
    for directory in (folder, *folder.parents):
        for name in FILE_NAMES:
            path = directory / name
            table = _table(path) if is_believed(path, folder) else None
            if table is not None:
                yield path, table
                break
        if directory == top:
            return


def _checked(table: Mapping[str, Any], path: Path) -> _Found:
    found: _Found = {}
    for name, value in table.items():
        if name == _WORKSPACE:
            _converted(kinds.BOOLEAN.from_value, value, label=name, folder=path.parent, file=path)
            continue
        if name not in KINDS:
            message = f"{name!r} is not a setting{did_you_mean(name, KINDS)}"
            where = Location(str(path), _line(path, name))
            raise SettingsError(message, where=where, hint=f"there are: {', '.join(KINDS)}")
        convert = KINDS[name].from_value
        converted = _converted(convert, value, label=name, folder=path.parent, file=path)
        found[name] = (converted, str(path))
    return found


def _converted(
    convert: kinds.Converter,
    value: Any,
    *,
    label: str,
    folder: Path,
    file: Path | None = None,
) -> Any:
    try:
        converted = convert(value)
    except ValueError as error:
        message, hint = message_and_hint(error)
        entry = error.entry if isinstance(error, kinds.WrongEntry) else ""
        where = Location(str(file), _line(file, label, entry)) if file else None
        raise SettingsError(f"{label}: {message}", where=where, hint=hint) from None
    return folder / converted.expanduser() if isinstance(converted, Path) else converted


def _line(path: Path, name: str, entry: str = "") -> int:
    """The line of a setting or of an entry of one, as well as the text tells it; 0 if not."""
    lines = path.read_text("utf-8").split("\n")
    key = rf"([\w.]*isol8tasks\.)?{_quotable(name)}"
    below = r"tool\.isol8tasks\." if path.name == "pyproject.toml" else ""
    start = _first(lines, r"\[\s*tool\.isol8tasks\s*\]")
    table = _first(lines, rf"\[+\s*{below}{_quotable(name)}\s*[.\]]")
    found = 0
    if entry:
        dotted = _first(lines, rf"{key}\s*\.\s*{_quotable(entry)}\s*[.=]", start)
        found = _first(lines, rf"{_quotable(entry)}\s*[.=]", table) if table else dotted
    return found or _first(lines, rf"{key}\s*=", start) or table


def _quotable(name: str) -> str:
    return rf"[\"']?{re.escape(name)}[\"']?"


def _first(lines: Sequence[str], pattern: str, after: int = 0) -> int:
    """The number of the first line that begins so; 0 if none does."""
    begins = re.compile(rf"\s*{pattern}")
    return next((n for n, line in enumerate(lines, 1) if n > after and begins.match(line)), 0)


def _table(path: Path) -> Mapping[str, Any] | None:
    """The settings in a file, None if it has none."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None
    if path.name == "pyproject.toml":
        tool = _parsed(content, path).get("tool", {}) if b"isol8tasks" in content else {}
        table = tool.get("isol8tasks")
    else:
        table = _parsed(content, path)
    if table is not None and not isinstance(table, dict):
        raise SettingsError(
            "tool.isol8tasks is not a table",
            where=Location(str(path), 0),
            hint="write [tool.isol8tasks] on a line of its own, and below it: jobs = 2",
        )
    return table


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 -- most projects have no settings file

    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        line = _AT_LINE.search(str(error))
        where = Location(str(path), int(line[1]) if line else 0)
        raise SettingsError(
            f"this is not valid TOML: {error}", where=where, hint="correct the line"
        ) from None


def current(flags: Mapping[str, Any]) -> Settings:
    """Settings of this process, in its current directory; UsageError when that is gone."""
    try:
        folder = Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the current directory cannot be used: {error.strerror}",
            hint="go to a folder that exists: cd",
        ) from error
    return resolve(flags, os.environ, folder)
