"""The source text of a decorated function as a program of its own."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import Location, TaskFileError
from isol8tasks.model.stage import PythonSource
from isol8tasks.taskfile.collect import current, shown
from isol8tasks.taskfile.wrong import described

if TYPE_CHECKING:
    from collections.abc import Iterator

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_FUTURE = "from __future__ import annotations"
_PROVIDED = {*dir(builtins), "__name__", "__file__", "__doc__", "__spec__", "__builtins__"}
_GLOBAL_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL"}
_CELLS = {
    f"{verb}_{kind}"
    for verb in ("LOAD", "STORE", "DELETE", "LOAD_FROM_DICT_OR")
    for kind in ("DEREF", "CLASSDEREF")
}
_KINDS = (
    (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR, "async"),
    (inspect.CO_GENERATOR, "a generator"),
)


@attrs.frozen
class SourceFile:
    """A parsed file: its functions by each line of their decorators and by their first line."""

    lines: tuple[str, ...]
    decorated: dict[int, FunctionNode]
    starting: dict[int, FunctionNode]

    @classmethod
    def read(cls, filename: str) -> SourceFile:
        """Parse a file; empty when it cannot be read, as for code from a string."""
        try:
            text = Path(filename).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            text = ""
        decorated: dict[int, FunctionNode] = {}
        starting: dict[int, FunctionNode] = {}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, FunctionNode):
                lines = list(_decorator_lines(node))
                decorated.update(dict.fromkeys(lines, node))
                starting[min([node.lineno, *lines])] = node
        return cls(tuple(text.split("\n")), decorated, starting)

    @classmethod
    def of(cls, filename: str) -> SourceFile:
        """The file, parsed once per load."""
        sources = current().sources
        if filename not in sources:
            sources[filename] = cls.read(filename)
        return sources[filename]


def python_source(function: object, site: tuple[str, int]) -> PythonSource:
    """The program that defines a function on the lines it has in its file, and calls it.

    `site` is the file and the line where it is decorated. TaskFileError for what cannot stand
    alone: anything but a plain function without arguments, other decorators and names from outside.
    """
    source = SourceFile.of(site[0])
    node = source.decorated.get(site[1])
    if node:
        _check_decorators(node, site)
    where = Location(shown(site[0]), site[1])
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        what = "a lambda" if isinstance(function, FunctionType) else described(function)
        hint = "put @stage.python(…) alone above a function: def name(): …"
        raise TaskFileError(f"stage.python takes a function, not {what}", where=where, hint=hint)
    if node is None:
        source, node = _undecorated(function, where)
    _check_kind(function, node)
    _check_names(function)
    return PythonSource(function.__name__, _program(function, node, source))


def _undecorated(function: FunctionType, where: Location) -> tuple[SourceFile, FunctionNode]:
    """A function that was passed to stage.python(…)(function) without being decorated."""
    source = SourceFile.of(function.__code__.co_filename)
    node = source.starting.get(function.__code__.co_firstlineno)
    if node is None or node.name != function.__name__:
        raise TaskFileError(
            f"python stage '{function.__name__}' has no source text",
            where=where,
            hint="write the function in the task file",
        )
    _check_decorators(node, (function.__code__.co_filename, 0))
    return source, node


def _check_decorators(node: FunctionNode, site: tuple[str, int]) -> None:
    for other in node.decorator_list:
        if not other.lineno <= site[1] <= (other.end_lineno or other.lineno):
            raise TaskFileError(
                f"python stage '{node.name}' has another decorator",
                where=Location(shown(site[0]), other.lineno),
                hint="leave @stage.python(…) alone above the function",
            )


def _check_kind(function: FunctionType, node: FunctionNode) -> None:
    for flags, kind in _KINDS:
        if function.__code__.co_flags & flags:
            hint = "write a plain function: def name(): …"
            raise _refusal(function, node.lineno, f"is {kind}", hint)
    arguments = [item for item in ast.walk(node.args) if isinstance(item, ast.arg)]
    if arguments:
        first = arguments[0]
        hint = "a stage is called without arguments: pass it data by files=, stdin= or env="
        raise _refusal(function, first.lineno, f"has the argument '{first.arg}'", hint)
    for given in _returns(node):
        hint = "nobody would look at it: let the stage fail with raise, assert or sys.exit()"
        raise _refusal(function, given.lineno, "returns a value", hint)


def _returns(node: FunctionNode) -> Iterator[ast.Return]:
    """What the function itself returns, but for None; not what those inside it do."""
    pending: list[ast.AST] = [*node.body]
    while pending:
        inner = pending.pop()
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(inner, ast.Return) and not _is_none(inner.value):
            yield inner
        pending += ast.iter_child_nodes(inner)


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _check_names(function: FunctionType) -> None:
    uses, assigned = _names(function.__code__, function.__code__.co_freevars)
    foreign = [use for use in uses if use[1] not in assigned | {function.__name__}]
    if foreign:
        line, name = min(foreign)
        raise _refusal(
            function,
            line,
            f"uses '{name}' from outside the function",
            "import or define it inside the function, or pass it by files= or env=",
        )


def _names(code: CodeType, free: tuple[str, ...]) -> tuple[list[tuple[int, str]], set[str]]:
    """What a function and those inside it use from around it, by line, and which globals they set.

    `free` are the function's own free variables: those of the functions inside may be its locals.
    """
    steps = list(dis.get_instructions(code))
    assigned = {step.argval for step in steps if step.opname == "STORE_GLOBAL"}
    known = _PROVIDED.union(step.argval for step in steps if step.opname == "STORE_NAME")
    uses: list[tuple[int, str]] = []
    for step in steps:
        outer = step.opname in _GLOBAL_LOADS and step.argval not in known
        if outer or (step.opname in _CELLS and step.argval in free):
            line = step.positions and step.positions.lineno
            uses.append((line or code.co_firstlineno, step.argval))
    for inner in (item for item in code.co_consts if isinstance(item, CodeType)):
        inner_uses, inner_assigned = _names(inner, free)
        uses += inner_uses
        assigned |= inner_assigned
    return uses, assigned


def _program(function: FunctionType, node: FunctionNode, source: SourceFile) -> str:
    """The function at its own lines; an indented one stays so, for strings may span its lines."""
    last = node.end_lineno or node.lineno
    lines = [""] * (node.lineno - 1) + list(source.lines[node.lineno - 1 : last])
    if node.returns:
        _blank(lines, node.returns)
    if node.col_offset:
        lines[node.lineno - 2] = "if True:"
    if function.__code__.co_flags & annotations.compiler_flag:
        lines[0] = _FUTURE
    path = "import sys as _sys; _sys.path[0] = ''; del _sys"
    call = f"{function.__name__}()"  # on a line of its own, for tracebacks show it
    return "\n".join([*lines, "if __name__ == '__main__':", f"    {path}", f"    {call}", ""])


def _blank(lines: list[str], node: ast.expr) -> None:
    """Put None in the place of an expression, over as many lines; columns count UTF-8 bytes."""
    last = node.end_lineno or node.lineno
    before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
    after = lines[last - 1].encode()[node.end_col_offset :].decode()
    middle = [""] * (last - node.lineno - 1)
    if last == node.lineno:
        lines[last - 1] = f"{before}None{after}"
    else:
        lines[node.lineno - 1 : last] = [f"{before}(None", *middle, f"){after}"]


def _decorator_lines(node: FunctionNode) -> Iterator[int]:
    for decorator in node.decorator_list:
        yield from range(decorator.lineno, (decorator.end_lineno or decorator.lineno) + 1)


def _refusal(function: FunctionType, line: int, what: str, hint: str) -> TaskFileError:
    where = Location(shown(function.__code__.co_filename), line)
    return TaskFileError(f"python stage '{function.__name__}' {what}", where=where, hint=hint)
