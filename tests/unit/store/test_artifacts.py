from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isol8tasks.errors import StoreError
from isol8tasks.store.artifacts import LocalArtifacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def artifacts(tmp_path: Path) -> Iterator[LocalArtifacts]:
    store = LocalArtifacts.in_workspace(tmp_path)
    yield store
    store.close()


def test_sealed_outputs_are_found_again(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    folder = artifacts.begin("unit")
    with folder.open_log("stdout") as log:
        log.write(b"hello")
    (folder.outputs / "web").mkdir()
    (folder.outputs / "web/a").write_bytes(b"abc")
    (produced,) = folder.seal()
    folder.discard()
    assert (produced.path, produced.size) == ("web/a", 3)
    assert produced.sha256.startswith("ba7816bf")
    assert (tmp_path / ".isol8tasks/unit/stdout.log").read_bytes() == b"hello"
    assert (tmp_path / ".isol8tasks/unit/outputs/web/a").read_bytes() == b"abc"
    (entry,) = artifacts.tree("unit")
    assert entry.source is not None
    with entry.source() as file:
        assert (entry.path, file.read()) == ("web/a", b"abc")
    assert artifacts.log_path("unit") == ".isol8tasks/unit"


def test_a_later_run_replaces_everything(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    for name in ("old", "new"):
        folder = artifacts.begin("unit")
        (folder.outputs / name).write_text(name)
        folder.seal()
    outputs = tmp_path / ".isol8tasks/unit/outputs"
    assert [path.name for path in outputs.iterdir()] == ["new"]


def test_what_is_discarded_changes_nothing(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    folder = artifacts.begin("unit")
    (folder.outputs / "kept").write_text("x")
    folder.seal()
    broken = artifacts.begin("unit")
    (broken.outputs / "lost").write_text("x")
    broken.discard()
    assert [path.name for path in (tmp_path / ".isol8tasks/unit/outputs").iterdir()] == ["kept"]


def test_nothing_is_left_but_the_results(tmp_path: Path) -> None:
    artifacts = LocalArtifacts.in_workspace(tmp_path)
    artifacts.begin("unit")
    artifacts.close()
    assert list((tmp_path / ".isol8tasks/.staging").iterdir()) == []
    assert (tmp_path / ".isol8tasks/.gitignore").read_text() == "*\n"


def test_a_stage_of_another_run_is_no_input(artifacts: LocalArtifacts) -> None:
    assert artifacts.tree("never-run") == ()


def test_an_unwritable_workspace_is_explained(tmp_path: Path) -> None:
    (tmp_path / ".isol8tasks").write_text("a file")
    with pytest.raises(StoreError, match="cannot write to") as caught:
        LocalArtifacts.in_workspace(tmp_path)
    assert caught.value.hint == "logs and outputs are kept there: make the folder writable"
