"""Stores that sandboxes can reach, and packages made by hand, so that few tests need a network."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import sys
import tarfile
import tempfile
import textwrap
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isol8tasks_bubblewrap.bake import BakedImage

    from isol8tasks.model.image import Image

SCRIPT = Path(__file__).with_name("bake_once.py")


def _load_script() -> Any:
    spec = importlib.util.spec_from_file_location("bake_once", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bake_once"] = module
    spec.loader.exec_module(module)
    return module


@attrs.define
class Bench:
    """Bakes in the shared store and remembers the lines that were printed."""

    bakes: Any
    root: Path
    base: Path
    lines: list[str] = attrs.field(factory=list)

    def bake(self, image: Image, *, timeout: float = 100, cancel: Any = None) -> BakedImage:
        self.lines.clear()
        baked: BakedImage = self.bakes.baker(self.root).prepare(
            image,
            base=self.base,
            sink=self.lines.append,
            cancel=cancel or self.bakes.Never(),
            timeout=timeout,
        )
        return baked

    def out(self, baked: BakedImage, *argv: str) -> str:
        code, text = self.bakes.execute(baked, *argv)
        assert code == 0, text
        return str(text).strip()

    def tree(self, baked: BakedImage) -> Path:
        return Path({path: source for source, path in baked.mounts}["/opt/isol8tasks"])


@pytest.fixture(scope="session")
def bakes() -> Any:
    """The module `bake_once`: a real sandbox, a baker, a way to run a program in an image."""
    return sys.modules.get("bake_once") or _load_script()


def _open_folder() -> Path:
    """A folder that other users can pass, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="isol8-test-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    folder = _open_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """One image store for all tests, so that the interpreter is copied into it once."""
    folder = _open_folder()
    yield folder
    shutil.rmtree(folder)


@attrs.frozen
class Wheelhouse:
    """A package index on disk: `simple` is the index, `files` what it links to."""

    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def index(self) -> str:
        return (self.folder / "simple").as_uri()

    def wheel(
        self, name: str, version: str = "1.0", files: Mapping[str, str] | None = None
    ) -> Path:
        """A wheel with these files, a module of its name and a script of its name."""
        info = f"{name}-{version}.dist-info"
        content = {
            f"{name}.py": f"def main():\n    print('{name} {version}')\n",
            **(files or {}),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
        }
        record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
        path = self.files / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for each, text in {**content, f"{info}/RECORD": record}.items():
                archive.writestr(each, text)
        return self._link(name, path)

    def sdist(self, name: str, code: str) -> Path:
        """A source distribution whose build runs this code, as a stranger's may."""
        backend = (
            "import pathlib, zipfile\n"
            "def build_wheel(folder, settings=None, metadata=None):\n"
            f"{textwrap.indent(code, '    ')}\n"
            f"    name = '{name}-1.0-py3-none-any.whl'\n"
            "    with zipfile.ZipFile(pathlib.Path(folder, name), 'w') as archive:\n"
            f"        info = '{name}-1.0.dist-info'\n"
            f"        archive.writestr('{name}.py', '')\n"
            "        archive.writestr(f'{info}/METADATA',"
            f" 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n')\n"
            "        archive.writestr(f'{info}/WHEEL',"
            " 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
            "        archive.writestr(f'{info}/RECORD', '')\n"
            "    return name\n"
        )
        project = (
            "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
            f"[project]\nname = '{name}'\nversion = '1.0'\n"
        )
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        path = self.files / f"{name}-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for each, text in {
                "pyproject.toml": project,
                "backend.py": backend,
                "PKG-INFO": metadata,
            }.items():
                entry = tarfile.TarInfo(f"{name}-1.0/{each}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
        return self._link(name, path)

    def _link(self, name: str, path: Path) -> Path:
        page = self.folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = page.read_text().splitlines() if page.exists() else []
        kept = [line for line in known if f">{path.name}<" not in line]
        line = f'<a href="../../files/{path.name}#sha256={digest}">{path.name}</a>'
        page.write_text("\n".join([*kept, line]))
        return path


@pytest.fixture
def wheelhouse(open_folder: Path) -> Wheelhouse:
    house = Wheelhouse(open_folder / "index")
    house.files.mkdir(parents=True)
    (house.folder / "simple").mkdir()
    return house


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without settings, in which a test can write its own; the certificates stay."""
    for name in list(os.environ):
        if name.upper().startswith(("PIP_", "UV_", "NPM_CONFIG_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYENV_ROOT", str(Path("~/.pyenv").expanduser()))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pip.conf").write_text("")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return tmp_path


@pytest.fixture
def local_index(
    no_settings: Path, wheelhouse: Wheelhouse, monkeypatch: pytest.MonkeyPatch
) -> Wheelhouse:
    """Only the packages of the wheelhouse exist."""
    monkeypatch.setenv("PIP_INDEX_URL", wheelhouse.index)
    return wheelhouse


@pytest.fixture
def bench(bakes: Any, root: Path, tmp_path: Path) -> Bench:
    return Bench(bakes, root, tmp_path)
