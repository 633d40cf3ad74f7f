"""Checks a built wheel and sdist from inside a clean environment (see the session `packaging`)."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from importlib.metadata import distribution, entry_points

NEEDED = (
    "isol8tasks/__init__.py",
    "isol8tasks/py.typed",
    "isol8tasks/testing/contract.py",
    "isol8tasks_bubblewrap/__init__.py",
    "isol8tasks_bubblewrap/py.typed",
)


def main(wheel: str, sdist: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    missing = [name for name in NEEDED if name not in shipped]
    assert not missing, f"the wheel lacks {missing}"
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "backends/isol8tasks_bubblewrap/__init__.py", "LICENSE"):
        assert name in sources, f"the sdist lacks {name}"
    backends = entry_points(group="isol8tasks.backends")
    assert "bubblewrap" in backends.names
    for entry in (*backends, *distribution("isol8tasks").entry_points):
        assert callable(entry.load()), f"{entry.name} does not load"
    print(f"{len(shipped)} files in the wheel, {len(backends)} backends load")


if __name__ == "__main__":
    main(*sys.argv[1:])
