"""The host's own interpreters: which there are, and which one answers a request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from isol8tasks.backend.folders import draft_of
from isol8tasks.errors import ImageError
from isol8tasks.model.image import ImageKind

_OLDEST_PYTHON = (3, 9)
_OLDEST_NODE = (18,)
_PROBE_SECONDS = 20

_PYTHON_PROBE = """\
import json, os, sys
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "supported": sys.implementation.name == "cpython" and sys.version_info[3] == "final"
        and not getattr(sys, "abiflags", "") and sys.version_info >= (3, 9),
    "prefix": os.path.realpath(sys.base_prefix),
    "executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
}))
"""

_NODE_PROBE = """\
console.log(JSON.stringify({version: process.versions.node, executable: process.execPath}))
"""

_Found = dict[str, Any]


@attrs.frozen(kw_only=True)
class Toolchain:
    """An interpreter of the host. `prefix` is the folder to make visible, /usr for the system's.

    `aliases` are other paths of the prefix that the interpreter may have been built with, `npm` is
    the program of npm that belongs to a node. `fingerprint` changes when the interpreter does.
    """

    kind: ImageKind
    version: str
    executable: str
    prefix: str
    fingerprint: str
    aliases: tuple[str, ...] = ()
    npm: str = ""

    @property
    def is_system(self) -> bool:
        """Whether it lives below /usr, which every sandbox sees."""
        return self.prefix == "/usr" or self.prefix.startswith("/usr/")

    @property
    def visible_at(self) -> tuple[str, ...]:
        """The sandbox paths that its folder has to be mounted at."""
        return () if self.is_system else (self.prefix, *self.aliases)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.version} ({self.executable})"


def find_python(version: str, *, probes: Path | None = None) -> Toolchain:
    """The CPython that answers `3.12`, `3.12.1` or, for the empty string, any request.

    The interpreter that runs this program comes first, so that the choice is stable. `probes` is a
    file that remembers what interpreters said, so that none has to be started twice. ImageError
    when there is none.
    """
    with _Probes.opened(probes) as known:
        for candidate in _python_candidates(version):
            found = _python(candidate, known)
            if found and _matches(found.version, version):
                return found
        seen = (_python(path, known) for path in _python_candidates(""))
        raise _no_python(version, [found for found in seen if found])


def find_node(version: str, *, probes: Path | None = None) -> Toolchain | None:
    """The Node.js with npm that answers `22` or, for the empty string, any; None without one."""
    with _Probes.opened(probes) as known:
        for candidate in _node_candidates():
            found = _node(candidate, known)
            if found and _matches(found.version, version):
                return found
    return None


def _matches(version: str, wanted: str) -> bool:
    parts = wanted.split(".") if wanted else []
    return version.split(".")[: len(parts)] == parts


def _no_python(version: str, found: list[Toolchain]) -> ImageError:
    names = {f"python {each.version} ({each.executable})": None for each in found}
    instead = ".".join(found[0].version.split(".")[:2]) if found else ""
    other = f", or name one that is here, such as Image.python({instead!r})" if instead else ""
    wanted = f"CPython {version}" if version else "CPython"
    return ImageError(
        f"there is no {wanted} on this host (3.9 or newer, a final release): "
        f"found {', '.join(names) or 'none'}",
        hint=f"install it (pyenv and uv are looked at too){other}",
    )


def _python(candidate: Path, known: _Probes) -> Toolchain | None:
    command = [str(candidate), "-I", "-S", "-c", _PYTHON_PROBE]
    found = known.ask(candidate, lambda: _run(command))
    if not found or not found.get("supported"):
        return None
    executable, prefix = _base_python(found)
    if not Path(executable).is_file():
        return None
    return Toolchain(
        kind=ImageKind.PYTHON,
        version=found["version"],
        executable=executable,
        prefix=prefix,
        fingerprint=_fingerprint(executable, found["version"]),
        aliases=_aliases(candidate, prefix),
    )


def _base_python(found: _Found) -> tuple[str, str]:
    """The interpreter behind a virtual environment that has a copy of it."""
    executable, prefix = found["executable"], found["prefix"]
    if not executable.startswith(prefix.rstrip("/") + "/"):
        minor = ".".join(found["version"].split(".")[:2])
        executable = os.path.realpath(f"{prefix}/bin/python{minor}")
    return executable, prefix


def _aliases(candidate: Path, prefix: str) -> tuple[str, ...]:
    """The unresolved path of the prefix: RPATH may hold it where /home is a link to /var/home."""
    named = str(candidate.parent.parent)
    return (named,) if named != prefix and os.path.realpath(named) == prefix else ()


def _node(candidate: Path, known: _Probes) -> Toolchain | None:
    found = known.ask(candidate, lambda: _run([str(candidate), "-e", _NODE_PROBE]))
    if not found or _numbers(found["version"]) < _OLDEST_NODE:
        return None
    executable = os.path.realpath(found["executable"])
    prefix = str(Path(executable).parent.parent)
    npm = _npm(prefix, Path(found["executable"]).with_name("npm"))
    if not npm or not Path(executable).is_file():
        return None
    return Toolchain(
        kind=ImageKind.NODE,
        version=found["version"],
        executable=executable,
        prefix=prefix,
        fingerprint=_fingerprint(executable, found["version"], npm),
        npm=npm,
    )


def _npm(prefix: str, beside: Path) -> str:
    """The npm of a node; one that a sandbox would not see with the node's own folder is none."""
    inside = Path(prefix, "lib/node_modules/npm/bin/npm-cli.js")
    places = [inside, Path(os.path.realpath(beside))]
    if prefix == "/usr":
        places.append(Path("/usr/share/nodejs/npm/bin/npm-cli.js"))
    fits = (f"{prefix}/", "/usr/")
    known = (str(path) for path in places if path.name == "npm-cli.js" and path.is_file())
    return next((path for path in known if path.startswith(fits)), "")


