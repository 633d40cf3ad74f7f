"""The single sessions that one declared session stands for, and what each becomes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from string import Formatter

import attrs

from isol8tasks.cli.noxfile.body import Body
from isol8tasks.cli.noxfile.commands import Run, lower
from isol8tasks.cli.noxfile.evaluate import concrete, evaluate
from isol8tasks.cli.noxfile.parameters import ParameterSet
from isol8tasks.cli.noxfile.read import Declared
from isol8tasks.cli.noxfile.values import (
    Hole,
    Parameter,
    Remark,
    Text,
    Unknown,
    Unresolved,
    text,
)

_MOST = 500
_LONGEST_NAME = 100
_TAKEN = {"Image", "stage", "task", "name", "version"}
"""Names that the task file itself uses, `version` being that of Python."""

_VERSION = re.compile(r"(?:python)?(\d+(?:\.\d+){0,2})")


@attrs.define(kw_only=True)
class Variant:
    """One session as nox runs it. `signatures` are the names that nox knows it by."""

    declared: Declared
    name: Text
    title: str
    signatures: tuple[str, ...]
    version: Text | None = None
    packages: tuple[Text, ...] = ()
    run: Run | None = None
    tags: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def shape(self) -> object:
        """What must be the same for two stages to be rounds of one loop."""
        return (self.version, self.packages, self.run, self.tags, self.requires)


def variants(declared: Declared, scope_of: Body) -> list[Variant]:
    """Everything that nox makes of the session, in nox's order."""
    found: list[Variant] = []
    for python in declared.pythons if declared.pythons is not None else (None,):
        for parameters in declared.parameters or (None,):
            if len(found) < _MOST:
                found.append(_variant(declared, python, parameters, scope_of))
    return found


def slug(value: str) -> str:
    """The value as a part of a stage's name."""
    return re.sub(r"[^A-Za-z0-9._+]+", "-", value).strip("-._+") or "x"


def _variant(
    declared: Declared, python: Text | None, parameters: ParameterSet | None, start: Body
) -> Variant:
    remarks = list(declared.remarks)
    values = dict(parameters.values) if parameters else {}
    arguments = [argument.arg for argument in declared.node.args.args]
    if python is None and isinstance(values.get("python"), Text) and "python" not in arguments:
        python = values["python"]  # type: ignore[assignment]  # just checked
    python = None if python is None else Text((Hole("version", str(python)),))
    title = f"({parameters.title})" if parameters else ""
    long = f"{declared.name}-{python}" if python is not None else declared.name
    bare = () if declared.several else (f"{declared.name}{title}",)
    found = Variant(
        declared=declared,
        name=_name(declared, python, parameters),
        title=(bare or (f"{long}{title}",))[0],
        signatures=tuple(dict.fromkeys((*bare, f"{long}{title}", long))),
    )
    found.version = _version(declared, python, remarks)
    found.tags = _tags(declared, parameters, remarks)
    found.requires = _requires(declared, python, remarks)
    if python is None or found.version is not None:
        body = _read_body(declared, python, found, values, start)
        remarks += body.remarks
        found.packages = tuple(dict.fromkeys(body.packages))
        if body.commands:
            sources = tuple(dict.fromkeys(body.sources))
            found.run = lower(tuple(body.commands), sources)
    found.remarks = tuple(dict.fromkeys(remarks))
    return found


def _read_body(
    declared: Declared,
    python: Text | None,
    found: Variant,
    values: dict[str, object],
    start: Body,
) -> Body:
    names = dict(start.scope.names)
    arguments = [argument.arg for argument in declared.node.args.args]
    for argument, default in _defaults(declared):
        try:
            names[argument] = evaluate(default, start.scope)
        except Unresolved:
            names[argument] = Unknown(declared.node.lineno)
    for argument in arguments[1:]:
        if argument in values:
            names[argument] = Parameter(_hole(argument, values[argument]), values[argument])
        elif argument not in dict(_defaults(declared)):
            names[argument] = Unknown(declared.node.lineno)
    session = arguments[0] if arguments else ""
    names.pop(session, None)
    scope = attrs.evolve(
        start.scope,
        names=names,
        session=session,
        session_name=text(found.title),
        python=python,
    )
    body = Body(scope=scope)
    body.run(declared.node.body)
    return body


def _defaults(declared: Declared) -> Iterator[tuple[str, ast.expr]]:
    arguments = declared.node.args
    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    for argument, default in zip(with_default, arguments.defaults, strict=True):
        yield argument.arg, default


def _hole(argument: str, value: object) -> Hole:
    name = f"{argument}_" if argument in _TAKEN else argument
    return Hole(name, str(concrete(value)))


def _name(declared: Declared, python: Text | None, parameters: ParameterSet | None) -> Text:
    pieces: list[str | Text | Hole] = [slug(declared.name)]
    if python is not None and declared.several:
        pieces += ["-", *_part(python.holes[0])]
    if parameters:
        values = dict(parameters.values)
        for identity, names in zip(parameters.ids, parameters.groups, strict=True):
            if identity:
                pieces.append(f"-{slug(identity)}")
                continue
            for name in names:
                hole = _hole(name, values[name])
                if python is not None and name == "python" and hole.value == str(python):
                    hole = python.holes[0]
                pieces += [f"-{slug(name)}-", *_part(hole)]
    found = text(*pieces)
    return found if len(str(found)) <= _LONGEST_NAME else text(str(found)[:_LONGEST_NAME])


def _part(hole: Hole) -> tuple[str | Hole, ...]:
    return (hole,) if slug(hole.value) == hole.value else (slug(hole.value),)


def _version(declared: Declared, python: Text | None, remarks: list[Remark]) -> Text | None:
    if python is None:
        return None
    match = _VERSION.fullmatch(str(python))
    if not match:
        reason = f"there is no image for the Python '{python}'"
        remarks.append(Remark(declared.node.lineno, reason))
        return None
    return python if match[1] == str(python) else text(match[1])


def _tags(
    declared: Declared, parameters: ParameterSet | None, remarks: list[Remark]
) -> tuple[Text, ...]:
    found = []
    for tag in dict.fromkeys((*declared.tags, *(parameters.tags if parameters else ()))):
        if re.search(r"[\s,]", str(tag)) or not str(tag):
            reason = f"the tag '{tag}' is not one word"
            remarks.append(Remark(declared.node.lineno, reason))
        else:
            found.append(tag)
    return tuple(found)


def _requires(declared: Declared, python: Text | None, remarks: list[Remark]) -> tuple[Text, ...]:
    found = []
    for required in declared.requires:
        try:
            found.append(_filled(required, python))
        except (Unresolved, ValueError, KeyError, IndexError):
            reason = f"requires='{required}' is not a name that can be filled in here"
            remarks.append(Remark(declared.node.lineno, reason))
    return tuple(found)


def _filled(required: Text, python: Text | None) -> Text:
    """`{python}` in a name that is required, as nox fills it."""
    pieces: list[str | Text] = []
    for plain, field, spec, conversion in Formatter().parse(str(required)):
        pieces.append(plain)
        if field is None:
            continue
        if field not in {"python", "py"} or spec or conversion or python is None:
            raise Unresolved("it is not {python}")
        pieces.append(python)
    return text(*pieces)
