"""A library: a matrix of Pythons, coverage, linters, documentation and a release."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
PACKAGE = "shapes"
LOCATIONS = ("src", "tests", "noxfile.py")
HERE = Path(__file__).parent

nox.options.sessions = ["lint", "tests", "typing"]
nox.options.reuse_existing_virtualenvs = True
nox.needs_version = ">=2024.3.2"


@nox.session(python=PYTHONS, tags=["quick"])
def tests(session: nox.Session) -> None:
    """Run the test suite.

    With coverage, which `coverage` combines.
    """
    session.install("-e", ".[test]")
    session.install("coverage[toml]", "pytest>=8")
    session.run(
        "coverage",
        "run",
        "-m",
        "pytest",
        f"--cov-config={HERE / 'pyproject.toml'}",
        *session.posargs,
        env={"COVERAGE_FILE": f".coverage.{session.python}"},
    )
    session.notify("coverage")


@nox.session
def coverage(session: nox.Session) -> None:
    """Combine and report coverage."""
    args = session.posargs or ["report", "--fail-under=90"]
    session.install("coverage[toml]")
    if not session.posargs and any(Path().glob(".coverage.*")):
        session.run("coverage", "combine")
    session.run("coverage", *args)


@nox.session(python="3.12", tags=["quick", "style"])
def lint(session: nox.Session) -> None:
    """Lint using ruff, and look for secrets."""
    args = session.posargs or LOCATIONS
    session.install("ruff==0.9.1")
    session.run("ruff", "check", *args)
    session.run("ruff", "format", "--check", *args)
    session.run("bash", "-c", "! grep -rn 'API_KEY=' src")


@nox.session(python=PYTHONS[-1])
def typing(session: nox.Session) -> None:
    """Check types."""
    session.install(".", "mypy")
    session.run("mypy", "--package", PACKAGE, "--strict", env={"MYPY_FORCE_COLOR": "1"})


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation."""
    session.install("-r", "docs/requirements.txt")
    session.chdir("docs")
    shutil.rmtree("_build", ignore_errors=True)
    if os.environ.get("READTHEDOCS"):
        session.run("sphinx-build", "-b", "html", ".", "_build")
    session.run("sphinx-build", "-W", "-b", "html", ".", "_build", success_codes=[0, 2])
    session.run("python", "-c", "print('built')")


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Build and upload a release."""
    session.install("build", "twine")
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", "dist/*")
    session.run("git", "push", "--tags", external=True)
    session.run("twine", "upload", "dist/*")
