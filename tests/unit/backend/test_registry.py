"""Backends by entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend.contract import BackendOptions
from isol8tasks.backend.registry import installed, load, unknown
from isol8tasks.errors import BackendUnavailable
from isol8tasks.testing import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path

METADATA = "Metadata-Version: 2.1\nName: isol8tasks\nVersion: 0\n"
FAKE = "isol8tasks.testing:FakeBackend"


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The entry points of a distribution that is found instead of the real isol8tasks."""
    info = tmp_path / "isol8tasks-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(str(tmp_path))
    return info / "entry_points.txt"


ORDERS = [
    ((), ()),
    (("podman", "docker", "bubblewrap"), ("bubblewrap", "docker", "podman")),
    (("zeta", "podman", "alpha"), ("podman", "alpha", "zeta")),
]


@pytest.mark.parametrize(("names", "order"), ORDERS)
def test_the_preferred_come_first(
    register: Path, names: tuple[str, ...], order: tuple[str, ...]
) -> None:
    lines = [f"{name} = no_such_package:Backend" for name in names]
    register.write_text("\n".join(["[isol8tasks.backends]", *lines]))
    assert installed() == order


def test_one_is_built_with_what_it_is_told(register: Path, tmp_path: Path) -> None:
    register.write_text(f"[isol8tasks.backends]\nmine = {FAKE}\n")
    options = BackendOptions(cache=tmp_path, images=(("python", "localhost/python:1"),))
    backend = load("mine", options)
    assert isinstance(backend, FakeBackend)
    assert backend._options == options


def test_one_that_cannot_be_imported(register: Path, tmp_path: Path) -> None:
    register.write_text("[isol8tasks.backends]\nmine = no_such_package:Backend\n")
    with pytest.raises(BackendUnavailable) as caught:
        load("mine", BackendOptions(cache=tmp_path))
    assert (caught.value.message, caught.value.hint) == (
        "mine cannot be imported: No module named 'no_such_package'",
        "reinstall isol8tasks or the package that brings this backend",
    )


WHAT_IT_IS = "a backend is a package that registers under 'isol8tasks.backends'"


def test_one_that_is_not_there(register: Path, tmp_path: Path) -> None:
    register.write_text("")
    with pytest.raises(BackendUnavailable) as caught:
        load("mine", BackendOptions(cache=tmp_path))
    assert (caught.value.message, caught.value.hint) == (
        "there is no backend named 'mine'",
        f"installed: none; {WHAT_IT_IS}",
    )
    register.write_text(f"[isol8tasks.backends]\nours = {FAKE}\nmine = {FAKE}\n")
    error = unknown("mnie", meant="; did you mean 'mine'?")
    assert (error.message, error.hint) == (
        "there is no backend named 'mnie'; did you mean 'mine'?",
        f"installed: mine, ours; {WHAT_IT_IS}",
    )
