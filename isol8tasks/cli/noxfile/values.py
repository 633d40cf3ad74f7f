"""What an expression of a noxfile can stand for when nobody executes it."""

from __future__ import annotations

import attrs

LONGEST = 20_000
"""Characters of one text, so that a noxfile that doubles texts cannot fill the memory."""


class Unresolved(Exception):
    """An expression whose value is not known here; the text says why."""


class AskedForPosargs(Unresolved):
    """A condition that depends on whether nox is given arguments after `--`."""


@attrs.frozen
class Hole:
    """A place that a loop over versions or parameters fills; `value` is that of one round."""

    name: str
    value: str = attrs.field(eq=False)


@attrs.frozen
class Text:
    """A text with holes: equal when it is the same in every round of a loop.

    `anchored` texts are paths that begin at the folder of the noxfile.
    """

    parts: tuple[str | Hole, ...]
    anchored: bool = attrs.field(default=False, eq=False)

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else part.value for part in self.parts)

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The places that a loop fills."""
        return tuple(part for part in self.parts if isinstance(part, Hole))


@attrs.frozen
class Posargs:
    """What follows `--`, or these words when nothing does."""

    default: tuple[Text, ...] = ()


@attrs.frozen
class Parameter:
    """An argument of a session that `nox.parametrize` gives."""

    hole: Hole
    value: object


@attrs.frozen
class Unknown:
    """A name without a known value, since a line of the noxfile."""

    line: int


@attrs.frozen(order=True)
class Remark:
    """What was not carried over: the line of the noxfile, the reason, and the code concerned."""

    line: int
    text: str
    code: tuple[str, ...] = ()


Word = Text | Posargs


def text(*parts: str | Hole | Text, anchored: bool = False) -> Text:
    """One text from pieces; Unresolved for one that no command could take."""
    merged: list[str | Hole] = []
    for piece in parts:
        anchored = anchored or (isinstance(piece, Text) and piece.anchored)
        for part in piece.parts if isinstance(piece, Text) else (piece,):
            if isinstance(part, str) and merged and isinstance(merged[-1], str):
                merged[-1] += part
            elif part != "":
                merged.append(part)
    found = Text(tuple(merged), anchored)
    _check(str(found))
    return found


def join(glue: str, texts: tuple[Text, ...]) -> Text:
    """The texts with `glue` between them."""
    pieces: list[str | Text] = []
    for piece in texts:
        pieces += [glue, piece] if pieces else [piece]
    return text(*pieces)


def _check(concrete: str) -> None:
    if len(concrete) > LONGEST:
        raise Unresolved(f"a text is longer than {LONGEST} characters")
    if "\0" in concrete:
        raise Unresolved("a text has a NUL character")
    try:
        concrete.encode()
    except UnicodeEncodeError:
        raise Unresolved("a text cannot be written as UTF-8") from None
