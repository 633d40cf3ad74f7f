"""The guard of tests/conftest.py, tried on itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = """
import subprocess
def test_sneaky():
    try:
        subprocess.run(["{0}", "--version"])
    except Exception:
        pass
"""
CONNECT = """
import os, socket
def test_sneaky():
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect({0})
        except Exception:
            pass
"""
WAYS = {
    "bwrap": ("bubblewrap", START.format("bwrap")),
    "docker": ("docker", START.format("docker")),
    "its path": ("docker", START.format("/usr/bin/docker")),
    "dockerd": ("docker", START.format("dockerd")),
    "podman": ("podman", START.format("podman")),
    "docker's socket": ("docker", CONNECT.format("'docker.sock'")),
    "podman's socket": ("podman", CONNECT.format("os.path.abspath('podman.sock')")),
    "in bytes": ("podman", CONNECT.format("b'podman.sock'")),
}
ENGINES = ("bubblewrap", "docker", "podman")


@pytest.fixture
def folder(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """A folder for tests with a guard."""
    conftest = pytestconfig.rootpath / "tests" / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text())
    markers = "".join(f"    {engine}: engines\n" for engine in ENGINES)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{markers}")
    return tmp_path


def run(folder: Path, mark: str, text: str, **env: str) -> subprocess.CompletedProcess[str]:
    marked = f"import pytest\npytestmark = pytest.mark.{mark}\n" if mark else ""
    (folder / "test_it.py").write_text(marked + text)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env}
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder, env=env)


@pytest.mark.parametrize(("engine", "text"), WAYS.values(), ids=WAYS)
def test_a_test_without_the_mark_cannot_use_an_engine(folder: Path, engine: str, text: str) -> None:
    ran = run(folder, "", text)
    assert ran.returncode == 1, ran.stdout
    assert "engines were used without a mark" in ran.stdout
    assert f"without the mark '{engine}'" not in ran.stdout, "the test itself swallowed that"


@pytest.mark.parametrize(
    ("engine", "text"),
    [pytest.param(*way, id=name, marks=getattr(pytest.mark, way[0])) for name, way in WAYS.items()],
)
def test_one_with_the_mark_can(folder: Path, engine: str, text: str) -> None:
    ran = run(folder, engine, text)
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


@pytest.mark.docker
def test_the_mark_of_another_engine_is_none(folder: Path) -> None:
    assert run(folder, "docker", START.format("podman")).returncode == 1


OTHERS = """
import socket
def test_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as connection:
        server.bind("other.sock")
        server.listen()
        connection.connect("other.sock")
"""


def test_other_connections_are_nobody_s_business(folder: Path) -> None:
    assert run(folder, "", OTHERS).returncode == 0


NOTHING = "def test_nothing():\n    pass\n"


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[str]:
    """The address of a socket whose server refuses everybody."""
    path = tmp_path / "refused.sock"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))
    yield f"unix://{path}"
    path.unlink()


@pytest.mark.parametrize(
    ("ci", "code", "word"), [("false", 0, "1 skipped"), ("true", 1, "1 error")]
)
def test_without_docker_its_tests_are_skipped_but_not_in_ci(
    folder: Path, mute: str, ci: str, code: int, word: str
) -> None:
    env = {"CI": ci, "ISOL8TASKS_TEST_NO_SKIP": "", "DOCKER_HOST": mute}
    ran = run(folder, "docker", NOTHING, **env)
    assert (ran.returncode, word in ran.stdout) == (code, True), ran.stdout


@pytest.mark.parametrize(
    ("ci", "code", "word"), [("false", 0, "1 skipped"), ("true", 1, "1 error")]
)
def test_without_podman_its_tests_are_skipped_but_not_in_ci(
    folder: Path, ci: str, code: int, word: str
) -> None:
    env = {"CI": ci, "ISOL8TASKS_TEST_NO_SKIP": "", "PATH": "/no/such"}
    ran = run(folder, "podman", NOTHING, **env)
    assert (ran.returncode, word in ran.stdout) == (code, True), ran.stdout


SKIPPED = """
import pytest
@pytest.mark.skipif(True, reason={0!r})
def test_marked():
    pass
def test_by_itself():
    pytest.skip({0!r})
"""


@pytest.mark.parametrize(
    ("reason", "ci", "code"),
    [
        ("busybox is not installed", "false", 0),
        ("busybox is not installed", "true", 1),
        ("Linux tells it from 6.15 on", "true", 0),
    ],
)
def test_in_ci_only_what_cannot_be_installed_is_skipped(
    folder: Path, reason: str, ci: str, code: int
) -> None:
    env = {"CI": ci, "ISOL8TASKS_TEST_NO_SKIP": ""}
    ran = run(folder, "", SKIPPED.format(reason), **env)
    assert ran.returncode == code, ran.stdout
    assert ("1 failed, 1 error" if code else "2 skipped") in ran.stdout


def test_a_skip_says_why(folder: Path, mute: str) -> None:
    env = {"CI": "false", "ISOL8TASKS_TEST_NO_SKIP": "", "DOCKER_HOST": mute}
    (folder / "pytest.ini").write_text((folder / "pytest.ini").read_text() + "addopts = -rs\n")
    ran = run(folder, "docker", NOTHING, **env)
    assert "no docker here" in ran.stdout
    assert "Connection refused" in ran.stdout
