"""For tests of isol8tasks and of backends: a fake backend, stores in memory, a clock by hand.

`isol8tasks.testing.contract.BackendContract` is the suite that every backend has to pass; it needs
pytest, so it is not imported here.
"""

from isol8tasks.testing.clock import ManualClock
from isol8tasks.testing.fake import FakeBackend, FakeProcess
from isol8tasks.testing.memory import MemoryArtifacts, MemoryInputs

__all__ = [
    "FakeBackend",
    "FakeProcess",
    "ManualClock",
    "MemoryArtifacts",
    "MemoryInputs",
]
