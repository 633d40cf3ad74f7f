"""The backend over an engine in memory, where nothing runs."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci.backend import ContainerBackend

from isol8tasks.backend.contract import BackendOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.oci.conftest import MemoryEngine


def _full() -> MemoryEngine:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/x.log")


def test_trouble_with_a_file_is_a_finding(tmp_path: Path) -> None:
    backend = ContainerBackend("memory", connect=_full, options=BackendOptions(cache=tmp_path))
    probe = backend.probe()
    assert probe.capabilities is None
    assert "No space left on device: '/var/x.log'" in probe.reason
    assert "ISOL8TASKS_CACHE" in probe.remedy


@pytest.mark.parametrize("name", ["memory-runs", "uids", "cache"])
def test_a_folder_that_cannot_be_used_is_a_finding(
    engine: MemoryEngine, tmp_path: Path, name: str
) -> None:
    """A name that is taken stands for all that can be wrong with a folder, also for root's."""
    (tmp_path / name).write_text("")
    cache = tmp_path / name if name == "cache" else tmp_path
    backend = ContainerBackend(
        "memory", connect=lambda: engine, options=BackendOptions(cache=cache)
    )
    probe = backend.probe()
    assert probe.capabilities is None
    assert str(tmp_path / name) in probe.reason
    backend.close()
