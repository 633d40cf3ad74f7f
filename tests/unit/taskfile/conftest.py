from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from isol8tasks.errors import TaskFileError
from isol8tasks.model.stage import TaskFile
from isol8tasks.taskfile.load import load

HEAD = """\
from isol8tasks import Image, Network, secret, stage, task
py = Image.python()
"""

Load = Callable[[str], TaskFile]
Fail = Callable[[str], tuple[str, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def declare(folder: Path) -> Load:
    """Load a task file whose third line is the first of the text."""

    def run(text: str) -> TaskFile:
        path = folder / "isol8file.py"
        path.write_text(HEAD + text, "utf-8")
        return load(path)

    return run


@pytest.fixture
def mistake(declare: Load) -> Fail:
    """Where, message and hint of the error of a task file."""

    def run(text: str) -> tuple[str, str, str]:
        with pytest.raises(TaskFileError) as caught:
            declare(text)
        return str(caught.value.where), caught.value.message, caught.value.hint

    return run
