"""A wrong value in a task file, before it is known which file and line gave it."""

from __future__ import annotations

from typing import NoReturn

from isol8tasks.model.image import Image
from isol8tasks.model.stage import Stage, Task

_SHOWN = 60


class Wrong(ValueError):
    """What is wrong with a value, and what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def message_and_hint(error: ValueError) -> tuple[str, str]:
    """The two halves of an error: the model writes the hint as `…: write …`."""
    if isinstance(error, Wrong):
        return error.message, error.hint
    message, _, hint = str(error).rpartition(": write ")
    return (message, f"write {hint}") if message else (hint, "")


def refuse(value: object, what: str, hint: str) -> NoReturn:
    """Raise Wrong: this value is … ."""
    raise Wrong(f"{described(value)} is {what}", hint)


def described(value: object) -> str:
    """A value as an error message shows it: short."""
    if isinstance(value, Stage | Task):
        return f"the {type(value).__name__.lower()} '{value.name}'"
    if isinstance(value, Image):
        return f"the image '{value}'"
    if callable(value):
        return f"the {type(value).__name__} '{getattr(value, '__name__', '?')}'"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def encoded(value: str) -> bytes:
    """Text as UTF-8; Wrong for half a surrogate pair."""
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise Wrong(f"{value!r} cannot be written as UTF-8", "use bytes with files=") from error
