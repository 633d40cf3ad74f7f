"""Shows the host's interpreters to sandboxes: where they are, or from a copy in the store."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from isol8tasks.backend.contract import Cancellation
from isol8tasks.model.image import ImageKind
from isol8tasks_bubblewrap.store import Store
from isol8tasks_bubblewrap.toolchain import Toolchain
from isol8tasks_bubblewrap.tree import reachable, seal, translated

Mounts = tuple[tuple[str, str], ...]

_LEFT_OUT = ("test", "tests", "idle_test", "site-packages", "dist-packages", "*.opt-[12].pyc")
_LEFT_OUT_ON_TOP = ("turtledemo", "config-*")


def toolchain_mounts(
    store: Store, toolchain: Toolchain, *, uid: int | None, cancel: Cancellation, deadline: float
) -> Mounts:
    """Read-only mounts that put an interpreter at its own path, where its RPATH expects it.

    One that a sandbox of this `uid` cannot reach, or whose folder holds more than an interpreter,
    is copied into the store once.
    """
    if toolchain.is_system:
        return ()
    if _is_its_own(toolchain.prefix) and _reachable(toolchain, uid):
        return tuple((toolchain.prefix, path) for path in toolchain.visible_at)
    copy = store.toolchain(toolchain.fingerprint)
    if not copy.is_dir():
        _copy_once(store, toolchain, copy, cancel=cancel, deadline=deadline, root=uid is not None)
    parts = sorted(path.name for path in copy.iterdir())
    return tuple(
        (str(copy / part), str(Path(path, part))) for path in toolchain.visible_at for part in parts
    )


def _is_its_own(prefix: str) -> bool:
    """Whether the folder is an interpreter's alone, not a home that was configured as prefix."""
    home, folder = Path("~").expanduser().resolve(), Path(prefix)
    shared = {home / ".local", home, *home.parents}
    return len(folder.parts) > 2 and folder not in shared  # /opt is shared


def _reachable(toolchain: Toolchain, uid: int | None) -> bool:
    return reachable(toolchain.prefix, uid) and reachable(toolchain.executable, uid)


def _copy_once(
    store: Store,
    toolchain: Toolchain,
    copy: Path,
    *,
    cancel: Cancellation,
    deadline: float,
    root: bool,
) -> None:
    key = f"toolchain-{toolchain.fingerprint}"
    with store.locked(key, cancel=cancel, deadline=deadline):
        if copy.is_dir():
            return
        with store.staging(key) as staging:
            with translated(f"copying {toolchain}", store.root):
                _copy_parts(toolchain, staging)
            if toolchain.kind is ImageKind.PYTHON:
                _compile(toolchain, staging)
            seal(staging, owner=0 if root else None)
            store.move(staging, copy)


def _copy_parts(toolchain: Toolchain, target: Path) -> None:
    prefix = Path(toolchain.prefix)
    for path in _parts(toolchain, prefix):
        place = target / path.relative_to(prefix)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, place, symlinks=True, ignore=_ignored)
        else:
            shutil.copy2(path, place, follow_symlinks=False)


def _parts(toolchain: Toolchain, prefix: Path) -> Iterator[Path]:
    """The paths of an interpreter's folder that it needs to run."""
    minor = ".".join(toolchain.version.split(".")[:2])
    patterns = {
        ImageKind.PYTHON: (
            *("bin/python*", f"lib/python{minor}", "lib/*.so*", "lib/t[ck]l*", "lib/tk*"),
            *(f"lib64/python{minor}", "lib64/*.so*", f"include/python{minor}*", "ssl"),
            "share/terminfo",
        ),
        ImageKind.NODE: ("bin/node", "lib/node_modules/npm", "lib/*.so*"),
    }
    own = Path(toolchain.executable)
    found = {path for pattern in patterns[toolchain.kind] for path in prefix.glob(pattern)}
    yield from sorted(path for path in found if not _beside_a_link(path, prefix))
    if own not in found and own.is_relative_to(prefix):
        yield own


def _beside_a_link(path: Path, prefix: Path) -> bool:
    """Whether this is a second view of the same folder, as lib64 often is of lib."""
    return path.parent.is_symlink() and path.parent != prefix


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Test suites, static libraries and other people's packages, which may be most of the bytes."""
    on_top = os.path.basename(folder).startswith("python")
    patterns = (*_LEFT_OUT, *(_LEFT_OUT_ON_TOP if on_top else ()))
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


def _compile(toolchain: Toolchain, copy: Path) -> None:
    """Compile what was not compiled yet, under the path that the sandbox will see it at."""
    command = [toolchain.executable, "-I", "-S", "-m", "compileall", "-q", "-j", "0"]
    command += ["-s", str(copy), "-p", toolchain.prefix, str(copy / "lib")]
    subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
