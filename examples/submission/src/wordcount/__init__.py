"""Counts words."""

from collections import Counter


def count(text: str) -> Counter[str]:
    """How often each word occurs, without regard to case."""
    return Counter(text.lower().split())


def most_common(text: str) -> str:
    """The most common word; of several the first; ValueError for no words."""
    words = count(text)
    if not words:
        raise ValueError("no words")
    return words.most_common(1)[0][0]
