"""What has to be built for an image: a Dockerfile, and the context that goes with it.

What a task file says never becomes Dockerfile text: words are JSON strings of a RUN, which builders
hand on as they are, and files come with their destinations in a tar of their own, which ADD
unpacks. So it is with Docker's own builder since 20.10 and with Podman's since 4.3.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from isol8tasks.errors import ImageError
from isol8tasks.model.digest import digest_of_value
from isol8tasks.model.image import Image, Layer, LayerKind
from isol8tasks_oci.names import AUTHORITIES

SCHEMA = 1
"""Part of every key: a new way of baking finds no image of an old one."""

SETTINGS = "FTP_PROXY"
"""The build argument with the host's settings, as a shell's `export`.

Builders keep the values of a few names, this one among them, out of an image's history
(https://docs.docker.com/build/building/variables/#pre-defined-build-arguments): there may be
passwords in it.
"""

LACKING = "isol8tasks: no"
"""Begins the line that a build prints when the image has not the tool that it names."""

_NODE_MODULES = "/usr/local/lib/node_modules"
_LONGEST_LINE = 65_000  # builders refuse lines of 64 KiB
_EPOCH = 315_532_800  # 1980: zip archives know no earlier year
_MADE_ANEW = ("/dev", "/proc", "/sandbox", "/sys", "/tmp")  # noqa: S108 -- places in a sandbox

_BUILT = re.compile(r"[@/]|^\.|\.(?:tar(?:\.\w+)?|tgz|zip)\s*$")
_WHEEL = re.compile(r"(?!.*(?:git|hg|svn|bzr)\+)[^?#]*\.whl(?:[?#]\S*)?\s*(?:;.*)?")

_BEGIN = f"""\
umask 022
case "${{{SETTINGS}-}}" in "export "*) eval "${SETTINGS}";; esac
unset {SETTINGS}
"""
_PIP = f"""\
cd /
python=$(command -v python3 || command -v python) && "$python" -c "import pip" 2>/dev/null ||
  {{ echo "{LACKING} pip"; exit 1; }}
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
exec "$python" -m pip install --no-cache-dir --compile "$@"
"""
_NPM = f"""\
cd /
command -v npm >/dev/null || {{ echo "{LACKING} npm"; exit 1; }}
export npm_config_color=false npm_config_progress=false npm_config_update_notifier=false
export npm_config_cache="$(mktemp -d)"
npm install --global --prefix /usr/local --no-audit --no-fund "$@"
rm -rf "$npm_config_cache"
"""
_APT = f"""\
cd /
command -v apt-get >/dev/null || {{ echo "{LACKING} apt-get"; exit 1; }}
export DEBIAN_FRONTEND=noninteractive
options="-q -o APT::Update::Error-Mode=any -o Dpkg::Use-Pty=0"
options="$options${{SSL_CERT_FILE:+ -o Acquire::https::CaInfo=$SSL_CERT_FILE}}"
apt-get $options update
apt-get $options install -y --no-install-recommends -- "$@"
apt-get clean
rm -rf /var/lib/apt/lists/*
"""
_RUN = """\
command=$1
shift
for pair; do export "$pair"; done
exec /bin/sh -euc "$command"
"""


@attrs.frozen(kw_only=True)
class RunStep:
    """A script of ours with words of the task file."""

    layer: Layer
    script: str
    words: tuple[str, ...]

    @property
    def key(self) -> Any:
        """What identifies this step."""
        return [self.layer.kind.value, list(self.words), self.layer.unsafe]

    def __str__(self) -> str:
        return f"{self.layer.kind.value}: {' '.join(self.layer.arguments)}"


@attrs.frozen(kw_only=True)
class FileStep:
    """A file or folder of the host at an absolute path of the image; `content` is by `pack`."""

    source: Path
    destination: str
    content: str

    @property
    def key(self) -> Any:
        """What identifies this step."""
        return ["file", self.destination, self.content]

    def __str__(self) -> str:
        return f"file: {self.source} at {self.destination}"


Step = RunStep | FileStep


@attrs.frozen(kw_only=True)
class Recipe:
    """The steps of an image on top of `base`, the id of another; none: that is the image."""

    image: Image
    base: str
    steps: tuple[Step, ...]

    @property
    def key(self) -> str:
        """The key of the whole image. The base's id stands for its platform too."""
        steps = [step.key for step in self.steps]
        return digest_of_value(["isol8tasks bake", SCHEMA, self.base, steps]).hash

    def has(self, *kinds: LayerKind) -> bool:
        """Whether it has a layer of one of these kinds."""
        return any(layer.kind in kinds for layer in self.image.layers)


def write_recipe(image: Image, base: str, *, folder: Path) -> Recipe:
    """The steps of an image, whose files are relative to `folder`; ImageError if that fails."""
    return Recipe(image=image, base=base, steps=tuple(_steps(image, folder)))


def _steps(image: Image, folder: Path) -> Iterator[Step]:
    env: dict[str, str] = {}
    for layer in image.layers:
        match layer.kind:
            case LayerKind.FILE:
                yield _file_step(layer, folder)
            case LayerKind.ENV:
                env.update((pair.partition("=")[0], pair) for pair in layer.arguments)
            case _:
                yield _run_step(layer, tuple(env.values()))


def _run_step(layer: Layer, env: tuple[str, ...]) -> RunStep:
    """Commands see the env layers before them; packages are installed without."""
    script, safe, rest = {
        LayerKind.PIP: (_PIP, ("--only-binary", ":all:"), ("--", *layer.arguments)),
        LayerKind.NPM: (_NPM, ("--ignore-scripts",), ("--", *layer.arguments)),
        LayerKind.APT: (_APT, (), layer.arguments),
        LayerKind.RUN: (_RUN, (), (*layer.arguments, *env)),
    }[layer.kind]
    words = rest if layer.unsafe else (*safe, *rest)
    step = RunStep(layer=layer, script=script, words=words)
    if layer.kind is LayerKind.PIP and not layer.unsafe:
        _refuse_built(layer.arguments)
    if len(_run(step)) > _LONGEST_LINE or any("\0" in word for word in words):
        raise ImageError(
            f"the layer {str(step)[:100]!a}… is longer than {_LONGEST_LINE} characters, or has a "
            "NUL in it: builders take neither",
            hint="put it into a script: .file('setup.sh', '/opt/setup.sh').run('sh /opt/setup.sh')",
        )
    return step


def _refuse_built(packages: Sequence[str]) -> None:
    """`--only-binary` holds for what an index has: pip builds what is named by its place."""
    for package in packages:
        if _BUILT.search(package) and not _WHEEL.fullmatch(package):
            raise ImageError(
                f"Image.pip(): {package} is no wheel and would be built: code of its own",
                hint="to allow that: .pip(…, only_binary=False)",
            )


def _file_step(layer: Layer, folder: Path) -> FileStep:
    name, wanted = layer.arguments
    source, destination = folder / name, posixpath.normpath(f"/{wanted.lstrip('/')}")
    if destination == "/" or any(f"{destination}/".startswith(f"{top}/") for top in _MADE_ANEW):
        raise ImageError(
            f"Image.file(): {wanted} cannot be supplied by an image: that part of a sandbox is "
            "made anew for each stage",
            hint="choose another destination, such as /opt/data",
        )
    return FileStep(source=source, destination=destination, content=pack(source, destination))


def dockerfile(recipe: Recipe, *, authorities: bool = False) -> str:
    """The text for a builder: some preparation, then one line for each step."""
    lines = [f"FROM {recipe.base}", "USER 0:0"]
    if authorities:
        lines.append(_add("authorities"))
    if recipe.has(LayerKind.NPM):
        lines.append(f"ENV NODE_PATH={_NODE_MODULES}${{NODE_PATH:+:$NODE_PATH}}")
    for number, step in enumerate(recipe.steps):
        lines.append(_run(step) if isinstance(step, RunStep) else _add(f"files/{number}"))
    return "\n".join([*lines, ""])


def _run(step: RunStep) -> str:
    return f"RUN {json.dumps(['/bin/sh', '-euc', _BEGIN + step.script, 'sh', *step.words])}"


def _add(name: str) -> str:
    return f'ADD ["{name}.tar", "/"]'


def write_context(recipe: Recipe, out: IO[bytes], *, authorities: bytes = b"") -> None:
    """Write the tar that a builder gets; ImageError when a file is not what it was any more."""
    text = dockerfile(recipe, authorities=bool(authorities)).encode()
    with _writer(out) as tar:
        _put(tar, "Dockerfile", io.BytesIO(text))
        if authorities:
            inner = io.BytesIO()
            with _writer(inner) as packed:
                _put(packed, AUTHORITIES[1:], io.BytesIO(authorities))
            _put(tar, "authorities.tar", inner)
        for number, step in enumerate(recipe.steps):
            if isinstance(step, FileStep):
                _put_files(tar, number, step)


def _put_files(tar: tarfile.TarFile, number: int, step: FileStep) -> None:
    with tempfile.TemporaryFile() as inner:
        if pack(step.source, step.destination, inner) != step.content:
            raise ImageError(f"Image.file(): {step.source} changed meanwhile", hint="run it again")
        _put(tar, f"files/{number}.tar", inner)


def pack(source: Path, destination: str, out: IO[bytes] | None = None) -> str:
    """Write a file or a folder as the tar that puts it at its destination; returns its SHA-256.

    One content gives one tar. All of it is root's and readable by anyone; a link stays one, but
    for the source itself. ImageError for what cannot be read, or is neither file nor folder.
    """
    hashing = _Hashing(out)
    try:
        with _writer(hashing) as tar:
            tar.add(os.path.realpath(source), destination, filter=_plain)
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else source
        raise ImageError(
            f"Image.file(): {where} cannot be read: {error.strerror or error}",
            hint="its path is relative to the root of the workspace",
        ) from error
    return hashing.digest.hexdigest()


class _Hashing:
    """Takes the digest of what is written, and hands it on if somebody wants it."""

    def __init__(self, out: IO[bytes] | None) -> None:
        self._out = out
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._out.write(content) if self._out else len(content)


def _writer(out: Any) -> tarfile.TarFile:
    """GNU's format takes names of any length and any bytes."""
    return tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        raise ImageError(f"Image.file(): /{entry.name} is neither a file nor a folder")
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = _EPOCH
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o111 else 0o644
    return entry


def _put(tar: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar.addfile(entry, file)
