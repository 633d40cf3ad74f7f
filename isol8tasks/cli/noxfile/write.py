"""The text of a task file, laid out as ruff format would do it with lines of 100 characters."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import attrs

from isol8tasks.cli.noxfile.commands import Run
from isol8tasks.cli.noxfile.values import Hole, Remark, Text

WIDTH = 100
MARK = "TODO(nox)"
TIMEOUT = "10m"
"""nox has no time limits, and the default of a stage is too short for most sessions."""

_INDENT = " " * 4
_TITLES_SHOWN = 4

_HEAD = '''\
"""The sessions of {file}, as `isol8tasks init --from-noxfile` read them.

A stage sees the files that git would track and no others, has no network and no variables but its
own, and what it writes is gone afterwards: outputs= keeps files, and inputs= hands them on.
{mark} marks what was not carried over.
"""
'''


@attrs.frozen(kw_only=True)
class Member:
    """One stage."""

    name: Text
    title: str
    version: Text | None
    packages: tuple[Text, ...]
    run: Run
    tags: tuple[Text, ...]
    requires: tuple[Text, ...]


@attrs.frozen
class Loop:
    """Stages that are the same but for their names and the holes in their texts."""

    members: tuple[Member, ...]


@attrs.frozen(kw_only=True)
class Part:
    """What one session became. `left_out` are its variants that became nothing."""

    session: str
    description: str
    loops: tuple[Loop, ...]
    left_out: tuple[str, ...]
    remarks: tuple[Remark, ...]
    task: str = ""


def write(
    file: str, general: Sequence[Remark], parts: Sequence[Part], default: tuple[str, Sequence[str]]
) -> str:
    """The whole task file."""
    blocks = [_HEAD.format(file=_plain(file).replace("\\", "\\\\").replace('"', "'"), mark=MARK)]
    blocks.append("from isol8tasks import Image, stage, task\n")
    if general:
        blocks.append(_lines(_marked(file, general, "")))
    blocks += [_lines(_session(file, part)) for part in parts]
    name, members = default
    if members:
        goal = [literal(name), *map(literal, members), "default=True"]
        blocks.append(_lines(_call("task", goal, "")))
    return "\n".join(blocks)


def literal(value: str) -> str:
    """A string as ruff writes it: double quotes, unless single ones need fewer backslashes."""
    body = repr(value)[1:-1]
    if repr(value)[0] == "'":
        body = body.replace("\\'", "'")
    return _quoted(body, value)


def _quoted(body: str, value: str, prefix: str = "") -> str:
    quote = "'" if value.count('"') > value.count("'") else '"'
    return f"{prefix}{quote}{body.replace(quote, chr(92) + quote)}{quote}"


def rendered(value: Text, columns: Sequence[str]) -> str:
    """The expression for a text inside of a loop over these columns."""
    holes = [hole for hole in value.holes if hole.name in columns]
    if not holes:
        return literal(str(value))
    if len(value.parts) == 1:
        return holes[0].name
    body, plain = "", ""
    for part in value.parts:
        if isinstance(part, Hole) and part.name in columns:
            body += f"{{{part.name}}}"
            continue
        piece = part if isinstance(part, str) else part.value
        plain += piece
        escaped = repr(piece)[1:-1]
        if repr(piece)[0] == "'":
            escaped = escaped.replace("\\'", "'")
        body += escaped.replace("{", "{{").replace("}", "}}")
    return _quoted(body, plain, "f")


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _plain(value: str) -> str:
    """The text on one line that no editor and no terminal takes for more."""
    shown = "".join(char if char.isprintable() else " " for char in value)
    return " ".join(shown.encode(errors="replace").decode().split())


def _comment(value: str, indent: str) -> Iterator[str]:
    width = WIDTH - len(indent)
    yield from (
        indent + line
        for line in textwrap.wrap(
            _plain(value),
            width,
            initial_indent="# ",
            subsequent_indent="#   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _marked(file: str, remarks: Iterable[Remark], indent: str) -> Iterator[str]:
    for remark in remarks:
        yield from _comment(f"{MARK}: {file}:{remark.line}: {remark.text}", indent)
        for line in remark.code:
            shown = "".join(char if char.isprintable() else " " for char in line.expandtabs(4))
            code = f"{indent}#     {shown.encode(errors='replace').decode()}".rstrip()
            yield code if len(code) <= WIDTH else f"{code[: WIDTH - 1]}…"


def _session(file: str, part: Part) -> Iterator[str]:
    if not part.loops:
        yield from _comment(f"The session '{part.session}' is not carried over.", "")
    yield from _marked(file, part.remarks, "")
    if part.loops and part.left_out:
        shown = _shown(part.left_out)
        yield from _comment(f"Not carried over: {shown}", "")
    for index, loop in enumerate(part.loops):
        if index:
            yield ""
        yield from _loop(loop, part)
    if part.task:
        names = [str(member.name) for loop in part.loops for member in loop.members]
        yield ""
        yield from _call("task", [literal(part.task), *map(literal, names)], "")


def _shown(titles: Sequence[str]) -> str:
    more = f" and {len(titles) - _TITLES_SHOWN} more" if len(titles) > _TITLES_SHOWN else ""
    return ", ".join(titles[:_TITLES_SHOWN]) + more


def _loop(loop: Loop, part: Part) -> Iterator[str]:
    members, first = loop.members, loop.members[0]
    titles = [member.title for member in members if member.title != str(member.name)]
    if titles:
        yield from _comment(f"nox: {_shown(titles)}", "")
    if len(members) == 1:
        yield from _stage(first, part.description, rendered(first.name, ()), (), "")
        return
    named = all(member.name == first.name for member in members)
    texts = [*_texts(first), *([first.name] if named else [])]
    holes = tuple(dict.fromkeys(hole.name for value in texts for hole in value.holes))
    columns = tuple(hole for hole in holes if len({_values(each)[hole] for each in members}) > 1)
    rows = [_row(member, columns, named=named) for member in members]
    heads = columns if named else ("name", *columns)
    indent = ""
    for names, values in _rounds(heads, rows):
        yield from _for(names, values, indent)
        indent += _INDENT
    name = rendered(first.name, columns) if named else "name"
    yield from _stage(first, part.description, name, columns, indent)


def _texts(member: Member) -> Iterator[Text]:
    if member.version is not None:
        yield member.version
    yield from (*member.packages, *member.tags, *member.requires)
    yield from (*member.run.argv, *member.run.scripts)
    yield from (value for _, value in member.run.env)


def _row(member: Member, columns: Sequence[str], *, named: bool) -> tuple[str, ...]:
    row = tuple(_values(member)[column] for column in columns)
    return row if named else (str(member.name), *row)


def _values(member: Member) -> dict[str, str]:
    """What fills the holes in this round."""
    texts = (*_texts(member), member.name)
    return {hole.name: hole.value for value in texts for hole in value.holes}


def _rounds(
    heads: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """One loop inside of another where that gives the same rounds, else one loop over rows."""
    columns = [list(dict.fromkeys(row[index] for row in rows)) for index in range(len(heads))]
    if len(heads) > 1 and list(itertools.product(*columns)) == list(rows):
        return [
            ((head,), [(value,) for value in column])
            for head, column in zip(heads, columns, strict=True)
        ]
    return [(tuple(heads), list(rows))]


def _for(names: tuple[str, ...], rows: list[tuple[str, ...]], indent: str) -> Iterator[str]:
    values = [
        literal(row[0]) if len(row) == 1 else f"({', '.join(map(literal, row))})" for row in rows
    ]
    before = f"{indent}for {', '.join(names)} in ("
    line = f"{before}{', '.join(values)}{',' * (len(values) == 1)}):"
    if len(line) <= WIDTH:
        yield line
        return
    yield before
    for value, row in zip(values, rows, strict=True):
        yield from _item(value, row, indent + _INDENT)
    yield f"{indent}):"


def _item(value: str, row: tuple[str, ...], indent: str) -> Iterator[str]:
    if len(row) == 1 or len(f"{indent}{value},") <= WIDTH:
        yield f"{indent}{value},"
        return
    yield f"{indent}("
    yield from (f"{indent}{_INDENT}{literal(each)}," for each in row)
    yield f"{indent}),"


def _stage(
    member: Member, description: str, name: str, columns: Sequence[str], indent: str
) -> Iterator[str]:
    inner = indent + _INDENT
    yield f"{indent}stage("
    yield f"{inner}{name},"
    yield from _image(member, columns, inner)
    yield from _run(member.run, columns, inner)
    env = [f"{literal(key)}: {rendered(value, columns)}" for key, value in member.run.env]
    if env:
        yield from _bracketed("env={", env, "}", inner)
    if member.run.workdir:
        yield f"{inner}workdir={literal(member.run.workdir)},"
    if member.requires:
        names = [rendered(required, columns) for required in member.requires]
        yield from _bracketed("requires=[", names, "]", inner)
    if member.tags:
        yield from _bracketed("tags=[", [rendered(tag, columns) for tag in member.tags], "]", inner)
    if member.run.posargs:
        yield f"{inner}posargs=True,"
    yield f"{inner}timeout={literal(TIMEOUT)},"
    if description:
        yield f"{inner}description={literal(description)},"
    yield f"{indent})"


def _image(member: Member, columns: Sequence[str], indent: str) -> Iterator[str]:
    version = "" if member.version is None else rendered(member.version, columns)
    image = f"image=Image.python({version})"
    if not member.packages:
        yield f"{indent}{image},"
        return
    packages = [rendered(package, columns) for package in member.packages]
    yield from _bracketed(f"{image}.pip(", packages, ")", indent)


def _run(run: Run, columns: Sequence[str], indent: str) -> Iterator[str]:
    if run.argv:
        words = [rendered(word, columns) for word in run.argv]
        yield from _bracketed("run=(", words, ",)" if len(words) == 1 else ")", indent)
    elif len(run.scripts) == 1:
        yield f"{indent}run={rendered(run.scripts[0], columns)},"
    else:
        scripts = [rendered(script, columns) for script in run.scripts]
        yield from _bracketed("run=[", scripts, "]", indent)


def _call(name: str, arguments: Sequence[str], indent: str) -> Iterator[str]:
    lines = list(_bracketed(f"{name}(", arguments, ")", indent))
    yield from [*lines[:-1], lines[-1].removesuffix(",")]


def _bracketed(before: str, items: Sequence[str], after: str, indent: str) -> Iterator[str]:
    """An argument with a bracket, on one line if that fits."""
    line = f"{indent}{before}{', '.join(items)}{after},"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"{indent}{before}"
    yield from (f"{indent}{_INDENT}{item}," for item in items)
    yield f"{indent}{after.removeprefix(',')},"
