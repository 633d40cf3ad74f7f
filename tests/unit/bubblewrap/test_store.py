"""The image store: locks, staging, and what counts as an image."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from isol8tasks_bubblewrap.store import Record, Store
from isol8tasks_bubblewrap.tree import digest, seal

from isol8tasks.errors import Cancelled, ImageError, StoreError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image

IMAGE = Image.python("3.12").pip("a==1", only_binary=False).env(A="1").file("x", "/y")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def never(bakes: Any) -> Any:
    return bakes.Never()


def record(key: str = "k1") -> Record:
    return Record(key=key, image=IMAGE, content=Digest("ab" * 32, 7), toolchains=("python",))


def publish(store: Store, never: Any, key: str = "k1") -> Record:
    found = record(key)
    lock = store.locked(key, cancel=never, deadline=time.monotonic() + 5)
    with lock, store.staging(key) as folder:
        (folder / "tree").mkdir()
        (folder / "tree/file").write_text("x")
        store.publish(folder, found)
    return found


def test_what_is_published_is_found(store: Store, never: Any) -> None:
    assert store.find("k1") is None
    found = publish(store, never)
    assert store.find("k1") == found
    assert store.records() == (found,)
    assert (store.folder("k1") / "tree/file").read_text() == "x"
    assert [*(store.root / "tmp").iterdir()] == []


def test_folders_are_open_whatever_the_umask(store: Store, never: Any) -> None:
    before = os.umask(0o077)
    try:
        publish(store, never)
    finally:
        os.umask(before)
    folders = [store.root, store.root / "images", store.folder("k1")]
    modes = {stat.S_IMODE(folder.stat().st_mode) for folder in folders}
    assert modes == {0o755}
    assert stat.S_IMODE((store.folder("k1") / "image.json").stat().st_mode) == 0o644


def test_nothing_is_left_of_a_bake_that_failed(store: Store, never: Any) -> None:
    def fail() -> None:
        with store.staging("k1") as folder:
            (folder / "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [*(store.root / "tmp").iterdir()] == []
    assert store.records() == ()


def test_the_holder_of_the_lock_removes_what_a_crash_left(store: Store, never: Any) -> None:
    stale, other = store.root / "tmp/k1.dead", store.root / "tmp/k2.alive"
    for folder in (stale / "tree", other / "tree"):
        folder.mkdir(parents=True)
    with store.locked("k1", cancel=never, deadline=time.monotonic() + 5):
        assert not stale.exists()
        assert other.exists()


def test_a_sweep_spares_what_somebody_works_on(store: Store, never: Any) -> None:
    for name in ("k1.dead/tree", "k1.dead.old", "k2.alive/tree"):
        (store.root / "tmp" / name).mkdir(parents=True)
    with store.locked("k2", cancel=never, deadline=time.monotonic() + 5):
        (store.root / "tmp/k2.alive").mkdir(exist_ok=True)
        assert store.sweep() == 2
        assert [path.name for path in (store.root / "tmp").iterdir()] == ["k2.alive"]
    assert store.sweep() == 1
    assert store.sweep() == 0


def test_waiting_for_a_lock_can_be_cancelled(store: Store, bakes: Any) -> None:
    cancel = bakes.Never()
    later = time.monotonic() + 60
    with store.locked("k1", cancel=bakes.Never(), deadline=later):
        threading.Timer(0.2, cancel.cancel).start()
        with pytest.raises(Cancelled), store.locked("k1", cancel=cancel, deadline=later):
            pass
    assert time.monotonic() < later - 50


def test_waiting_for_a_lock_has_an_end(store: Store, never: Any) -> None:
    short = store.locked("k1", cancel=never, deadline=time.monotonic() + 0.1)
    with (
        store.locked("k1", cancel=never, deadline=time.monotonic() + 60),
        pytest.raises(ImageError, match="another run is still baking this image"),
        short,
    ):
        pass


def test_a_lock_is_free_after_use(store: Store, never: Any) -> None:
    for _ in range(2):
        with store.locked("k1", cancel=never, deadline=time.monotonic()):
            pass


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 99},
        {"key": "other"},
        {"content": "x"},
        {"image": {"kind": "martian", "reference": "", "layers": []}},
        {"image": {"kind": "python", "reference": "", "layers": [["pip"]]}},
        {"toolchains": 3},
    ],
)
def test_a_foreign_record_is_no_image(store: Store, never: Any, change: dict[str, Any]) -> None:
    publish(store, never)
    path = store.folder("k1") / "image.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert store.find("k1") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_corrupt_record_is_no_image(store: Store, never: Any, text: str) -> None:
    publish(store, never)
    (store.folder("k1") / "image.json").write_text(text)
    assert store.find("k1") is None
    assert store.records() == ()
    assert publish(store, never) == store.find("k1")


@pytest.mark.root
def test_somebody_elses_record_is_no_image(store: Store, never: Any) -> None:
    publish(store, never)
    os.chown(store.folder("k1") / "image.json", 12345, 12345)
    assert store.find("k1") is None


def test_an_image_without_its_tree_is_none(store: Store, never: Any) -> None:
    publish(store, never)
    (store.folder("k1") / "tree").rename(store.root / "gone")
    assert store.find("k1") is None


def test_removal(store: Store, never: Any) -> None:
    publish(store, never)
    kept = publish(store, never, "k2")
    store.remove("k1")
    store.remove("k1")
    assert store.records() == (kept,)
    assert [*(store.root / "tmp").iterdir()] == []


def test_a_store_that_cannot_be_written(tmp_path: Path, never: Any) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError), store.staging("k1"):
        pass


def test_a_record_keeps_the_whole_image(store: Store, never: Any) -> None:
    publish(store, never)
    found = store.find("k1")
    assert found is not None
    assert found.image == IMAGE
    assert attrs.evolve(found, created="") == record()


def _tree(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a.py").write_text("a")
    (folder / "link").symlink_to("/etc/passwd")
    seal(folder, owner=None)
    return folder


def test_the_digest_of_a_tree(tmp_path: Path) -> None:
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    same = digest(one)
    assert digest(two) == same
    assert same.size == 1
    (two / "sub/__pycache__").mkdir()
    (two / "sub/__pycache__/a.cpython-312.pyc").write_text("x")
    assert digest(two) == same
    for change in (
        lambda: (two / "sub/a.py").write_text("b"),
        lambda: (two / "sub/a.py").chmod(0o755),
        lambda: (two / "sub/a.py").rename(two / "a.py"),
        (two / "empty").mkdir,
    ):
        before = digest(two)
        change()
        assert digest(two) != before
    before = digest(one)
    (one / "link").unlink()
    (one / "link").symlink_to("/etc/group")
    assert digest(one) != before


def test_sealing_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("x")
    target.chmod(0o600)
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "link").symlink_to(target)
    seal(folder, owner=None)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
