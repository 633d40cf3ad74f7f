"""The names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import isol8tasks
from isol8tasks.errors import TaskFileError
from isol8tasks.model.image import Image
from isol8tasks.model.network import Network
from isol8tasks.taskfile import declare


def test_the_words_of_a_task_file() -> None:
    assert isol8tasks.__all__ == ["Image", "Network", "secret", "stage", "task"]
    assert set(isol8tasks.__all__) < set(dir(isol8tasks))


def test_each_word_is_itself() -> None:
    words = (isol8tasks.Image, isol8tasks.Network)
    assert words == (Image, Network)
    assert isol8tasks.stage is declare.stage
    assert (isol8tasks.task, isol8tasks.secret) == (declare.task, declare.secret)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match=r"^module 'isol8tasks' has no attribute 'stages'$"):
        isol8tasks.stages  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    script = (
        "import sys, isol8tasks\n"
        "isol8tasks.__version__\n"
        "print(sorted(m for m in sys.modules if m.startswith(('attr', 'isol8tasks'))))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "['isol8tasks']\n"


def test_a_type_checker_knows_the_words() -> None:
    """Each comment is an error of mypy when the line before it is none."""
    image = Image.bash()
    with pytest.raises(TaskFileError):
        isol8tasks.stage("a", image=image, run="x", input=["src"])  # type: ignore[call-arg]
    with pytest.raises(TaskFileError):
        isol8tasks.stage("a", image=image)  # type: ignore[call-arg]
    with pytest.raises(TaskFileError):
        isol8tasks.stage("a", image="bash", run="x")  # type: ignore[arg-type]
    with pytest.raises(TaskFileError):
        isol8tasks.stage("a", "x", image=image, run="x")  # type: ignore[arg-type]
    with pytest.raises(TaskFileError):
        isol8tasks.stage.python(run="x")  # type: ignore[call-arg]
    with pytest.raises(TaskFileError):
        isol8tasks.task("t", "a", defualt=True)  # type: ignore[arg-type]
