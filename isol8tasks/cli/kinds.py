"""The kinds of values that settings have, and how each is read from text and from TOML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from isol8tasks.model.limits import Limit
from isol8tasks.model.units import format_duration, parse_count, parse_duration

Converter = Callable[[Any], Any]
"""Returns the value; ValueError says what is wrong."""

_WORDS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Kind:
    """One kind of value: its description, what to write, its types in TOML, and how it is read."""

    what: str
    how: str
    types: tuple[type, ...]
    parse: Converter = str
    check: Converter

    def from_text(self, text: str) -> Any:
        """The value that a variable or a flag spells."""
        try:
            parsed = self.parse(text.strip())
        except (ValueError, KeyError):
            raise self._wrong(text) from None
        return self.check(parsed)

    def from_value(self, value: Any) -> Any:
        """The value that TOML, or a flag that is no text, has."""
        if type(value) not in self.types:
            raise self._wrong(value)
        return self.check(value)

    def _wrong(self, value: Any) -> ValueError:
        return ValueError(f"{value!r} is not {self.what}: write {self.how}")


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
        case _:
            return str(value)


def _limits(names: Any) -> frozenset[Limit]:
    for name in names:
        if name not in set(Limit):
            raise ValueError(f"{name!r} is not a limit: write {', '.join(Limit)}")
    return frozenset(Limit(name) for name in names)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


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
