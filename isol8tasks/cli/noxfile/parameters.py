"""`nox.parametrize`: the sets of arguments that a session is called with."""

from __future__ import annotations

import ast
import itertools

import attrs

from isol8tasks.cli.noxfile.evaluate import concrete, evaluate, texts
from isol8tasks.cli.noxfile.scope import Scope
from isol8tasks.cli.noxfile.values import Text, Unresolved

_MOST = 500


@attrs.frozen(kw_only=True)
class ParameterSet:
    """One call: arguments by name, as nox orders them, and how nox names the call."""

    values: tuple[tuple[str, object], ...]
    title: str
    ids: tuple[str | None, ...]
    tags: tuple[Text, ...] = ()
    """`ids` has one entry for each decorator, None where the values make the name."""

    groups: tuple[tuple[str, ...], ...] = ()
    """The names of the arguments of each decorator."""


Parameters = tuple[ParameterSet, ...]


def parametrize(call: ast.Call, before: Parameters, scope: Scope) -> Parameters:
    """The sets of one decorator, multiplied with those of the decorators below it."""
    given = dict(zip(("arg_names", "arg_values_list", "ids", "tags"), call.args, strict=False))
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    if "arg_names" not in given or "arg_values_list" not in given:
        raise Unresolved("its arguments are not known here")
    names = _names(evaluate(given["arg_names"], scope))
    ids = _optional(given.get("ids"), scope)
    tags = _optional(given.get("tags"), scope)
    rows = _rows(given["arg_values_list"], scope, single=len(names) == 1)
    new = [
        _set(names, row, identity, more)
        for row, identity, more in itertools.zip_longest(rows, ids[: len(rows)], tags[: len(rows)])
    ]
    if len(new) * max(1, len(before)) > _MOST:
        raise Unresolved(f"they make more than {_MOST} sessions")
    if not before:
        return tuple(new)
    return tuple(_combined(old, added) for added in new for old in before)


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, Text):
        names = tuple(name.strip() for name in str(value).split(",") if name.strip())
    else:
        names = tuple(str(name) for name in texts(value))
    if not names:
        raise Unresolved("its arguments have no names")
    return names


def _optional(node: ast.expr | None, scope: Scope) -> tuple[object, ...]:
    value = () if node is None else evaluate(node, scope)
    if value is None:
        return ()
    if not isinstance(value, tuple):
        raise Unresolved("its ids or tags are not a list")
    return value


@attrs.frozen
class _Row:
    values: tuple[object, ...]
    identity: object = None
    tags: object = None
    fixed: bool = False
    """Whether it came from nox.param, which the lists of ids and tags do not reach."""


def _rows(node: ast.expr, scope: Scope, *, single: bool) -> list[_Row]:
    if isinstance(node, ast.List | ast.Tuple):
        return [row for item in node.elts for row in _item(item, scope, single=single)]
    if _is_param(node, scope):
        return [_row(node, scope, single=single)]
    value = evaluate(node, scope)
    items = value if isinstance(value, tuple) else (value,)
    return [_plain(item, single=single) for item in items]


def _item(node: ast.expr, scope: Scope, *, single: bool) -> list[_Row]:
    if isinstance(node, ast.Starred):
        return _rows(node.value, scope, single=single)
    return [_row(node, scope, single=single)]


def _is_param(node: ast.expr, scope: Scope) -> bool:
    names = {"nox.param", "nox._parametrize.Param"}
    return isinstance(node, ast.Call) and scope.dotted(node.func) in names


def _row(node: ast.expr, scope: Scope, *, single: bool) -> _Row:
    if not isinstance(node, ast.Call) or not _is_param(node, scope):
        return _plain(evaluate(node, scope), single=single)
    options = {word.arg: evaluate(word.value, scope) for word in node.keywords}
    values = tuple(evaluate(argument, scope) for argument in node.args)
    return _Row(values, options.get("id"), options.get("tags"), fixed=True)


def _plain(value: object, *, single: bool) -> _Row:
    if single:
        return _Row((value,))
    if not isinstance(value, tuple):
        raise Unresolved("its values are not tuples")
    return _Row(value)


def _set(names: tuple[str, ...], row: _Row, identity: object, tags: object) -> ParameterSet:
    if row is None or len(row.values) != len(names):
        raise Unresolved("there is not one value for each argument")
    if row.fixed:
        identity, tags = row.identity, row.tags
    values = tuple(zip(names, row.values, strict=True))
    title = ", ".join(f"{name}={concrete(value)!r}" for name, value in values)
    own = str(identity) if isinstance(identity, Text) else None
    return ParameterSet(
        values=values,
        title=own or title,
        ids=(own or None,),
        tags=() if tags is None else texts(tags),
        groups=(names,),
    )


def _combined(old: ParameterSet, new: ParameterSet) -> ParameterSet:
    return ParameterSet(
        values=old.values + new.values,
        title=f"{old.title}, {new.title}",
        ids=old.ids + new.ids,
        tags=old.tags + new.tags,
        groups=old.groups + new.groups,
    )