def _fingerprint(executable: str, *more: str) -> str:
    found = Path(executable).stat()
    text = "\0".join((executable, str(found.st_size), str(found.st_mtime_ns), *more))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _python_candidates(version: str) -> Iterator[Path]:
    yield Path(getattr(sys, "_base_executable", None) or sys.executable)
    exact = re.match(r"3\.\d+", version)
    minors = [exact[0]] if exact else [f"3.{n}" for n in range(30, _OLDEST_PYTHON[1] - 1, -1)]
    for name in (*(["python" + exact[0]] if exact else []), "python3", "python"):
        yield from _on_path(name)
    if not exact:
        for minor in minors:
            yield from _on_path("python" + minor)
    yield from _installed(_pyenv() / "versions", "*/bin/python3", version)
    yield from _installed(_uv_pythons(), "*/bin/python3", version)


def _node_candidates() -> Iterator[Path]:
    yield from _on_path("node")
    nvm = Path(os.environ.get("NVM_DIR") or _home() / ".nvm")
    yield from _installed(nvm / "versions/node", "*/bin/node", "")


def _on_path(name: str) -> Iterator[Path]:
    """Programs of this name; shims are left out, for what they start depends on the folder."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    for folder in dict.fromkeys(folders):
        path = Path(folder, name)
        if folder.startswith("/") and path.parent.name != "shims" and os.access(path, os.X_OK):
            yield path


def _installed(folder: Path, pattern: str, version: str) -> list[Path]:
    """Interpreters of a version manager: first those named like the version, then the newest."""

    def rank(path: Path) -> tuple[bool, tuple[int, ...]]:
        name = path.parent.parent.name
        return version in name, _numbers(name)

    try:
        return sorted(folder.glob(pattern), key=rank, reverse=True)
    except OSError:
        return []


def _pyenv() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or _home() / ".pyenv")


def _uv_pythons() -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME") or _home() / ".local/share")
    return Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")


def _home() -> Path:
    return Path("~").expanduser()


def _run(command: list[str]) -> _Found | None:
    """What a probe printed, None when it does not work; without the caller's own variables."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            env=env,
            check=True,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@attrs.define
class _Probes:
    """What interpreters said about themselves, by path, time and size of the file."""

    path: Path | None
    known: dict[str, _Found | None] = attrs.field(factory=dict)
    changed: bool = False

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path | None) -> Iterator[_Probes]:
        """The remembered probes; new ones are written back at the end, as well as may be."""
        probes = cls(path, _read(path))
        try:
            yield probes
        finally:
            with contextlib.suppress(OSError):
                probes.save()

    def ask(self, candidate: Path, probe: Callable[[], _Found | None]) -> _Found | None:
        """The answer of this interpreter, from memory when the file is unchanged."""
        try:
            real = os.path.realpath(candidate)
            stat = Path(real).stat()
        except OSError:
            return None
        # The unresolved path counts: a link in a virtual environment leads to another prefix.
        key = f"{candidate}|{real}|{stat.st_mtime_ns}|{stat.st_size}"
        if key not in self.known:
            self.known[key] = probe()
            self.changed = True
        return self.known[key]

    def save(self) -> None:
        """Write what is new, in one step."""
        if self.path is None or not self.changed:
            return
        staging = draft_of(self.path)
        staging.write_text(json.dumps(self.known, sort_keys=True), encoding="utf-8")
        staging.replace(self.path)


def _read(path: Path | None) -> dict[str, _Found | None]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
