"""A tiny image of this host's own shell and a few tools, to try an engine without a registry."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from isol8tasks.errors import SandboxError
from isol8tasks_oci.client import Engine, LocalImage

REPOSITORY = "isol8tasks/probe"
_TOOLS = ("sh", "sleep", "tar", "find", "xargs", "chmod", "head", "rm", "wc")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def ensure(engine: Engine) -> LocalImage:
    """The image, made unless the engine has it; SandboxError when it cannot be made."""
    files = tuple(_files())
    tag = f"{REPOSITORY}:{_fingerprint(files)}"
    found = engine.image(tag)
    if found is None:
        engine.load(_tar(files), tag)
        found = engine.image(tag)
    if found is None:
        raise SandboxError(f"{engine.name} does not show the image {tag} that it was given")
    return found


def _files() -> Iterator[tuple[str, str]]:
    """Paths in the image and on the host: tools in /bin, libraries at their own place."""
    seen: set[str] = set()
    for tool in _TOOLS:
        program = shutil.which(tool, path="/bin:/usr/bin:/usr/local/bin")
        if program is None:
            raise SandboxError(f"this host has no {tool} to try sandboxes with")
        yield f"bin/{tool}", os.path.realpath(program)
        for library in libraries(_loaded(program)):
            if library not in seen:
                seen.add(library)
                yield library.lstrip("/"), os.path.realpath(library)


def _loaded(program: str) -> str:
    """What the dynamic linker says; nothing for a static program."""
    ran = subprocess.run(["/usr/bin/ldd", program], capture_output=True, text=True, check=False)
    return ran.stdout


def libraries(said: str) -> tuple[str, ...]:
    """The paths in what ldd(1) says."""
    return tuple(match[1] for match in map(_LIBRARY.search, said.splitlines()) if match)


def _fingerprint(files: tuple[tuple[str, str], ...]) -> str:
    known = hashlib.sha256()
    for path, source in files:
        found = os.stat(source)
        known.update(f"{path} {source} {found.st_size} {found.st_mtime_ns}\n".encode())
    return known.hexdigest()[:16]


def _tar(files: tuple[tuple[str, str], ...]) -> io.BytesIO:
    """Plain files and folders of root's, for any uid to read."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        folders = {"tmp", "dev", "proc", "sys", "etc", "run"}
        folders |= {str(parent) for path, _ in files for parent in Path(path).parents} - {"."}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, source in files:
            content = Path(source).read_bytes()
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = 0o755, len(content)
            tar.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out
