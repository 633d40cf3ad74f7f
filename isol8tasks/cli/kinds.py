"""The kinds of values that settings have, and how each is read from text and from TOML."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.units import format_duration, parse_count, parse_duration

Converter = Callable[[Any], Any]
"""Returns the value; ValueError says what is wrong."""

_WORDS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Kind:
    """One kind of value: its description, what to write, its types in TOML, and how it is read.

    `how_in_text` is what to write in a variable, where that is not what TOML has.
    """

    what: str
    how: str
    types: tuple[type, ...]
    parse: Converter = str
    check: Converter
    how_in_text: str = ""

    def from_text(self, text: str) -> Any:
        """The value that a variable or a flag spells."""
        try:
            parsed = self.parse(text.strip())
        except (ValueError, KeyError):
            raise self._wrong(text, self.how_in_text or self.how) from None
        return self.check(parsed)

    def from_value(self, value: Any) -> Any:
        """The value that TOML, or a flag that is no text, has."""
        if type(value) not in self.types:
            raise self._wrong(value, self.how)
        return self.check(value)

    def _wrong(self, value: Any, how: str) -> ValueError:
        return ValueError(f"{value!r} is not {self.what}: write {how}")


class WrongEntry(ValueError):
    """What is wrong with one entry of a table; `entry` is its name."""

    def __init__(self, message: str, entry: str) -> None:
        super().__init__(message)
        self.entry = entry


def render(value: Any) -> str:
    """A value as a person would write it."""
    match value:
        case None:
            return "(not set)"
        case bool():
            return str(value).lower()
        case float():
            return format_duration(value)
        case frozenset():
            return ", ".join(sorted(value)) or "(none)"
        case tuple():
            return ", ".join(f"{name}={reference}" for name, reference in value) or "(none)"
        case _:
            return str(value)


def _limits(names: Any) -> frozenset[Limit]:
    for name in names:
        if name not in set(Limit):
            raise ValueError(f"{name!r} is not a limit: write {', '.join(Limit)}")
    return frozenset(Limit(name) for name in names)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _pairs(text: str) -> dict[str, str]:
    words = [word.partition("=") for word in _words(text)]
    pairs = {name.strip(): reference.strip() for name, equals, reference in words if equals}
    if len(pairs) < len(words):
        raise ValueError(text)
    return pairs


def _images(table: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    for name, reference in table.items():
        if not _names_image(name):
            message = f"{name!r} is not the name of an image: write one such as python:3.12"
            raise WrongEntry(message, name)
        if not _names_image(reference):
            raise WrongEntry(
                f"{reference!r}, for {name!r}, is not the reference of an image:"
                " write one such as localhost/python:3.12",
                name,
            )
    return tuple(sorted(table.items()))


def _names_image(value: Any) -> bool:
    """Whether it can be one word of a command line, shown as it is and never an option."""
    if not isinstance(value, str) or not value or value.startswith("-"):
        return False
    return value.isprintable() and " " not in value


def _limit_values(table: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    for name, value in table.items():
        if name not in set(Limit):
            raise WrongEntry(f"{name!r} is not a limit: write {', '.join(Limit)}", name)
        try:
            Limits.of(**{name: value})
        except ValueError as error:
            raise WrongEntry(str(error), name) from None
    return tuple(sorted(table.items()))


def _limit_pairs(text: str) -> dict[str, Any]:
    return {name: _number(value) for name, value in _pairs(text).items()}


def _number(text: str) -> Any:
    """A number for what takes no text; what else is wrong with it is found later."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _nonempty(text: str) -> str:
    if not text:
        raise ValueError("an empty text means nothing here")
    return text


def _color(text: str) -> str:
    if text not in COLORS:
        raise ValueError(f"{text!r} is not a choice: write {', '.join(COLORS)}")
    return text


COLORS = ("auto", "always", "never")

BOOLEAN = Kind(
    what="a truth value",
    how="true or false",
    types=(bool,),
    parse=lambda text: _WORDS[text.lower()],
    check=bool,
)
TEXT = Kind(what="a text", how="'text'", types=(str,), check=_nonempty)
PATH = Kind(
    what="a path", how="'folder/name'", types=(str,), check=lambda text: Path(_nonempty(text))
)
COUNT = Kind(
    what="a whole number above zero", how="1, 2, 3 …", types=(int,), parse=int, check=parse_count
)
COLOR = Kind(what="a choice", how=", ".join(COLORS), types=(str,), check=_color)
DURATION = Kind(
    what="a duration",
    how="500ms, 30s, 2m, 1h or seconds",
    types=(str, int, float),
    check=parse_duration,
)
LIMITS = Kind(
    what="a list of limits",
    how="['memory', 'pids']",
    types=(list, tuple),
    parse=_words,
    check=_limits,
)
IMAGES = Kind(
    what="a map of images",
    how="{ 'python:3.12' = 'localhost/python:3.12' }",
    how_in_text="python:3.12=localhost/python:3.12, each name once, with commas between",
    types=(dict,),
    parse=_pairs,
    check=_images,
)
LIMIT_VALUES = Kind(
    what="a map of limits",
    how="{ memory = '1g', timeout = '2m' }",
    how_in_text="memory=1g,timeout=2m, each name once",
    types=(dict,),
    parse=_limit_pairs,
    check=_limit_values,
)
