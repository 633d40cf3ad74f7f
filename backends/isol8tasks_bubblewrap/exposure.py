"""Brings files and folders that the host's settings name into a bake, and only into the bake."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import attrs

from isol8tasks_bubblewrap.tree import clone, reachable, translated

_HREF = re.compile(rb"""href\s*=\s*["']?([^"'#?>\s]+)""", re.IGNORECASE)
_PACKAGES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".metadata")
_MOST_PAGES = 20_000
_CREDENTIALS = re.compile(r"(?<=://)[^\s/]+(?=@)")
_SEEN_BY_ALL = ("/usr/", "/etc/ssl/")
_NEVER_MOUNTED = ("/proc", "/dev", "/sys", "/run", "/bake", "/opt/isol8tasks")


def mask(text: str) -> str:
    """The text without the `user:password` of the URLs in it."""
    return _CREDENTIALS.sub("***", text)


def local_path(location: str) -> Path | None:
    """The path of a `file://` URL or of a path as pip takes it; None for any other URL."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    if "://" in location:
        return None
    return Path(location).expanduser().absolute()


@attrs.define
class Exposure:
    """Collects what a bake may read. `folder` is on the host, `at` is where the bake sees it.

    Files are copied there; folders are mounted at their own path, from a copy when the sandbox's
    `uid` cannot reach them. `notices` say what was left out.
    """

    folder: Path
    at: str
    uid: int | None
    mounts: dict[str, str] = attrs.field(factory=dict)
    notices: list[str] = attrs.field(factory=list)
    _count: int = 0

    def write(self, name: str, content: str) -> str:
        """A file with this content; returns its path in the bake."""
        path = self.folder / name
        with translated("copying the host's settings"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return f"{self.at}/{name}"

    def copy(self, source: str) -> str:
        """A copy of a file; returns its path in the bake, or "" when it cannot be read."""
        self._count += 1
        name = f"files/{self._count}-{Path(source).name}"
        try:
            (self.folder / "files").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(source).expanduser(), self.folder / name)
        except OSError as error:
            self.notices.append(f"{source} cannot be read ({error.strerror}): left out")
            return ""
        return f"{self.at}/{name}"

    def show(self, folder: Path) -> bool:
        """Make a folder visible at its own path; False, with a notice, when that cannot be."""
        path = str(folder)
        if path in self.mounts or path.startswith(_SEEN_BY_ALL):
            return True
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
            self.notices.append(f"the folder {path} is not there or cannot be read: left out")
            return False
        if path == "/" or any(f"{path}/".startswith(f"{each}/") for each in _NEVER_MOUNTED):
            self.notices.append(f"the folder {path} cannot be shown to a sandbox: left out")
            return False
        self.mounts[path] = path if reachable(folder, self.uid) else self._copy_folder(folder)
        return True

    def show_index(self, folder: Path) -> bool:
        """The same for a package index: also the folders that its pages link to."""
        if not self.show(folder):
            return False
        for linked in sorted(_linked_folders(folder)):
            if not f"{linked}/".startswith(f"{folder}/") and not _holds_home(linked):
                self.show(linked)
        return True

    def _copy_folder(self, folder: Path) -> str:
        self._count += 1
        target = self.folder / f"folders/{self._count}"
        with translated(f"copying {folder}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        clone(folder.resolve(), target)
        return str(target)


def _linked_folders(index: Path) -> set[Path]:
    """Folders of the local package files that the pages of an index link to."""
    pages = [*index.glob("*.html"), *index.glob("*/*.html")][:_MOST_PAGES]
    return {folder for page in pages for folder in _links(page)}


def _links(page: Path) -> set[Path]:
    try:
        content = page.read_bytes()
    except OSError:
        return set()
    base = page.as_uri()
    links = {urljoin(base, link.decode(errors="replace")) for link in _HREF.findall(content)}
    paths = (local_path(link) for link in links if link.endswith(_PACKAGES))
    return {path.parent for path in paths if path and path.is_file()}


def _holds_home(folder: Path) -> bool:
    home = Path("~").expanduser()
    return folder == home or folder in home.parents
