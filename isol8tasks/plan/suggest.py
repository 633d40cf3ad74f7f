"""The word that somebody probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like the word, if any is like it."""
    import difflib  # noqa: PLC0415 -- only a mistake pays for it

    close = difflib.get_close_matches(word, list(candidates), n=1)
    return close[0] if close else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The end of a sentence about an unknown word; empty when nothing is like it."""
    found = nearest(word, candidates)
    return f"; did you mean '{found}'?" if found else ""
