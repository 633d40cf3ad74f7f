"""The backend over an engine in memory, where nothing runs."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, cast

import attrs
import pytest
from isol8tasks_oci.backend import ContainerBackend

from isol8tasks.backend.contract import BackendOptions

if TYPE_CHECKING:
    from pathlib import Path

    from isol8tasks_oci.places import Places

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


def test_all_is_closed_whatever_goes_wrong(engine: MemoryEngine, tmp_path: Path) -> None:
    class Broken:
        def close(self) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    backend = ContainerBackend(
        "memory", connect=lambda: engine, options=BackendOptions(cache=tmp_path)
    )
    run = backend._run_folder(engine)
    backend._places = cast("Places", Broken())
    with pytest.raises(OSError, match="Input/output"):
        backend.close()
    assert engine.calls == [("close", "")]
    assert not run.exists()
    backend.close()


@pytest.mark.parametrize(
    ("runtime", "refused"), [("runsc", True), ("runc", False), ("io.containerd.runsc.v1", False)]
)
def test_a_runtime_that_is_not_there(
    engine: MemoryEngine, tmp_path: Path, runtime: str, refused: bool
) -> None:
    """A shim's name is no entry of the list that Docker gives."""
    engine.told = attrs.evolve(engine.told, local=False, runtimes=("runc",))
    backend = ContainerBackend(
        "memory", connect=lambda: engine, options=BackendOptions(cache=tmp_path, runtime=runtime)
    )
    assert backend.probe().reason.startswith("memory has no runtime") is refused
    backend.close()
