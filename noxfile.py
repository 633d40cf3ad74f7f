"""The project's sessions: `nox -l` lists them."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nox

import isol8tasks.nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint", "packaging"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PACKAGES = (
    "isol8tasks",
    *(f"backends/isol8tasks_{name}" for name in ("bubblewrap", "docker", "oci", "podman")),
)
ENGINES = HERE / "scripts/engines.sh"
USER = "isol8tasks"  # made by that script: it may use Docker, and has what rootless Podman needs
UNNAMED_UID = 64999


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Run examples/submission on the embedded default."""
    session.chdir(HERE / "examples/submission")
    session.run(BIN / "isol8tasks", "run", "--backend", "bubblewrap", *session.posargs)


@nox.session(venv_backend="none")
def engines(session: nox.Session) -> None:
    """Install and start Docker and Podman, and make the tests' image; only root on Debian can."""
    if not _can_install():
        session.skip("not root on Debian: tests of engines that are not there will be skipped")
    session.run(ENGINES)


def _can_install() -> bool:
    try:
        system = platform.freedesktop_os_release()["ID"]
    except OSError:
        return False
    return os.geteuid() == 0 and system == "debian"


def _images(session: nox.Session) -> dict[str, str]:
    """Get the engines ready where that is possible, and say by setting which image tests use."""
    if _can_install():
        session.run(ENGINES, external=True)
    value = str(session.run(ENGINES, "--images", external=True, silent=True)).strip()
    return {"ISOL8TASKS_IMAGES": value} if value else {}


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; from root, those with sandboxes a second time as an ordinary user."""
    session.install("-e", ".", "--group", "test")
    session.run("pytest", "-n", "2", *session.posargs, env=_images(session))
    if os.geteuid() == 0 and not session.posargs:
        session.notify("tests-as-user")


@nox.session(name="tests-as-user")
def tests_as_user(session: nox.Session) -> None:
    """Run the tests with sandboxes as a user without privileges; only root can become one."""
    if os.geteuid() != 0:
        session.skip("not root: 'tests' ran them as an ordinary user")
    images = _images(session)
    session.install("uv")
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-user-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        _test_in(session, folder, images)
    finally:
        shutil.rmtree(folder)


def _test_in(session: nox.Session, folder: Path, images: dict[str, str]) -> None:
    """An ordinary user reaches neither root's checkout nor root's interpreters."""
    source, venv = folder / "source", folder / "venv"
    for name in ("isol8tasks", "backends", "tests", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", ".isol8tasks")
        shutil.copytree(HERE / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HERE / name, source)
    session.run("uv", "venv", "-q", "--python", "/usr/bin/python3", venv)
    with session.chdir(source):
        session.run("uv", "pip", "install", "-q", "--python", venv, ".", "--group", "test")
    (folder / "tmp").mkdir()
    user = _ordinary_user(folder / "tmp")
    _give(folder, user)
    with session.chdir(source):
        session.run(
            *("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", user.groups),
            *(venv / "bin/python", "-m", "pytest", "-n", "2", "-p", "no:cacheprovider"),
            *("-m", "(bubblewrap or docker or podman) and not root"),
            env={**user.env, **images},
            external=True,
        )


@dataclass(frozen=True)
class _User:
    uid: int
    gid: int
    groups: str
    env: dict[str, str]


def _ordinary_user(scratch: Path) -> _User:
    """The user with a home for rootless Podman's images; where there is none, any uid."""
    env = {"TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch / "cache")}
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        home = {"HOME": str(scratch)}
        return _User(UNNAMED_UID, UNNAMED_UID, "--clear-groups", env | home)
    own = {"HOME": user.pw_dir, "USER": USER, "LOGNAME": USER}
    runtime = {"XDG_RUNTIME_DIR": f"/run/user/{user.pw_uid}"}
    return _User(user.pw_uid, user.pw_gid, "--init-groups", env | own | runtime)


def _give(folder: Path, user: _User) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, mypy and import-linter."""
    session.install("-e", ".", "--group", "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    code = (*PACKAGES, "tests", "noxfile.py", "scripts/base_image.py", "benchmarks")
    session.run("mypy", *code, env={"MYPYPATH": "benchmarks"})  # scripts that share a module
    session.run("lint-imports")


@nox.session
def packaging(session: nox.Session) -> None:
    """Install the built wheel in a clean environment, and then a backend by somebody else."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "-q", "--outdir", dist)
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    clean = dist / "clean"
    session.run("python", "-m", "venv", clean)
    session.run(clean / "bin/pip", "install", "-q", wheel, external=True)
    script = HERE / "tests/packaging/installed.py"
    session.run(clean / "bin/python", "-I", script, wheel, sdist, external=True)
    session.run(clean / "bin/isol8tasks", "doctor", external=True)
    elsewhere = dist / "elsewhere"
    shutil.copytree(HERE / "tests/packaging/elsewhere", elsewhere)
    session.run(clean / "bin/pip", "install", "-q", f"{elsewhere}[test]", external=True)
    session.run(clean / "bin/pytest", elsewhere, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: see benchmarks/README.md."""
    session.install("-e", ".", "nox", "doit")
    for script in session.posargs or ("fake", "sandboxes", "startup", "hello", "workspace"):
        session.run("python", f"benchmarks/{script}.py")


isol8tasks.nox.sessions(globals())  # the task file's: checks
