from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from isol8tasks.backend.folders import (
    ClaimedFolder,
    reachable_by_others,
    remove_tree,
    sweep_claims,
)

CLAIM_AND_WAIT = """
import sys, pathlib
from isol8tasks.backend.folders import ClaimedFolder
folder = ClaimedFolder(pathlib.Path(sys.argv[1]))
(folder.path / "leftover").write_text("x")
print(folder.path, flush=True)
sys.stdin.read()
"""


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_WAIT, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        path = owner.stdout.readline().strip()
        assert sweep_claims(tmp_path) == 0
        assert os.path.isdir(path)
        owner.kill()
        owner.wait()
    assert sweep_claims(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    folder = ClaimedFolder(tmp_path, mode=0o711)
    assert folder.path.stat().st_mode & 0o777 == 0o711
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_removing_what_a_stranger_wrote(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    (tree / "locked/inner").mkdir(parents=True)
    (tree / "locked/inner/file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "locked").chmod(0)
    deep = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(0o500)
    (tmp_path / "link").symlink_to(outside)
    remove_tree(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_reachable_by_others(tmp_path: Path) -> None:
    assert reachable_by_others(Path("/usr/bin/env"))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("x")
    assert not reachable_by_others(closed / "file")
