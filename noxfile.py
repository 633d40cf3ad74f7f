"""The project's sessions: `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint", "packaging"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PACKAGES = ("isol8tasks", "backends/isol8tasks_bubblewrap")
ORDINARY_UID = 64999


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Run examples/submission on the embedded default."""
    session.chdir(HERE / "examples/submission")
    session.run(BIN / "isol8tasks", "run", "--backend", "bubblewrap", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; from root, those with sandboxes a second time as an ordinary user."""
    session.install("-e", ".", "--group", "test")
    session.run("pytest", "-n", "2", *session.posargs)
    if os.geteuid() == 0 and not session.posargs:
        session.notify("tests-as-user")


@nox.session(name="tests-as-user")
def tests_as_user(session: nox.Session) -> None:
    """Run the tests with sandboxes as a user without privileges; only root can become one."""
    if os.geteuid() != 0:
        session.skip("not root: 'tests' ran them as an ordinary user")
    session.install("uv")
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-user-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        _test_in(session, folder)
    finally:
        shutil.rmtree(folder)


def _test_in(session: nox.Session, folder: Path) -> None:
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
    (folder / "home").mkdir()
    _give(folder, ORDINARY_UID)
    with session.chdir(source):
        session.run(
            *("setpriv", f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"),
            *(venv / "bin/python", "-m", "pytest", "-n", "2", "-m", "bubblewrap and not root"),
            *("-p", "no:cacheprovider"),
            env={"HOME": str(folder / "home"), "TMPDIR": str(folder / "home")},
            external=True,
        )


def _give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, mypy and import-linter."""
    session.install("-e", ".", "--group", "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    code = (*PACKAGES, "tests", "noxfile.py", "benchmarks")
    session.run("mypy", *code, env={"MYPYPATH": "benchmarks"})  # scripts that share a module
    session.run("lint-imports")


@nox.session
def packaging(session: nox.Session) -> None:
    """Build wheel and sdist, install the wheel in a clean environment, load every entry point."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "-q", "--outdir", dist)
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    clean = dist / "clean"
    session.run("python", "-m", "venv", clean)
    session.run(clean / "bin/pip", "install", "-q", wheel, external=True)
    script = HERE / "tests/packaging.py"
    session.run(clean / "bin/python", "-I", script, wheel, sdist, external=True)
    session.run(clean / "bin/isol8tasks", "doctor", external=True)


@nox.session(venv_backend="none")
def checks(session: nox.Session) -> None:
    """Run the project's own checks through its own task file."""
    session.run(BIN / "isol8tasks", "run", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: see benchmarks/README.md."""
    session.install("-e", ".", "nox", "doit")
    for script in session.posargs or ("fake", "sandboxes", "startup", "hello"):
        session.run("python", f"benchmarks/{script}.py")
