"""A backend by somebody else: sandboxes by unshare(1) and mount(8), and so without limits."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

from isol8tasks.backend.contract import (
    BackendOptions,
    Cancellation,
    Capabilities,
    LineSink,
    PreparedImage,
    Probe,
    SandboxSpec,
)
from isol8tasks.backend.folders import make_folder, sweep_claims
from isol8tasks.errors import Cancelled, ImageError, OperationError
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Limit

from .sandbox import UNSHARE, UnshareSandbox

_LAYERS = frozenset({LayerKind.ENV})
_CAPABILITIES = Capabilities(
    explained=tuple(
        (limit, "it makes no control group and no sized file system", "use another backend")
        for limit in (Limit.MEMORY, Limit.CPUS, Limit.PIDS, Limit.DISK)
    ),
    images=frozenset({ImageKind.BASH}),
    layers=_LAYERS,
    host_bound=True,
)
_REMARKS = (
    "no system call is filtered, and all of /etc is there: this keeps apart what you trust",
    "a sandbox has no network, and its own loopback is down",
)
_REMEDY = "install util-linux, and let users make namespaces (sysctl user.max_user_namespaces)"


class Unshare:
    """Sandboxes in namespaces of their own, whose programs are the host's."""

    name = "unshare"

    def __init__(self, options: BackendOptions) -> None:
        self._cache = options.cache
        self._runtime = options.runtime
        self._folders = options.cache / "unshare"

    def probe(self) -> Probe:
        """Run `true` in a sandbox."""
        if self._runtime is not None:
            return Probe(reason=f"there is no runtime '{self._runtime}' for unshare")
        said: list[bytes] = []
        try:
            version = subprocess.run([UNSHARE, "--version"], capture_output=True, check=True)
            image = PreparedImage(image=Image.bash(), identity=Image.bash().recipe)
            with closing(self.create(SandboxSpec(name="probe", image=image))) as sandbox:
                sandbox.run(("true",), stdin=b"", sink=lambda _, piece: said.append(piece))
        except (OSError, subprocess.SubprocessError, OperationError) as error:
            reason = b"".join(said).decode(errors="replace").strip() or str(error)
            return Probe(reason=reason, remedy=_REMEDY)
        return Probe(
            version=version.stdout.decode().split()[-1],
            rootless=os.geteuid() != 0,
            capabilities=_CAPABILITIES,
            remarks=_REMARKS,
        )

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> PreparedImage:
        """Nothing is baked: the host's own programs are the image."""
        del base, sink, timeout
        if cancel.cancelled:
            raise Cancelled
        if image.kind is not ImageKind.BASH or {layer.kind for layer in image.layers} - _LAYERS:
            raise ImageError(f"unshare cannot supply the image '{image}'")
        return PreparedImage(image=image, identity=image.recipe)

    def images(self) -> tuple[PreparedImage, ...]:
        """None is ever baked."""
        return ()

    def remove(self, image: PreparedImage) -> None:
        """There is nothing to forget."""

    def create(self, spec: SandboxSpec) -> UnshareSandbox:
        """Make a fresh sandbox in a folder of its own."""
        make_folder(self._folders)
        return UnshareSandbox(spec, cache=self._cache, parent=self._folders)

    def sweep(self, *, older_than: float | None = None) -> int:
        """Remove the folders of runs that died; their processes died with them."""
        del older_than
        return sweep_claims(self._folders)

    def close(self) -> None:
        """Nothing is held between sandboxes."""
