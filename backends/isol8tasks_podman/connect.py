"""Finding a podman service, or starting one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from isol8tasks_oci.client import EngineError

from isol8tasks.backend.folders import ClaimedFolder, make_folder, sweep_claims
from isol8tasks.backend.uids import FIRST_UID, MOST_UIDS
from isol8tasks.errors import BackendUnavailable, StoreError
from isol8tasks_podman.complaint import foreign, missing, other_runtime, silent, unavailable
from isol8tasks_podman.connection import Connection
from isol8tasks_podman.engine import PodmanEngine
from isol8tasks_podman.facts import runs
from isol8tasks_podman.service import Service

_QUICK = 3.0
_LONGEST_PARENT = 104 - len("/0123456789ab/99999.sock")
_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+")


def connect(cache: Path, runtime: str | None = None) -> PodmanEngine:
    """An engine: CONTAINER_HOST, else the usual socket, else a service that lives as long as it.

    A service has one OCI runtime: one with another than `runtime` is not used. BackendUnavailable
    says why there is none, and the remedy.
    """
    program = shutil.which("podman")
    url = named(os.environ)
    if url is not None:
        return _engine(cache, url, program, runtime)
    url = usual(os.environ)
    if url is not None:
        with suppress(BackendUnavailable):
            return _engine(cache, url, program, runtime)
    if program is None:
        raise missing()
    return _engine(cache, None, program, runtime)


def _engine(cache: Path, url: str | None, program: str | None, runtime: str | None) -> PodmanEngine:
    folder = private_folder(cache, os.environ)
    with ExitStack() as undo:
        undo.callback(folder.close)
        service = None
        if url is None:
            service = Service(str(program), folder.path / "0.sock", runtime=runtime)
            undo.callback(service.close)
            service.wait()
            url = service.url
        engine = PodmanEngine(url, folder=folder, program=program, service=service, runtime=runtime)
        undo.callback(engine.close)
        _check(engine, url, runtime)
        undo.pop_all()
    return engine


def _check(engine: PodmanEngine, url: str, runtime: str | None) -> None:
    try:
        facts = engine.facts()
    except EngineError as error:
        raise unavailable(error.message) from error
    if facts.rootless and facts.uids < FIRST_UID + MOST_UIDS:
        raise unavailable(f"insufficient UIDs: a container has {facts.uids}")
    if runtime is not None and not runs(facts, runtime):
        raise other_runtime(url, facts.runtime, runtime)


def named(environ: Mapping[str, str]) -> str | None:
    """The service that CONTAINER_HOST names, which has to answer."""
    url = environ.get("CONTAINER_HOST", "")
    if not url:
        return None
    if not url.startswith(("unix://", "tcp://")):
        raise foreign(url)
    trouble = _trouble(url)
    if trouble:
        raise silent(url, trouble)
    return url


def usual(environ: Mapping[str, str]) -> str | None:
    """The service of the system or of the user's session, if one answers."""
    path = usual_socket(environ, root=os.geteuid() == 0)
    if path is None or not os.path.lexists(path):
        return None
    url = f"unix://{path}"
    return None if _trouble(url) else url


def usual_socket(environ: Mapping[str, str], *, root: bool) -> str | None:
    """Where podman's own units put it."""
    if root:
        return "/run/podman/podman.sock"
    runtime = environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/podman/podman.sock" if runtime else None


def _trouble(url: str) -> str:
    connection = Connection(url)
    try:
        connection.ask("get", "/_ping", timeout=_QUICK)
    except EngineError as error:
        return error.message
    else:
        return ""
    finally:
        connection.close()


def private_folder(cache: Path, environ: Mapping[str, str]) -> ClaimedFolder:
    """A folder of this process's own, with a path that is short enough for sockets.

    Folders that dead processes left are removed.
    """
    cache = cache.absolute()  # the service has another working directory
    parent = next(path for path in parents(cache, environ) if fits(path))
    if parent.is_relative_to(cache):
        make_folder(parent)
    else:
        _own(parent)
    sweep_claims(parent)
    return ClaimedFolder(parent)


def parents(cache: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where such folders may be, the best first."""
    yield cache / "podman"
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "isol8tasks"
    yield Path("/tmp") / f"isol8tasks-{os.geteuid()}"  # noqa: S108 -- checked by _own


def fits(parent: Path) -> bool:
    """Whether a socket below is short enough for the kernel, and plain enough for a URL."""
    text = str(parent)
    return len(os.fsencode(text)) <= _LONGEST_PARENT and bool(_PLAIN.fullmatch(text))


def _own(parent: Path) -> None:
    """Make a folder where others may write, or see that it is ours alone."""
    try:
        parent.mkdir(mode=0o700, exist_ok=True)
        found = parent.lstat()
    except OSError as error:
        raise StoreError(f"cannot make the folder {parent}: {error.strerror}") from error
    if parent.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise BackendUnavailable(
            f"{parent} is somebody else's, and the path of the cache is too long for a socket",
            hint="set a cache with a shorter path, with the setting 'cache' (ISOL8TASKS_CACHE)",
        )
