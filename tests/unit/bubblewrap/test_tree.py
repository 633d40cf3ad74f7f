"""Copying folders of the image store, and what is said when that fails."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from isol8tasks_bubblewrap.tree import clone, translated

from isol8tasks.errors import StoreError

FULL = "[Errno 28] No space left on device: '/cache/b'"
REMEDY = "make room, or set another folder with the setting 'cache' (ISOL8TASKS_CACHE)"
CASES = [
    (
        OSError(errno.ENOSPC, "No space left on device", "/cache/b"),
        "no space left in /cache while copying a",
        REMEDY,
    ),
    (
        shutil.Error([("/a", "/cache/b", FULL), ("/c", "/cache/d", FULL)]),
        "no space left in /cache while copying a",
        REMEDY,
    ),
    (
        shutil.Error([("/a", "/b", "[Errno 13] Permission denied: '/a'")]),
        "the image store failed while copying a: [Errno 13] Permission denied: '/a'",
        "",
    ),
    (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "cp"),
        "the image store failed while copying a: No such file or directory: cp",
        "",
    ),
    (OSError("odd"), "the image store failed while copying a: odd", ""),
    (shutil.Error("odd"), "the image store failed while copying a: odd", ""),
]


@pytest.mark.parametrize(("error", "message", "hint"), CASES)
def test_one_sentence_for_any_failure(error: OSError, message: str, hint: str) -> None:
    with pytest.raises(StoreError) as caught, translated("copying a", Path("/cache")):
        raise error
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_copy_needs_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to("nowhere")
    clone(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b/link").readlink() == Path("nowhere")
