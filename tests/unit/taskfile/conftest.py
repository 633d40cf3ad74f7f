from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from isol8tasks.errors import TaskFileError, UsageError
from isol8tasks.model.stage import TaskFile
from isol8tasks.taskfile.load import load
from isol8tasks.taskfile.workspace import Problems, Workspace

HEAD = """\
from isol8tasks import Image, Network, secret, stage, task
py = Image.python()
"""

MARKING_HEAD = (
    "from isol8tasks import Image, stage, task\nran = open(__file__ + '.ran', 'w')\nran.close()\n"
)

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


def declared(name: str, words: str = "") -> str:
    """A line that declares a stage."""
    return f"stage('{name}', image=Image.bash(), run='x'{words and ', ' + words})\n"


@attrs.frozen
class Tree:
    """A folder of task files, of which each leaves a mark when it runs."""

    root: Path

    def write(self, **files: str) -> None:
        """Task files by their folders, "root" for the root."""
        for name, text in files.items():
            folder = self.root / ("" if name == "root" else name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "isol8file.py").write_text(MARKING_HEAD + text)

    def files(self, files: Mapping[str, str]) -> None:
        """Any other files by their paths."""
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def at(self, folder: str = "", file: str | None = None) -> Workspace:
        """The workspace as it is from a folder."""
        return Workspace.around(self.root / folder, None if file is None else self.root / file)

    @property
    def ran(self) -> set[str]:
        """The folders whose task files ran since this was last asked."""
        found = list(self.root.rglob("*.ran"))
        for mark in found:
            mark.unlink()
        return {mark.parent.relative_to(self.root).as_posix() for mark in found}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """An empty workspace that we are in."""
    root = tmp_path / "ws"
    root.mkdir()
    monkeypatch.chdir(root)
    (root / "isol8tasks.toml").write_text("")
    return Tree(root)


@pytest.fixture
def chain(tree: Tree) -> Tree:
    """`root` requires `//a:a`, that the task of `//b/c`, and that is of `//b/c:c`; `d` is alone."""
    tree.write(
        root=declared("unit", "requires=['//a:a']") + declared("alone"),
        a=declared("a", "requires=['//b/c:all']"),
        d=declared("d"),
        **{"b/c": declared("c") + "task('all', 'c')\n", "broken": "1 / 0\n"},
    )
    return tree


def error_of(workspace: Workspace, *targets: str) -> tuple[str, str, str]:
    with pytest.raises(UsageError) as caught:
        workspace.request(targets)
    assert not isinstance(caught.value, Problems)
    return str(caught.value.where), caught.value.message, caught.value.hint
