"""The image store: finished images under their keys, and nothing half-finished among them.

images/KEY/tree/         what is mounted at /opt/isol8tasks
images/KEY/files/N       what `file` layers put elsewhere
images/KEY/image.json    how it was made; without it, or with a foreign one, there is no image
toolchains/FINGERPRINT/  interpreters that a sandbox could not reach where they are
tmp/KEY.RANDOM/          an image in the making
locks/KEY.lock           held (flock) by whoever makes it
probes.json              what the host's interpreters said about themselves
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from isol8tasks.backend.contract import Cancellation
from isol8tasks.backend.folders import make_folder, remove_tree
from isol8tasks.errors import Cancelled, ImageError, StoreError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image, ImageKind, Layer, LayerKind
from isol8tasks_bubblewrap.tree import translated

SCHEMA = 1
_POLL_SECONDS = 0.05


@attrs.frozen(kw_only=True)
class Record:
    """The `image.json` of a finished image: `content` is the digest of all that was baked.

    `image` is the first one that asked for it; others may differ in their env layers. `toolchains`
    and `created` (UTC) are for readers.
    """

    key: str
    image: Image
    content: Digest
    toolchains: tuple[str, ...] = ()
    created: str = ""


@attrs.frozen
class Store:
    """The image store below a folder."""

    root: Path

    @property
    def probes(self) -> Path:
        """The file that remembers what interpreters said."""
        return self.root / "probes.json"

    def folder(self, key: str) -> Path:
        """Where a finished image is."""
        return self.root / "images" / key

    def toolchain(self, fingerprint: str) -> Path:
        """Where the copy of an interpreter is."""
        return self.root / "toolchains" / fingerprint

    def find(self, key: str) -> Record | None:
        """A finished image; one that is corrupt, or not ours, is as good as absent."""
        path = self.folder(key) / "image.json"
        try:
            if path.lstat().st_uid not in {0, os.geteuid()}:
                return None
            record = _parse(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return record if record.key == key and (self.folder(key) / "tree").is_dir() else None

    def records(self) -> tuple[Record, ...]:
        """All finished images, sorted by key."""
        try:
            keys = sorted(path.name for path in (self.root / "images").iterdir())
        except OSError:
            return ()
        return tuple(record for record in map(self.find, keys) if record)

    def remove(self, key: str) -> None:
        """Forget a finished image: it is gone from its place at once, whatever stops us later."""
        with translated("removing an image"):
            doomed = make_tmp(self.root) / f"{key}.{secrets.token_hex(4)}"
            try:
                self.folder(key).rename(doomed)
            except FileNotFoundError:
                return
            remove_tree(doomed)

    @contextmanager
    def locked(self, key: str, *, cancel: Cancellation, deadline: float) -> Iterator[None]:
        """Be the only one who makes this image; what a crash left of it is removed.

        Waits until `deadline` (monotonic seconds): ImageError then, Cancelled when cancelled.
        """
        with translated("locking an image"):
            make_folder(self.root / "locks")
            path = self.root / "locks" / f"{key}.lock"
            lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _wait(lock, cancel, deadline)
            for stale in (self.root / "tmp").glob(f"{key}.*"):
                remove_tree(stale)
            yield
        finally:
            os.close(lock)

    def sweep(self) -> int:
        """Remove what crashed bakes left in the making; how many that was."""
        keys = sorted({path.name.split(".")[0] for path in (self.root / "tmp").glob("*.*")})
        return sum(self._sweep_one(key) for key in keys)

    def _sweep_one(self, key: str) -> int:
        left = [*(self.root / "tmp").glob(f"{key}.*")]
        try:
            with self.locked(key, cancel=_Never(), deadline=0):
                return len(left)
        except (ImageError, StoreError):
            return 0

    @contextmanager
    def staging(self, key: str) -> Iterator[Path]:
        """An empty folder for an image in the making, gone at the end; only under the lock."""
        with translated("making a folder", self.root):
            folder = make_tmp(self.root) / f"{key}.{secrets.token_hex(4)}"
            make_folder(folder)
        try:
            yield folder
        finally:
            if folder.exists():
                remove_tree(folder)

    def publish(self, staging: Path, record: Record) -> None:
        """Put a finished image in its place, in one step; only under the lock."""
        text = json.dumps(_unparse(record), indent=2, sort_keys=True) + "\n"
        with translated("writing an image", self.root):
            path = staging / "image.json"
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        self.move(staging, self.folder(record.key))

    def move(self, staging: Path, target: Path) -> None:
        """Rename into place; what is there already was found wanting, and goes."""
        with translated("writing an image"):
            make_folder(target.parent)
            if os.path.lexists(target):
                doomed = staging.with_name(f"{staging.name}.old")
                target.rename(doomed)
                remove_tree(doomed)
            staging.rename(target)


class _Never:
    """A cancellation that nobody asks for."""

    cancelled = False

    def on_cancel(self, _callback: Callable[[], None]) -> Callable[[], None]:
        """Nothing will ever call back."""
        return lambda: None


def make_tmp(root: Path) -> Path:
    """The folder for staging."""
    make_folder(root / "tmp")
    return root / "tmp"


def _wait(lock: int, cancel: Cancellation, deadline: float) -> None:
    """Polling, because a thread that sleeps in flock cannot be cancelled."""
    while True:
        if cancel.cancelled:
            raise Cancelled
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        if time.monotonic() > deadline:
            raise ImageError(
                "another run is still baking this image",
                hint="wait for it to end, or end it, and run again",
            )
        time.sleep(_POLL_SECONDS)


def _unparse(record: Record) -> dict[str, Any]:
    image = record.image
    layers = [[layer.kind.value, list(layer.arguments), layer.unsafe] for layer in image.layers]
    return {
        "schema": SCHEMA,
        "key": record.key,
        "content": [record.content.hash, record.content.size],
        "recipe": str(image),
        "image": {"kind": image.kind.value, "reference": image.reference, "layers": layers},
        "toolchains": list(record.toolchains),
        "created": record.created,
    }


def _parse(found: dict[str, Any]) -> Record:
    if found["schema"] != SCHEMA:
        raise ValueError("another schema")
    digest, size = found["content"]
    return Record(
        key=str(found["key"]),
        image=_image(found["image"]),
        content=Digest(str(digest), int(size)),
        toolchains=tuple(str(each) for each in found["toolchains"]),
        created=str(found["created"]),
    )


def _image(found: dict[str, Any]) -> Image:
    layers = tuple(
        Layer(LayerKind(kind), tuple(str(each) for each in arguments), bool(unsafe))
        for kind, arguments, unsafe in found["layers"]
    )
    return Image(found["reference"], kind=ImageKind(found["kind"]), layers=layers)
