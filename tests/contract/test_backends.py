"""The contract, over every backend that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from isol8tasks_bubblewrap import Bubblewrap

from isol8tasks.backend.contract import Backend, BackendOptions
from isol8tasks.testing import FakeBackend
from isol8tasks.testing.contract import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestFake(BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> FakeBackend:
        return FakeBackend()


@pytest.mark.bubblewrap
class TestBubblewrap(BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, engine_cache: Path) -> Iterator[Backend]:
        backend = Bubblewrap(BackendOptions(cache=engine_cache))
        yield backend
        backend.close()
