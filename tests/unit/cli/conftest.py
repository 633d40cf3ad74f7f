from __future__ import annotations

import importlib
from pathlib import Path

import attrs
import pytest

SOURCE = """
from pathlib import Path

import attrs

from isol8tasks.backend.contract import Probe
from isol8tasks.errors import ImageError, OperationError
from isol8tasks.model.image import ImageKind
from isol8tasks.testing.fake import EVERYTHING, FakeBackend


def tell(what):
    with Path(__file__).with_name("calls").open("a") as calls:
        calls.write("{name}: " + what + "\\n")


tell("import")
{start}


class Backend(FakeBackend):
    name = "{name}"

    def probe(self):
        tell("probe")
        {probe}

    def sweep(self, *, older_than=None):
        tell("sweep")
        {sweep}

    def close(self):
        tell("close")
"""
"""A backend as a package of somebody else has it."""

WORKS = "return Probe(version='2', capabilities=EVERYTHING)"


@attrs.frozen
class Installed:
    """The backends that are installed: files that Python finds before all others.

    They are a distribution of the name isol8tasks, so that the real one's backends are hidden.
    """

    folder: Path
    names: list[str] = attrs.field(factory=list)

    def __call__(
        self, name: str, *, probe: str = WORKS, sweep: str = "return 1", start: str = ""
    ) -> None:
        """Install one."""
        module = f"{self.folder.name}_{name}"
        source = SOURCE
        for part, text in {"name": name, "probe": probe, "sweep": sweep, "start": start}.items():
            source = source.replace(f"{{{part}}}", text)
        (self.folder / f"{module}.py").write_text(source)
        self.names.append(f"{name} = {module}:Backend\n")
        self._write()

    def _write(self) -> None:
        info = self.folder / "isol8tasks-0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: isol8tasks\nVersion: 0\n")
        text = "".join(["[isol8tasks.backends]\n", *self.names])
        (info / "entry_points.txt").write_text(text)
        importlib.invalidate_caches()

    @property
    def calls(self) -> list[str]:
        """What they were asked for so far."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Installs backends; at first there is none."""
    folder = tmp_path / f"installed_{tmp_path.name}"
    folder.mkdir()
    installed = Installed(folder)
    installed._write()
    monkeypatch.syspath_prepend(str(folder))
    return installed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that we are in, with a cache of its own and no settings."""
    monkeypatch.delenv("ISOL8TASKS_IMAGES", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ISOL8TASKS_CACHE", str(tmp_path / "cache"))
    return folder
