"""The contract, over every backend that exists."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend import registry
from isol8tasks.testing import FakeBackend
from isol8tasks.testing.contract import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.backend.contract import Backend, BackendOptions


class TestFake(BackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> FakeBackend:
        return FakeBackend()


class Installed(BackendContract):
    """A backend by its entry point."""

    name: str

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, engine_options: BackendOptions) -> Iterator[Backend]:
        with closing(registry.load(cls.name, engine_options)) as backend:
            yield backend


@pytest.mark.bubblewrap
class TestBubblewrap(Installed):
    name = "bubblewrap"


@pytest.mark.docker
class TestDocker(Installed):
    """As root by what this host shares with the engine, as an ordinary user through its API."""

    name = "docker"


@pytest.mark.podman
class TestPodman(Installed):
    """As an ordinary user it is rootless."""

    name = "podman"
