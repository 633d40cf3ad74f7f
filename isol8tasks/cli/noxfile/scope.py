"""What the expressions of a noxfile see."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import attrs

from isol8tasks.cli.noxfile.values import Posargs, Text

_SHOWN = 60


@attrs.define(kw_only=True)
class Scope:
    """The names that an expression sees. `session` is the argument that is nox's session.

    Once the session has `moved` to another folder, nobody here knows what a path is resolved to.
    """

    folder: Path
    file: str
    lines: tuple[str, ...] = ()
    imports: dict[str, str] = attrs.Factory(dict)
    names: dict[str, object] = attrs.Factory(dict)
    session: str = ""
    session_name: Text | None = None
    python: Text | None = None
    posargs: tuple[Posargs, ...] = (Posargs(),)
    moved: bool = False

    def dotted(self, node: ast.expr) -> str:
        """The full name of something imported: `nox.session`; empty when it is not."""
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Name) and node.id not in self.names:
            return self.imports.get(node.id, "")
        return ""

    def is_session(self, node: ast.expr) -> bool:
        """Whether the expression is nox's session."""
        return isinstance(node, ast.Name) and node.id == self.session != ""

    def lines_of(self, node: ast.expr | ast.stmt) -> tuple[str, ...]:
        """The lines of the noxfile that a statement has."""
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        return tuple(textwrap.dedent("\n".join(lines)).split("\n"))

    def without_posargs(self) -> Scope:
        """What the expression sees when nox is given nothing after `--`."""
        names = dict(self.names)
        for name, value in names.items():
            if isinstance(value, tuple):
                names[name] = _filled(value)
        return attrs.evolve(self, names=names, posargs=())

    def of_session(self, node: ast.expr) -> str:
        """`posargs` of `session.posargs`; empty for everything else."""
        found = isinstance(node, ast.Attribute) and self.is_session(node.value)
        return node.attr if found and isinstance(node, ast.Attribute) else ""


def source(node: ast.AST) -> str:
    """The code of an expression on one line, cut to a length that can be read."""
    code = " ".join(ast.unparse(node).split())
    return code if len(code) <= _SHOWN else f"{code[:_SHOWN]}…"


def imports(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Names to the full names of what they were imported from."""
    found: dict[str, str] = {}
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            found[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        elif alias.asname:
            found[alias.asname] = alias.name
        else:
            top = alias.name.partition(".")[0]
            found[top] = top
    return found


def _filled(items: tuple[object, ...]) -> tuple[object, ...]:
    """The items with defaults for posargs."""
    found: list[object] = []
    for item in items:
        found += item.default if isinstance(item, Posargs) else (item,)
    return tuple(found)
