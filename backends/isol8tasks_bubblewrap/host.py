"""What of the host a sandbox may see: a list of read-only paths, never the root."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from isol8tasks.backend.folders import draft_of, make_folder, reachable_by_others
from isol8tasks.model.network import NetworkMode
from isol8tasks_bubblewrap.tree import translated

_USERLAND = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CONFIGURATION = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/pki",
    "/etc/ssl",
)
_FILES = {
    "passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@functools.cache
def userland() -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """The host's programs: read-only mounts, and links of the root as (target, path)."""
    mounts, links = [("/usr", "/usr")], []
    for path in _USERLAND:
        if os.path.islink(path):
            links.append((os.readlink(path), path))
        elif os.path.isdir(path):
            mounts.append((path, path))
    mounts += [(path, path) for path in _CONFIGURATION if os.path.exists(path)]
    return tuple(mounts), tuple(links)


@functools.cache
def identity_files(cache: Path, network: NetworkMode) -> tuple[tuple[str, str], ...]:
    """Mounts for the few files of /etc that a sandbox has of its own; written once."""
    folder = cache / "etc"
    _write_once(folder)
    mounts = {f"/etc/{name}": str(folder / name) for name in _FILES}
    if network is NetworkMode.HOST:
        mounts["/etc/hosts"] = "/etc/hosts"
        mounts["/etc/resolv.conf"] = os.path.realpath("/etc/resolv.conf")
    return tuple((source, path) for path, source in mounts.items() if os.path.exists(source))


def _write_once(folder: Path) -> None:
    if all((folder / name).is_file() for name in _FILES):
        return
    make_folder(folder)
    for name, text in _FILES.items():
        draft = draft_of(folder / name)
        with translated("writing to the cache", folder):
            try:
                draft.write_text(text)
                draft.chmod(0o644)
                draft.replace(folder / name)
            finally:
                draft.unlink(missing_ok=True)


def reachable_copy(program: Path, cache: Path) -> Path:
    """The program, or a copy in the cache when a sandbox's uid cannot reach it where it is."""
    if os.geteuid() != 0 or reachable_by_others(program):
        return program
    found = program.stat()
    copy = cache / "bin" / f"{program.name}-{found.st_size}-{found.st_mtime_ns}"
    if not copy.exists():
        make_folder(copy.parent)
        draft = draft_of(copy)
        shutil.copyfile(program, draft)
        draft.chmod(0o755)
        draft.replace(copy)
    return copy
