"""What the first process of a container tells."""

from __future__ import annotations

import pytest
from isol8tasks_oci import holder
from isol8tasks_oci.holder import Used

MIB = 1 << 20

V1 = [
    ["memory.limit_in_bytes", str(64 * MIB)],
    ["memory.max_usage_in_bytes", "4096"],
    ["memory.oom_control", "under_oom", "0"],
    ["memory.oom_control", "oom_kill", "1"],
    ["cpuacct.usage", "1500000000"],
    ["pids.current", "2"],
]
V2 = [
    ["memory.max", str(64 * MIB)],
    ["memory.peak", "4096"],
    ["memory.events", "oom_kill", "0"],
    ["cpu.stat", "usage_usec", "1500000"],
    ["pids.current", "3"],
]


@pytest.mark.parametrize(
    ("said", "memory", "expected"),
    [
        (V1, 64 * MIB + 5, (True, 4096, 1.5, 2)),
        (V2, 64 * MIB, (False, 4096, 1.5, 3)),
        (V2[:1], 64 * MIB, (None, None, None, None)),
        (V2, None, (None, None, None, None)),
        (V1, 65 * MIB, (None, None, None, None)),
        ([["memory.max", "max"], ["memory.peak", "1"]], 64 * MIB, (None, None, None, None)),
        ([[], ["odd"]], 64 * MIB, (None, None, None, None)),
    ],
)
def test_used(
    said: list[list[str]],
    memory: int | None,
    expected: tuple[bool | None, int | None, float | None, int | None],
) -> None:
    killed, peak, seconds, processes = expected
    assert holder.used(said, memory) == Used(
        oom_killed=killed, peak_memory_bytes=peak, cpu_seconds=seconds, processes=processes
    )


@pytest.mark.parametrize(
    ("line", "full"),
    [
        *(("space 9 1 9 1", False), ("space 9 0 9 1", True), ("space 9 1 9 0", True)),
        *(("space 9 1 0 0", False), ("space 0 0 0 0", False), ("stat: not found", False)),
    ],
)
def test_full(line: str, full: bool) -> None:
    assert holder.full(line.split()) is full
