"""How an interpreter of the host becomes visible to a sandbox."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from isol8tasks_bubblewrap.interpreters import toolchain_mounts
from isol8tasks_bubblewrap.store import Store
from isol8tasks_bubblewrap.toolchain import Toolchain

from isol8tasks.model.image import ImageKind

FILES = (
    "bin/python3.77",
    "bin/pip",
    "include/python3.77/Python.h",
    "lib/libpython3.77.so",
    "lib/libpython3.77.a",
    "lib/python3.77/os.py",
    "lib/python3.77/__pycache__/os.cpython-377.pyc",
    "lib/python3.77/__pycache__/os.cpython-377.opt-1.pyc",
    "lib/python3.77/config-3.77/libpython3.77.a",
    "lib/python3.77/site-packages/other.py",
    "lib/python3.77/test/test_os.py",
    "secret",
)


@pytest.fixture
def prefix(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(open_folder / "home"))
    folder = open_folder / "home/pythons/3.77.0"
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
    (folder / "bin/python3.77").chmod(0o755)
    return folder


def toolchain(prefix: Path, *aliases: str) -> Toolchain:
    return Toolchain(
        kind=ImageKind.PYTHON,
        version="3.77.0",
        executable=str(prefix / "bin/python3.77"),
        prefix=str(prefix),
        fingerprint="f1",
        aliases=aliases,
    )


def mounts(
    each: Toolchain, root: Path, bakes: Any, uid: int | None = None
) -> tuple[tuple[str, str], ...]:
    deadline = time.monotonic() + 10
    store = Store(root / "cache")
    return toolchain_mounts(store, each, uid=uid, cancel=bakes.Never(), deadline=deadline)


def test_the_systems_needs_no_mount(tmp_path: Path, bakes: Any) -> None:
    assert mounts(toolchain(Path("/usr")), tmp_path, bakes) == ()


def test_one_in_reach_is_mounted_where_it_is(prefix: Path, tmp_path: Path, bakes: Any) -> None:
    found = mounts(toolchain(prefix, "/other/path"), tmp_path, bakes)
    assert found == ((str(prefix), str(prefix)), (str(prefix), "/other/path"))
    assert not (tmp_path / "cache").exists()


@pytest.mark.root
def test_one_out_of_reach_is_copied_once(prefix: Path, open_folder: Path, bakes: Any) -> None:
    prefix.parent.chmod(0o700)
    found = mounts(toolchain(prefix), open_folder, bakes, uid=64999)
    copy = open_folder / "cache/toolchains/f1"
    assert dict(found) == {
        str(copy / part): str(prefix / part) for part in ("bin", "include", "lib")
    }
    kept = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert kept == {
        "bin/python3.77",
        "include/python3.77/Python.h",
        "lib/libpython3.77.so",
        "lib/python3.77/os.py",
        "lib/python3.77/__pycache__/os.cpython-377.pyc",
    }
    before = copy.stat().st_ctime_ns
    assert mounts(toolchain(prefix), open_folder, bakes, uid=64999) == found
    assert copy.stat().st_ctime_ns == before


def test_a_home_that_is_a_prefix_is_not_shown(
    prefix: Path, open_folder: Path, bakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(prefix))
    found = mounts(toolchain(prefix), open_folder, bakes)
    assert {Path(path).name for _, path in found} == {"bin", "include", "lib"}
    assert all(source.startswith(str(open_folder / "cache")) for source, _ in found)
    assert not (open_folder / "cache/toolchains/f1/secret").exists()
