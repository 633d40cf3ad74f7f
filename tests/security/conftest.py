"""A bare bwrap sandbox and a filter: as an unprivileged uid when we are root, else as we are."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_bubblewrap.binary import candidates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UID = 64322 if os.geteuid() == 0 else None
HIDDEN_INIT = ("--size", "4096", "--perms", "0555", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1")
"""Nobody in the sandbox reaches its first process, which has the same uid, through /proc/1/mem."""
_ETC = ("ssl", "alternatives", "ca-certificates", "ld.so.cache", "java-17-openjdk")


@attrs.frozen
class Ran:
    code: int
    out: str
    err: str


@attrs.frozen
class Jail:
    """Runs programs under a filter, or under none; `folder` is writable inside as /sandbox."""

    bwrap: Path
    folder: Path

    def run(
        self,
        argv: Sequence[str],
        *,
        seccomp: bytes | None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        extra: Sequence[str] = HIDDEN_INIT,
        stdin_from: int | None = None,
    ) -> Ran:
        options = [*self._options(env or {}), *extra]
        keep: tuple[int, ...] = ()
        if seccomp is not None:
            keep = (_in_memory(seccomp),)
            options += ["--seccomp", str(keep[0])]
        try:
            ran = subprocess.run(
                [str(self.bwrap), *options, "--", *argv],
                **({"input": stdin} if stdin_from is None else {"stdin": stdin_from}),
                capture_output=True,
                text=True,
                check=False,
                timeout=100,
                cwd="/",
                pass_fds=keep,
                user=UID,
                group=UID,
                extra_groups=None if UID is None else [],
            )
        finally:
            for file in keep:
                os.close(file)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def _options(self, env: Mapping[str, str]) -> list[str]:
        words = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
        words += ["--new-session", "--cap-drop", "ALL", "--clearenv", "--ro-bind", "/usr", "/usr"]
        for path in ("/bin", "/sbin", "/lib", "/lib64"):
            if os.path.islink(path):
                words += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                words += ["--ro-bind", path, path]
        for name in _ETC:
            words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        words += ["--bind", str(self.folder), "/sandbox", "--chdir", "/sandbox"]
        inside = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **env}
        for name, value in inside.items():
            words += ["--setenv", name, value]
        return words


def _in_memory(content: bytes) -> int:
    file = os.memfd_create("seccomp")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


@pytest.fixture(scope="session")
def jail() -> Iterator[Jail]:
    """One for all tests: none of them looks at what another left in the folder."""
    folder = Path(tempfile.mkdtemp(prefix="isol8-security-", dir="/var/tmp"))
    folder.chmod(0o755)
    shared = folder / "shared"
    shared.mkdir()
    if UID is not None:
        os.chown(shared, UID, UID)
    yield Jail(next(iter(candidates(folder))).usable, shared)
    shutil.rmtree(folder)
