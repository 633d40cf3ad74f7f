"""What a host gives decides how a limit is held; what did not trip is held per process as well."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from isol8tasks_bubblewrap import Bubblewrap

from isol8tasks.backend.contract import BackendOptions, SandboxSpec
from isol8tasks.engine.cancel import CancelSource
from isol8tasks.model.image import Image

ULIMITS = ("sh", "-c", "ulimit -d; nproc; taskset -pc 0 $$ 2>&1 | tail -n 1")


@pytest.mark.root
@pytest.mark.bubblewrap
@pytest.mark.parametrize("tripped", [True, False])
def test_a_limit_that_did_not_trip_is_held_per_process(open_folder: Path, tripped: bool) -> None:
    backend = Bubblewrap(BackendOptions(cache=open_folder / "cache"))
    if not tripped:
        backend._trial = attrs.evolve(backend._tried(), held=frozenset())
    said = bytearray()
    try:
        image = backend.prepare(
            Image.bash(), base=open_folder, sink=lambda _: None, cancel=CancelSource(), timeout=60
        )
        sandbox = backend.create(SandboxSpec(name="s", image=image))
        sandbox.run(ULIMITS, stdin=b"", sink=lambda _, piece: said.extend(piece))
        sandbox.close()
    finally:
        backend.close()
    memory, processors, *_ = said.decode().splitlines()
    assert memory == ("unlimited" if tripped else str(512 << 10))
    assert (processors == "1") is not tripped
