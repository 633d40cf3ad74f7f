"""What a sandbox is made of."""

from __future__ import annotations

import enum
import re

import attrs

from isol8tasks.model.digest import Digest, digest_of_value

_VERSION = re.compile(r"\d+(\.\d+){0,2}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ImageKind(enum.StrEnum):
    """Where the first layer comes from."""

    REFERENCE = "reference"
    PYTHON = "python"
    NODE = "node"
    BASH = "bash"
    ROOTFS = "rootfs"
    DOCKERFILE = "dockerfile"


class LayerKind(enum.StrEnum):
    """What a baked layer adds."""

    PIP = "pip"
    NPM = "npm"
    APT = "apt"
    RUN = "run"
    ENV = "env"
    FILE = "file"


@attrs.frozen
class Layer:
    """One baked step.

    `arguments` are packages, one shell command, `NAME=value` pairs, or a source and a destination.
    `unsafe` lets the packages run code of their own while they are installed.
    """

    kind: LayerKind
    arguments: tuple[str, ...]
    unsafe: bool = False


@attrs.frozen
class Image:
    """A base and its layers. `Image("ref")` names an image of a container engine.

    Each method returns a new Image with one more layer; nothing is baked until a run needs it.
    """

    reference: str = attrs.field()
    kind: ImageKind = attrs.field(default=ImageKind.REFERENCE, kw_only=True)
    layers: tuple[Layer, ...] = attrs.field(default=(), kw_only=True)

    @reference.validator
    def _check_reference(self, _attribute: object, value: object) -> None:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not an image: write Image('name:tag')")  # noqa: TRY004
        unnamed = not value and self.kind is ImageKind.REFERENCE
        if unnamed or re.search(r"[\s\x00-\x1f]", value) or value.startswith("-"):
            raise ValueError(f"{value!r} is not the name of an image: write Image('name:tag')")

    @classmethod
    def python(cls, version: str | None = None) -> Image:
        """A CPython: `Image.python("3.12")`, or any supported one."""
        return cls(_version("python", version), kind=ImageKind.PYTHON)

    @classmethod
    def node(cls, version: str | None = None) -> Image:
        """A Node.js with npm: `Image.node("22")`, or any supported one."""
        return cls(_version("node", version), kind=ImageKind.NODE)

    @classmethod
    def bash(cls) -> Image:
        """A shell with the usual command-line tools."""
        return cls("", kind=ImageKind.BASH)

    @classmethod
    def rootfs(cls, path: str) -> Image:
        """A root file system from a tar archive, relative to the workspace root."""
        return cls(_relative_path(path), kind=ImageKind.ROOTFS)

    @classmethod
    def dockerfile(cls, path: str) -> Image:
        """An image built from a Dockerfile, relative to the workspace root."""
        return cls(_relative_path(path), kind=ImageKind.DOCKERFILE)

    def pip(self, *packages: str, only_binary: bool = True) -> Image:
        """Python packages; `only_binary=False` also builds source distributions: code of theirs."""
        return self._with(LayerKind.PIP, _packages("pip", packages), unsafe=not only_binary)

    def npm(self, *packages: str, ignore_scripts: bool = True) -> Image:
        """Packages of npm; `ignore_scripts=False` runs their install scripts: strangers' code."""
        return self._with(LayerKind.NPM, _packages("npm", packages), unsafe=not ignore_scripts)

    def apt(self, *packages: str) -> Image:
        """Debian packages."""
        return self._with(LayerKind.APT, _packages("apt", packages))

    def run(self, command: str) -> Image:
        """A shell command that changes the image."""
        if not isinstance(command, str) or not command.strip():
            raise ValueError("Image.run() needs a shell command: write Image.run('make')")
        return self._with(LayerKind.RUN, (command,), unsafe=True)

    def env(self, **variables: str) -> Image:
        """Environment variables that every stage with this image has."""
        return self._with(LayerKind.ENV, tuple(f"{k}={v}" for k, v in env_pairs(variables)))

    def file(self, source: str, destination: str) -> Image:
        """A file, relative to the workspace root, at an absolute path of the image."""
        if not isinstance(destination, str) or not destination.startswith("/"):
            raise ValueError(f"Image.file(): {destination!r} is not absolute: write '/etc/name'")
        if ".." in destination.split("/"):
            raise ValueError(f"Image.file(): {destination!r} has a '..' in it: write '/etc/name'")
        return self._with(LayerKind.FILE, (_relative_path(source), destination))

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """The variables of the env layers, later ones winning, sorted by name."""
        pairs: dict[str, str] = {}
        for layer in self.layers:
            if layer.kind is LayerKind.ENV:
                pairs.update(_split(argument) for argument in layer.arguments)
        return tuple(sorted(pairs.items()))

    @property
    def recipe(self) -> Digest:
        """The digest of what was declared; two images with one recipe bake once."""
        layers = [[layer.kind.value, list(layer.arguments), layer.unsafe] for layer in self.layers]
        return digest_of_value([self.kind.value, self.reference, layers])

    def __str__(self) -> str:
        base = self.kind.value + (f":{self.reference}" if self.reference else "")
        if self.kind is ImageKind.REFERENCE:
            base = self.reference
        layers = (f"{layer.kind.value}({', '.join(layer.arguments)})" for layer in self.layers)
        return " + ".join([base, *layers])

    def _with(self, kind: LayerKind, arguments: tuple[str, ...], *, unsafe: bool = False) -> Image:
        layer = Layer(kind, arguments, unsafe)
        return attrs.evolve(self, layers=(*self.layers, layer))


def env_pairs(variables: object) -> tuple[tuple[str, str], ...]:
    """Sorted, checked pairs from a mapping of names to strings; ValueError otherwise."""
    if not isinstance(variables, dict):
        raise ValueError(f"env: {variables!r} is not a mapping: write {{'A': 'b'}}")  # noqa: TRY004
    for name, value in variables.items():
        if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
            raise ValueError(f"env: {name!r} is not the name of a variable: write {{'A': 'b'}}")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"env: {name}: {value!r} is not a string: write {{{name!r}: 'value'}}")
    return tuple(sorted(variables.items()))


def _version(name: str, version: object) -> str:
    if version is None:
        return ""
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ValueError(f"Image.{name}(): {version!r} is not a version: write '3.12' or '22'")
    return version


def _packages(layer: str, packages: tuple[str, ...]) -> tuple[str, ...]:
    if not packages:
        raise ValueError(f"Image.{layer}() needs a package: write {layer}('name')")
    for package in packages:
        if not isinstance(package, str) or not package.strip():
            raise ValueError(f"Image.{layer}(): {package!r} is not a package: write 'name'")
        if package.startswith("-") or re.search(r"[\x00-\x1f]", package):
            raise ValueError(
                f"Image.{layer}(): {package!r} is an option: write the name of a package"
            )
    return packages


def _relative_path(path: object) -> str:
    if not isinstance(path, str) or not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is outside the workspace root: write 'folder/name'")
    return path


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value
