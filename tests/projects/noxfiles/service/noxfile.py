"""A service with a part in another language, as an organisation's template writes it."""

import os
import sys

import nox as n

PROJECT = n.project.load_toml("pyproject.toml")
n.options.default_venv_backend = "uv|virtualenv"
CI = os.environ.get("CI") == "true"


def install(session, *groups):
    session.run_install("uv", "sync", "--frozen", *groups, external=True)


@n.session(python=n.project.python_versions(PROJECT))
def unit(session: n.Session) -> None:
    """Unit tests."""
    session.install(*n.project.dependency_groups(PROJECT, "test"))
    args = list(session.posargs)
    if not args:
        args = ["tests", "-x"]
    session.run("python", "-m", "pytest", *args)
    if session.python == "3.12":
        session.run("python", "tools/bench.py", "--quick")


@n.session
def integration(session: n.Session) -> None:
    """Against a running service."""
    install(session, "test")
    tmp = session.create_tmp()
    with session.chdir("deploy"):
        session.run("docker", "compose", "up", "-d", external=True)
    try:
        session.run("pytest", "integration", env={"TMP": tmp, "SERVICE": "http://localhost:8000"})
    finally:
        session.run("docker", "compose", "-f", "deploy/compose.yaml", "down", external=True)


@n.session(venv_backend="none", name="web ui")
def web_ui(session: n.Session) -> None:
    """The web interface."""
    session.cd("web")
    if sys.platform == "win32":
        session.run("npm.cmd", "test")
    else:
        session.run("npm", "test", silent=True)
    session.run("npm", "run", "lint")


@n.session(venv_backend="conda", python=["3.12", "pypy3.10"])
def science(session: n.Session) -> None:
    session.conda_install("numpy", channel="conda-forge")
    session.run("python", "science.py")


@n.session(tags=["security"])
def audit(session: n.Session) -> None:
    """Known weaknesses of what is installed."""
    session.install("pip-audit", "--group", "test")
    session.run("pip-audit", "--strict")
    for path in sorted(os.listdir("requirements")):
        session.run("pip-audit", "-r", path)


@n.session
def clean(session: n.Session) -> None:
    import shutil

    shutil.rmtree("dist", ignore_errors=True)
    if CI:
        session.error("not in CI")


@n.session(default=False)
def serve(session: n.Session) -> None:
    if session.posargs:
        session.run("python", "-m", "service", *session.posargs)
    else:
        session.run("python", "-m", "service", "--port", "0", "--once")
