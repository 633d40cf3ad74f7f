"""Expressions of a noxfile to values, without executing any of it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator

import attrs

from isol8tasks.cli.noxfile import calls
from isol8tasks.cli.noxfile.scope import Scope, source
from isol8tasks.cli.noxfile.values import (
    AskedForPosargs,
    Hole,
    Parameter,
    Posargs,
    Text,
    Unknown,
    Unresolved,
    Word,
    text,
)

_LONGEST_LIST = 1000

_ALWAYS = {"sys.platform": "linux", "os.name": "posix", "os.sep": "/", "os.pathsep": ":"}
"""What is known beforehand: a stage runs on Linux."""

_COMPARISONS: dict[type, Callable[[object, object], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: lambda left, right: left is right,
    ast.IsNot: lambda left, right: left is not right,
    ast.In: lambda left, right: left in right,  # type: ignore[operator]
    ast.NotIn: lambda left, right: left not in right,  # type: ignore[operator]
}


def evaluate(node: ast.expr, scope: Scope) -> object:
    """The value: texts, numbers, tuples for every sequence, dicts; Unresolved, with the reason."""
    evaluator = _EVALUATORS.get(type(node))
    if evaluator is None:
        raise _unknown(node)
    return evaluator(node, scope)


def words(nodes: list[ast.expr], scope: Scope) -> tuple[Word, ...]:
    """The values as the words of a command."""
    found = _items(nodes, scope)
    for item in found:
        if not isinstance(item, Text | Posargs):
            raise Unresolved(f"`{concrete(item)!r}` is not a word of a command")
    return tuple(item for item in found if isinstance(item, Text | Posargs))


def truth(node: ast.expr, scope: Scope) -> bool:
    """Whether a condition holds; AskedForPosargs when the command line of nox decides."""
    return _truth(evaluate(node, scope))


def concrete(value: object) -> object:
    """The value as Python has it, without holes."""
    match value:
        case Text():
            return str(value)
        case tuple():
            return tuple(concrete(item) for item in value)
        case dict():
            return {key: concrete(item) for key, item in value.items()}
        case Posargs():
            raise AskedForPosargs("it depends on what nox is given after `--`")
    return value


def texts(value: object) -> tuple[Text, ...]:
    """The texts of a sequence, or of one text; Unresolved for anything else."""
    items = value if isinstance(value, tuple) else (value,)
    found = tuple(item for item in items if isinstance(item, Text))
    if len(found) < len(items):
        raise Unresolved("it is not a list of texts")
    return found


def _unknown(node: ast.AST) -> Unresolved:
    return Unresolved(f"`{source(node)}` is known only when nox runs")


def _truth(value: object) -> bool:
    if isinstance(value, tuple) and value and all(isinstance(item, Posargs) for item in value):
        raise AskedForPosargs("it depends on what nox is given after `--`")
    return bool(value) if isinstance(value, tuple) else bool(concrete(value))


def _items(nodes: list[ast.expr], scope: Scope) -> tuple[object, ...]:
    found: list[object] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            value = evaluate(node.value, scope)
            if not isinstance(value, tuple | dict):
                raise _unknown(node)
            found += value
        else:
            found.append(evaluate(node, scope))
        if len(found) > _LONGEST_LIST:
            raise Unresolved(f"a list is longer than {_LONGEST_LIST}")
    return tuple(found)


def _constant(node: ast.Constant, _: Scope) -> object:
    if isinstance(node.value, str):
        return text(node.value)
    if node.value is None or isinstance(node.value, bool | int | float):
        return node.value
    raise _unknown(node)


def _name(node: ast.Name, scope: Scope) -> object:
    if node.id == "__file__" and node.id not in scope.names:
        return text(scope.file, anchored=True)
    if scope.is_session(node):
        raise Unresolved("it is given the session")
    value = scope.names.get(node.id, Unknown(0))
    if isinstance(value, Unknown):
        since = f" (line {value.line})" if value.line else ""
        raise Unresolved(f"the value of `{node.id}` is known only when nox runs{since}")
    if isinstance(value, Parameter):
        return Text((value.hole,)) if isinstance(value.value, Text) else value.value
    return value


def _joined(node: ast.JoinedStr, scope: Scope) -> Text:
    return text(*(_piece(value, scope) for value in node.values))


def _piece(node: ast.expr, scope: Scope) -> str | Hole | Text:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.FormattedValue) or node.format_spec is not None:
        raise _unknown(node)
    if isinstance(node.value, ast.Name):
        parameter = scope.names.get(node.value.id)
        if isinstance(parameter, Parameter) and node.conversion == -1:
            return parameter.hole
    value = evaluate(node.value, scope)
    if node.conversion in {-1, ord("s")}:
        return value if isinstance(value, Text) else str(concrete(value))
    return repr(concrete(value))


def _dict(node: ast.Dict, scope: Scope) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            more = evaluate(value, scope)
            if not isinstance(more, dict):
                raise _unknown(value)
            found |= more
        else:
            found[str(concrete(evaluate(key, scope)))] = evaluate(value, scope)
    return found


def _binary(node: ast.BinOp, scope: Scope) -> object:
    left, right = evaluate(node.left, scope), evaluate(node.right, scope)
    match node.op, left, right:
        case ast.Add(), Text(), Text():
            return text(left, right)
        case ast.Add(), tuple(), tuple() if len(left) + len(right) <= _LONGEST_LIST:
            return left + right
        case ast.Div(), Text(), Text():
            return calls.path_join((left, right))
        case ast.BitOr(), dict(), dict():
            return left | right
        case ast.Mod(), Text(), _:
            return _percent(node, left, right)
    raise _unknown(node)


def _percent(node: ast.BinOp, left: Text, right: object) -> Text:
    """`"a %s" % b`, and no other placeholder: a width could make any amount of text."""
    pieces = str(left).split("%s")
    values = right if isinstance(right, tuple) else (right,)
    if any("%" in piece for piece in pieces) or len(values) != len(pieces) - 1:
        raise _unknown(node)
    found: list[str | Text] = [pieces[0]]
    for value, piece in zip(values, pieces[1:], strict=True):
        found += [value if isinstance(value, Text) else str(concrete(value)), piece]
    return text(*found)


def _bool(node: ast.BoolOp, scope: Scope) -> object:
    wanted = isinstance(node.op, ast.Or)
    value: object = None
    for index, part in enumerate(node.values):
        value = evaluate(part, scope)
        if index == len(node.values) - 1:
            break
        try:
            if _truth(value) is wanted:
                break
        except AskedForPosargs:
            if not wanted or index != len(node.values) - 2:
                raise
            return with_default(value, evaluate(node.values[-1], scope))
    return value


def with_default(given: object, otherwise: object) -> object:
    """Posargs where there are some, and else these words; AskedForPosargs if that is no list."""
    if given != (Posargs(),) or not isinstance(otherwise, tuple):
        raise AskedForPosargs("it depends on what nox is given after `--`")
    return (Posargs(texts(otherwise)),) if otherwise else given


def _unary(node: ast.UnaryOp, scope: Scope) -> object:
    if isinstance(node.op, ast.Not):
        return not truth(node.operand, scope)
    value = evaluate(node.operand, scope)
    if isinstance(node.op, ast.USub) and isinstance(value, int | float):
        return -value
    raise _unknown(node)


def _compare(node: ast.Compare, scope: Scope) -> bool:
    left = concrete(evaluate(node.left, scope))
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = concrete(evaluate(comparator, scope))
        compare = _COMPARISONS.get(type(op))
        if compare is None:
            raise _unknown(node)
        try:
            if not compare(left, right):
                return False
        except TypeError:
            raise _unknown(node) from None
        left = right
    return True


def asks_for_posargs(node: ast.expr, scope: Scope) -> bool | None:
    """Whether a condition is just `session.posargs`, or False for its opposite, None for others."""
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    try:
        return not negative if evaluate(inner, scope) == (Posargs(),) else None
    except AskedForPosargs:
        return None


def _either(node: ast.IfExp, scope: Scope) -> object:
    try:
        return evaluate(node.body if truth(node.test, scope) else node.orelse, scope)
    except AskedForPosargs:
        asks = asks_for_posargs(node.test, scope)
        if asks is None:
            raise
        branches = (node.body, node.orelse) if asks else (node.orelse, node.body)
        given, otherwise = (evaluate(branch, scope) for branch in branches)
        return with_default(given, otherwise)


def _subscript(node: ast.Subscript, scope: Scope) -> object:
    value = evaluate(node.value, scope)
    if isinstance(value, tuple) and any(isinstance(item, Posargs) for item in value):
        raise _unknown(node)
    try:
        if isinstance(node.slice, ast.Slice):
            cut = _slice(node.slice, scope)
            return value[cut] if isinstance(value, tuple) else text(str(texts(value)[0])[cut])
        key = concrete(evaluate(node.slice, scope))
        if isinstance(value, dict):
            return value[str(key)]
        if isinstance(value, tuple) and isinstance(key, int):
            return value[key]
    except (KeyError, IndexError, ValueError, TypeError):
        pass
    raise _unknown(node)


def _slice(node: ast.Slice, scope: Scope) -> slice:
    ends = [None if e is None else evaluate(e, scope) for e in (node.lower, node.upper, node.step)]
    if not all(end is None or isinstance(end, int) for end in ends):
        raise _unknown(node)
    return slice(*ends)


def _attribute(node: ast.Attribute, scope: Scope) -> object:
    dotted = scope.dotted(node)
    if dotted in _ALWAYS:
        return text(_ALWAYS[dotted])
    match scope.of_session(node):
        case "posargs":
            return scope.posargs
        case "python":
            return scope.python
        case "name" if scope.session_name is not None:
            return scope.session_name
        case "interactive":
            return False
        case "":
            if node.attr in {"parent", "name"}:
                return calls.path_attribute(node.attr, evaluate(node.value, scope))
    raise _unknown(node)


def _call(node: ast.Call, scope: Scope) -> object:
    if any(keyword.arg is None for keyword in node.keywords):
        raise _unknown(node)
    dotted = scope.dotted(node.func)
    if not dotted and isinstance(node.func, ast.Name) and node.func.id not in scope.names:
        dotted = f"builtins.{node.func.id}"
    arguments = _items(node.args, scope)
    options = {str(word.arg): evaluate(word.value, scope) for word in node.keywords}
    if scope.moved and calls.depends_on_folder(node.func):
        raise _unknown(node)
    found: object = NotImplemented
    if dotted:
        found = calls.function(dotted, arguments, options, scope.folder)
    known = not dotted or dotted.rpartition(".")[0] in _ALWAYS  # sys.platform.startswith(…)
    if isinstance(node.func, ast.Attribute) and known and not scope.of_session(node.func):
        owner = evaluate(node.func.value, scope)
        found = calls.method(owner, node.func.attr, arguments, options)
    if found is NotImplemented:
        raise _unknown(node)
    return found


def _comprehension(node: ast.ListComp | ast.GeneratorExp, scope: Scope) -> object:
    generator = node.generators[0]
    if len(node.generators) > 1 or generator.is_async or not isinstance(generator.target, ast.Name):
        raise _unknown(node)
    items = evaluate(generator.iter, scope)
    if not isinstance(items, tuple | dict):
        raise _unknown(node)
    return tuple(_rounds(node.elt, generator, items, scope))


def _rounds(
    element: ast.expr,
    generator: ast.comprehension,
    items: tuple[object, ...] | dict[str, object],
    scope: Scope,
) -> Iterator[object]:
    assert isinstance(generator.target, ast.Name)  # noqa: S101 -- for the type checker
    for item in items:
        value = text(item) if isinstance(item, str) else item
        if isinstance(value, Posargs):
            raise AskedForPosargs("it depends on what nox is given after `--`")
        inner = attrs.evolve(scope, names={**scope.names, generator.target.id: value})
        if all(truth(test, inner) for test in generator.ifs):
            yield evaluate(element, inner)


def _sequence(node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> object:
    return _items(node.elts, scope)


_EVALUATORS: dict[type[ast.expr], Callable[..., object]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.JoinedStr: _joined,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Set: _sequence,
    ast.Dict: _dict,
    ast.BinOp: _binary,
    ast.BoolOp: _bool,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.IfExp: _either,
    ast.Subscript: _subscript,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
}
