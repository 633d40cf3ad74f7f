"""The language of `-k`: parts of names with `and`, `or`, `not` and parentheses."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = re.compile(r"[^\s()]+")
_OPERATORS = {"and", "or", "not"}
_HINT = "combine parts of names and tags with and, or, not and parentheses"


@attrs.frozen
class Keywords:
    """A parsed expression. A word is true of a stage when its name or a tag contains it."""

    tree: ast.expr
    words: tuple[str, ...]

    def match(self, texts: Sequence[str]) -> bool:
        """Whether the expression is true of a stage with this name and these tags."""
        haystack = [text.lower() for text in texts]
        truth = [any(word in text for text in haystack) for word in self.words]
        return _evaluate(self.tree, truth)


def parse_keywords(expression: str) -> Keywords:
    """Parse an expression; UsageError when it is none."""
    words: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[0] in _OPERATORS:
            return match[0]
        words.append(match[0].lower())
        return f" {len(words) - 1} "

    numbered = _WORD.sub(number, expression)
    try:
        tree = ast.parse(" ".join(numbered.split()), mode="eval").body
        _evaluate(tree, [False] * len(words))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = f"'{expression}' is not a keyword expression"
        raise UsageError(message, hint=_HINT) from error
    return Keywords(tree, tuple(words))


def _evaluate(node: ast.expr, truth: Sequence[bool]) -> bool:
    match node:
        case ast.Constant(value=int(word)):
            return truth[word]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, truth)
        case ast.BoolOp(op=operator, values=values):
            truths = [_evaluate(value, truth) for value in values]
            return all(truths) if isinstance(operator, ast.And) else any(truths)
    raise ValueError(f"not part of the language: {ast.dump(node)}")
