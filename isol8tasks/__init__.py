"""Make for code you do not trust: the names that a task file uses."""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 7 ms
if TYPE_CHECKING:
    from typing import Any

    from isol8tasks.model.image import Image
    from isol8tasks.model.network import Network
    from isol8tasks.taskfile.declare import secret, stage, task

__version__ = "0.1.0"

__all__ = ["Image", "Network", "secret", "stage", "task"]

_HOMES = {
    "Image": "isol8tasks.model.image",
    "Network": "isol8tasks.model.network",
    "secret": "isol8tasks.taskfile.declare",
    "stage": "isol8tasks.taskfile.declare",
    "task": "isol8tasks.taskfile.declare",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `--version` imports nothing (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 -- the point of this function

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
