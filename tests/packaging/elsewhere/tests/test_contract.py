"""The suite that isol8tasks ships, over this backend by its entry point."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend import registry
from isol8tasks.backend.contract import BackendOptions
from isol8tasks.testing.contract import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.backend.contract import Backend


class TestUnshare(BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
        cache = tmp_path_factory.mktemp("cache")
        with closing(registry.load("unshare", BackendOptions(cache=cache))) as backend:
            yield backend
        assert list((cache / "unshare").iterdir()) == []
