"""Repositories of git to look at, made anew for each test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import attrs
import pytest

IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@invalid",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@invalid",
    "GIT_AUTHOR_DATE": "2030-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2030-01-01T00:00:00Z",
}


@attrs.frozen
class Repository:
    path: Path

    def git(self, *words: str) -> str:
        ran = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-C", self.path, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout.strip()

    def write(self, path: str, text: str = "") -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_text(text or path)

    def commit(self, *paths: str) -> str:
        for path in paths:
            self.write(path)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", " ".join(paths) or "empty")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def unborn(tmp_path: Path) -> Repository:
    """A repository without a commit."""
    found = Repository(tmp_path / "repository")
    found.path.mkdir()
    found.git("init", "--quiet", "--initial-branch", "main")
    return found


@pytest.fixture
def repository(unborn: Repository) -> Repository:
    """One with three committed files and an ignored one, on main."""
    unborn.write(".gitignore", "*.log\n")
    unborn.write("ignored.log")
    unborn.commit("a", "lib/b", "app/c")
    return unborn


def cloned(origin: Repository, *options: str) -> Repository:
    target = Repository(origin.path.parent / "clone")
    origin.git("clone", "--quiet", *options, origin.path.as_uri(), str(target.path))
    return target
