#!/usr/bin/python3
"""Write a root file system as a tar to stdout: the named Debian packages of this host, and Node.js.

No network and no registry is needed: the files are the host's own, those that dpkg lists for the
packages and all that they depend on. `docker import -` and `podman import -` read the result.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

DPKG = Path("/var/lib/dpkg")
MERGED = re.compile(r"^/(bin|sbin|lib|lib32|lib64|libx32)(?=/|$)")
"""Links to folders of the same name in /usr; packages still list files by both names."""
UNWANTED = re.compile(r"^/usr/(include|share/(bug|doc|doc-base|info|lintian|locale|man))/")
SETTINGS = (
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/debian.sources",
    "etc/ca-certificates.conf",
    "etc/ld.so.cache",
    "etc/nsswitch.conf",
    "etc/ssl/certs/*",
    "usr/local/share/ca-certificates/*",
)
"""What no package lists, since its installation made it, or the host's administrator."""


@dataclass(frozen=True)
class Package:
    """An installed package; every dependency is the alternatives that satisfy it."""

    name: str
    architecture: str
    essential: bool
    provides: tuple[str, ...]
    depends: tuple[tuple[str, ...], ...]
    paragraph: str

    @property
    def stems(self) -> tuple[str, str]:
        """What dpkg calls its files about the package: two may be there, never both."""
        return self.name, f"{self.name}:{self.architecture}"


def read_packages(status: str, architecture: str) -> dict[str, Package]:
    """Read the installed packages from the text of dpkg's status file."""
    found = map(_package, status.strip().split("\n\n"))
    native = (package for package in found if package.architecture in {architecture, "all"})
    return {package.name: package for package in native if _is_installed(package)}


def _is_installed(package: Package) -> bool:
    return re.search(r"^Status: \S+ ok installed$", package.paragraph, re.MULTILINE) is not None


def _package(paragraph: str) -> Package:
    fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
    depends = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"
    return Package(
        name=fields["Package"],
        architecture=fields.get("Architecture", ""),
        essential=fields.get("Essential") == "yes",
        provides=_names(fields.get("Provides", ""), ","),
        depends=tuple(_names(each, "|") for each in depends.split(",") if each.strip()),
        paragraph=paragraph,
    )


def _names(text: str, separator: str) -> tuple[str, ...]:
    """Leave versions and architectures out: what is installed satisfies them."""
    return tuple(re.split(r"[\s:(]", each.strip())[0] for each in text.split(separator) if each)


def closure(installed: dict[str, Package], names: Iterable[str]) -> list[Package]:
    """List the packages, the essential ones and all that these depend on, by name."""
    providers: dict[str, set[str]] = {name: {name} for name in installed}
    for package in installed.values():
        for name in package.provides:
            providers.setdefault(name, set()).add(package.name)
    todo: list[tuple[str, ...]] = [(name,) for name in names]
    todo += [(package.name,) for package in installed.values() if package.essential]
    found: set[str] = set()
    while todo:
        alternatives = todo.pop()
        chosen = next((providers[name] for name in alternatives if name in providers), None)
        if chosen is None:
            sys.exit(f"base_image: not installed on this host: {' | '.join(alternatives)}")
        for name in chosen - found:
            todo += installed[name].depends
        found |= chosen
    return [installed[name] for name in sorted(found)]


class Root:
    """What will be in the tar, every name once; folders that nobody names are made."""

    def __init__(self) -> None:
        self._copied: dict[str, Path] = {}
        self._made: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._copied or name in self._made

    def copied(self) -> list[Path]:
        """List the paths on the host."""
        return list(self._copied.values())

    def copy(self, source: Path, name: str | None = None) -> None:
        """Take a file, a link or a folder without its content from the host, if it is there."""
        if os.path.lexists(source):
            self._copied[name or str(source).lstrip("/")] = source

    def copy_tree(self, source: Path, name: str) -> None:
        """Take a folder with all that is in it."""
        self.copy(source, name)
        for path in source.rglob("*"):
            self.copy(path, f"{name}/{path.relative_to(source)}")

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Make an empty folder."""
        self._make(name, tarfile.DIRTYPE, mode)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link."""
        self._make(name, tarfile.SYMTYPE, 0o777).linkname = target

    def text(self, name: str, text: str) -> None:
        """Make a file."""
        self._make(name, tarfile.REGTYPE, 0o644, text.encode())

    def _make(self, name: str, kind: bytes, mode: int, content: bytes = b"") -> tarfile.TarInfo:
        made = tarfile.TarInfo(name)
        made.type, made.mode, made.size, made.mtime = kind, mode, len(content), int(time.time())
        self._made[name] = made, content
        return made

    def write(self, stream: BinaryIO) -> None:
        """Write the tar, folders before their content."""
        for name in {*self._copied, *self._made}:
            for parent in PurePosixPath(name).parents:
                if str(parent) != "." and str(parent) not in self:
                    self.folder(str(parent))
        with tarfile.open(fileobj=stream, mode="w|", bufsize=1 << 20) as tar:
            for name in sorted({*self._copied, *self._made}):
                self._write_one(tar, name)

    def _write_one(self, tar: tarfile.TarFile, name: str) -> None:
        if name in self._made:
            made, content = self._made[name]
            tar.addfile(made, io.BytesIO(content))
        else:
            tar.add(self._copied[name], name, recursive=False, filter=_without_names)


