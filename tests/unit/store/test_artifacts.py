from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from isol8tasks.errors import PlanError, StoreError
from isol8tasks.store.artifacts import LocalArtifacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def artifacts(tmp_path: Path) -> Iterator[LocalArtifacts]:
    store = LocalArtifacts(tmp_path)
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
    artifacts = LocalArtifacts(tmp_path)
    artifacts.begin("unit")
    artifacts.close()
    assert list((tmp_path / ".isol8tasks/.staging").iterdir()) == []
    assert (tmp_path / ".isol8tasks/.gitignore").read_text() == "*\n"


def test_a_stage_of_another_run_is_no_input(artifacts: LocalArtifacts) -> None:
    assert artifacts.tree("never-run") == ()


def test_an_unwritable_workspace_is_explained(tmp_path: Path) -> None:
    (tmp_path / ".isol8tasks").write_text("a file")
    with pytest.raises(StoreError, match="cannot write to") as caught:
        LocalArtifacts(tmp_path)
    assert caught.value.hint == "logs and outputs are kept there: make the folder writable"


@pytest.mark.parametrize("name", [".isol8tasks", ".isol8tasks/.staging"])
def test_a_planted_link_is_refused(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x.lock").write_text("")
    (victim / "x").mkdir()
    root = tmp_path / "root"
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(victim)
    with pytest.raises(StoreError, match="is a link, and may lead anywhere"):
        LocalArtifacts(root)
    assert sorted(path.name for path in victim.iterdir()) == ["x", "x.lock"]


def test_a_planted_ignore_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".isol8tasks").mkdir()
    (tmp_path / ".isol8tasks/.gitignore").symlink_to("../victim")
    LocalArtifacts(tmp_path).close()
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_planted_stage_folder_is_replaced(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/precious").write_text("x")
    (tmp_path / ".isol8tasks/unit").symlink_to("../victim")
    artifacts.begin("unit").seal()
    assert (tmp_path / "victim/precious").exists()
    assert not (tmp_path / ".isol8tasks/unit").is_symlink()


def test_another_run_does_not_change_what_this_one_made(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    other = LocalArtifacts(tmp_path)
    for store, content in ((artifacts, "mine"), (other, "theirs")):
        folder = store.begin("unit")
        (folder.outputs / "a").write_text(content)
        folder.seal()
    (entry,) = artifacts.tree("unit")
    assert entry.source is not None
    with entry.source() as file:
        assert file.read() == b"mine"
    other.close()
    assert (tmp_path / ".isol8tasks/unit/outputs/a").read_text() == "theirs"


def test_two_runs_publish_one_stage_at_a_time(tmp_path: Path) -> None:
    stores = [LocalArtifacts(tmp_path) for _ in range(2)]
    errors: list[OSError] = []

    def publish(store: LocalArtifacts) -> None:
        try:
            for _ in range(300):
                folder = store.begin("unit")
                (folder.outputs / "a").write_text("x")
                folder.seal()
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=publish, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert errors == []
    assert (tmp_path / ".isol8tasks/unit/outputs/a").read_text() == "x"


def publish(root: Path, stage: str, content: str = "x", path: str = "a") -> None:
    """What an earlier run left."""
    store = LocalArtifacts(root)
    folder = store.begin(stage)
    (folder.outputs / path).parent.mkdir(parents=True, exist_ok=True)
    (folder.outputs / path).write_text(content)
    folder.seal()
    store.close()


def read(store: LocalArtifacts, stage: str) -> dict[str, bytes]:
    found = {}
    for entry in store.tree(stage):
        assert entry.source is not None
        with entry.source() as file:
            found[entry.path] = file.read()
    return found


def test_a_package_keeps_its_own(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    (tmp_path / "libs/core").mkdir(parents=True)
    publish(tmp_path, "//libs/core:wheel", path="libs/core/dist/w")
    assert artifacts.log_path("//libs/core:wheel") == "libs/core/.isol8tasks/wheel"
    state = tmp_path / "libs/core/.isol8tasks"
    assert (state / "wheel/outputs/dist/w").read_text() == "x"
    assert (state / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in state.iterdir()) == [".gitignore", "wheel"]


def test_outputs_of_an_earlier_run(tmp_path: Path) -> None:
    publish(tmp_path, "unit", path="web/a")
    later = LocalArtifacts(tmp_path, earlier=["unit"])
    publish(tmp_path, "unit", "newer", path="web/a")
    assert read(later, "unit") == {"web/a": b"newer"}
    publish(tmp_path, "unit", "newest", path="web/a")
    assert read(later, "unit") == {"web/a": b"newer"}
    later.close()
    assert (tmp_path / ".isol8tasks/unit/outputs/web/a").read_text() == "newest"
    assert list((tmp_path / ".isol8tasks/.staging").iterdir()) == []


def test_an_earlier_run_without_outputs(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    folder = store.begin("unit")
    assert list(folder.outputs.iterdir()) == []
    folder.seal()
    store.close()
    assert LocalArtifacts(tmp_path, earlier=["unit"]).tree("unit") == ()


def test_no_earlier_run(tmp_path: Path) -> None:
    for stage in ("unit", "//libs/core:wheel"):
        with pytest.raises(PlanError) as caught:
            LocalArtifacts(tmp_path, earlier=[stage]).tree(stage)
        assert caught.value.message == f"there are no outputs of '{stage}' from an earlier run"
        assert caught.value.hint == f"run it first: isol8tasks run {stage}"


@pytest.mark.parametrize("name", [".isol8tasks", ".isol8tasks/unit", ".isol8tasks/unit/outputs"])
def test_earlier_outputs_behind_a_link_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root/p"
    root.mkdir(parents=True)
    publish(tmp_path / "root", "//p:unit")
    (tmp_path / "host").mkdir()
    (root / name).rename(tmp_path / "moved")
    (root / name).symlink_to(tmp_path / "moved")
    with pytest.raises(StoreError, match="is a link, and may lead anywhere"):
        LocalArtifacts(tmp_path / "root", earlier=["//p:unit"]).tree("//p:unit")


def test_only_files_are_taken_from_an_earlier_run(tmp_path: Path) -> None:
    publish(tmp_path, "unit")
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("never to be seen")
    outputs = tmp_path / ".isol8tasks/unit/outputs"
    (outputs / "link").symlink_to(tmp_path / "host/secret")
    (outputs / "folder").symlink_to(tmp_path / "host")
    os.mkfifo(outputs / "pipe")
    assert read(LocalArtifacts(tmp_path, earlier=["unit"]), "unit") == {"a": b"x"}


@pytest.mark.parametrize("name", [".isol8tasks", ".isol8tasks/unit"])
def test_a_planted_link_in_a_package(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "root/p" / name).parent.mkdir(parents=True)
    (tmp_path / "root/p" / name).symlink_to(victim)
    if name == ".isol8tasks":
        with pytest.raises(StoreError, match="is a link, and may lead anywhere"):
            publish(tmp_path / "root", "//p:unit")
    else:
        publish(tmp_path / "root", "//p:unit")
    assert list(victim.iterdir()) == []
