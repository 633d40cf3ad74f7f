from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from isol8tasks.errors import Location
from isol8tasks.model.image import Image
from isol8tasks.model.stage import Shell, Stage, Task, TaskFile

MakeStage = Callable[..., Stage]
MakeTask = Callable[..., Task]
MakeFile = Callable[..., TaskFile]


@pytest.fixture
def lines() -> Callable[[], Location]:
    """The next line of the task file, from the first on."""
    numbers = count(1)
    return lambda: Location("isol8file.py", next(numbers))


@pytest.fixture
def stage(lines: Callable[[], Location]) -> MakeStage:
    """Stages on lines of their own, in the order in which they are made."""

    def make(name: str, **words: Any) -> Stage:
        words = {"image": Image.bash(), "command": Shell(("true",)), **words}
        return Stage(name=name, declared_at=lines(), **words)

    return make


@pytest.fixture
def task(lines: Callable[[], Location]) -> MakeTask:
    """Tasks, likewise."""

    def make(name: str, *members: str, default: bool = False) -> Task:
        return Task(name=name, members=members, declared_at=lines(), default=default)

    return make


@pytest.fixture
def taskfile() -> MakeFile:
    """A task file of these stages and tasks."""

    def make(*declared: Stage | Task) -> TaskFile:
        return TaskFile(
            path="/work/isol8file.py",
            root="/work",
            stages=tuple(item for item in declared if isinstance(item, Stage)),
            tasks=tuple(item for item in declared if isinstance(item, Task)),
        )

    return make