def _without_names(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The host's users are not the image's: numbers only."""
    member.uname = member.gname = ""
    return member


def add_skeleton(root: Root) -> None:
    """Add what belongs to no package: links of a merged /usr, accounts, folders."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/usr", name).is_dir():
            root.link(name, f"usr/{name}")
    root.folder("tmp", 0o1777)
    root.folder("var/tmp", 0o1777)
    root.folder("root", 0o700)
    for name in ("passwd", "group"):
        root.text(f"etc/{name}", Path(f"/usr/share/base-passwd/{name}.master").read_text("utf-8"))
    root.text("etc/hosts", "127.0.0.1 localhost\n")
    root.text("etc/resolv.conf", "")
    for pattern in SETTINGS:
        for path in Path("/").glob(pattern):
            root.copy(path)


def add_packages(root: Root, packages: list[Package]) -> None:
    """Add the packages' files, and dpkg's knowledge of them: apt works on it."""
    stems = {stem for package in packages for stem in package.stems}
    for path in (DPKG / "info").iterdir():
        if path.stem in stems:
            root.copy(path)
            if path.suffix == ".list":
                _add_listed(root, path.read_text("utf-8").splitlines())
    root.copy(DPKG / "info/format")
    paragraphs = (f"{package.paragraph.strip()}\n\n" for package in packages)
    root.text("var/lib/dpkg/status", "".join(paragraphs))


def _add_listed(root: Root, listed: Iterable[str]) -> None:
    for path in listed:
        merged = MERGED.sub(r"/usr/\1", path)
        if path != "/." and merged.lstrip("/") not in root and not UNWANTED.match(merged):
            root.copy(Path(merged))


def add_alternatives(root: Root) -> None:
    """Add the links through /etc/alternatives that lead to a program that is there."""
    for choice in Path("/etc/alternatives").iterdir():
        record = DPKG / "alternatives" / choice.name
        if str(choice.resolve()).lstrip("/") in root and record.exists():
            _, link, *_ = record.read_text("utf-8").splitlines()
            for path in (choice, record, Path(MERGED.sub(r"/usr/\1", link))):
                root.copy(path)


def add_bytecode(root: Root) -> None:
    """Add what the packages' installation compiled: Python starts in half the time."""
    for path in root.copied():
        if path.suffix == ".py":
            root.copy(Path(importlib.util.cache_from_source(str(path))))


def add_node(root: Root, program: Path, prefix: str) -> None:
    """Add Node.js with the npm beside it, which may differ from the one that its package lists."""
    root.copy(program, f"{prefix}/bin/node")
    npm = program.parents[1] / "lib/node_modules/npm"
    if npm.is_dir():  # not so where npm is a Debian package of its own
        root.copy_tree(npm, f"{prefix}/lib/node_modules/npm")
        for name in ("npm", "npx"):
            root.link(f"{prefix}/bin/{name}", f"../lib/node_modules/npm/bin/{name}-cli.js")


def _output(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _node() -> Path:
    """Ask the program itself: the one in PATH may be a version manager's script."""
    program = _output(shutil.which("node") or "node", "-p", "process.execPath")
    return Path(program).resolve() if program else sys.exit("base_image: node does not run")


def _owners(program: Path, installed: dict[str, Package]) -> Iterator[str]:
    owner = _output("/usr/bin/dpkg", "-S", str(program)).partition(":")[0]
    if owner:
        yield owner
        yield from {"npm"} & installed.keys()


def main(names: list[str]) -> None:
    """Write the image of the packages with these names."""
    status = (DPKG / "status").read_text("utf-8")
    installed = read_packages(status, _output("/usr/bin/dpkg", "--print-architecture"))
    node = _node()
    owners = list(_owners(node, installed))
    root = Root()
    add_skeleton(root)
    add_packages(root, closure(installed, [*names, *owners]))
    add_alternatives(root)
    add_bytecode(root)
    add_node(root, node, "usr" if owners else "usr/local")
    if "usr/bin/python" not in root:
        root.link("usr/local/bin/python", "/usr/bin/python3")
    root.write(sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1:])
