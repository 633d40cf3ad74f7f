"""What to run, as arguments for bwrap. Pure: the same layout always gives the same words."""

from __future__ import annotations

import os

import attrs

from isol8tasks.model.network import NetworkMode
from isol8tasks.model.stage import SANDBOX_ROOT

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
TMP_BYTES = 256 << 20
_TMP, _SHM = "/tmp", "/dev/shm"  # noqa: S108 -- the sandbox's own


@attrs.frozen(kw_only=True)
class Layout:
    """Everything that makes one sandbox; mounts are pairs of a host path and a sandbox path.

    `links` are symbolic links of the root as (target, path). `places` is the host folder that holds
    `sandbox`, `tmp` and `shm`, the writable places; without it there is no `/sandbox`, and the
    others are of bubblewrap's making. `uid` is the user and group inside.
    """

    uid: int
    argv: tuple[str, ...]
    read_only: tuple[tuple[str, str], ...] = ()
    writable: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    places: str | None = None
    workdir: str = ""
    network: NetworkMode = NetworkMode.NONE
    env: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    tmp_bytes: int = TMP_BYTES


# bwrap's init has the program's uid, and would let it write to its memory: whoever can do that can
# make it report another exit code. No filter of system calls can tell that file from another.
_HIDDEN_INIT = [
    "--size",
    "4096",
    "--perms",
    "0555",
    "--tmpfs",
    "/proc/1",
    "--remount-ro",
    "/proc/1",
]
_HIDDEN_KEYS = ["--ro-bind", "/dev/null", "/proc/keys"] if os.path.exists("/proc/keys") else []
"""It names the keys of our uid, whatever the namespace; nothing opens a device behind it."""


def bwrap_options(layout: Layout) -> list[str]:
    """The options that describe the sandbox, without the program."""
    return [
        *_isolation(layout),
        *_root(layout),
        *_environment(layout),
        "--remount-ro",
        "/",
        "--chdir",
        _chdir(layout),
    ]


def _isolation(layout: Layout) -> list[str]:
    """All namespaces of its own; the host's network only when it was granted."""
    words = ["--unshare-all", "--unshare-user", "--disable-userns"]
    if layout.network is NetworkMode.HOST:
        words.append("--share-net")
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    return [*words, "--uid", str(layout.uid), "--gid", str(layout.uid)]


def _root(layout: Layout) -> list[str]:
    words = ["--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/opt"]
    for target, path in layout.links:
        words += ["--symlink", target, path]
    words += [
        "--proc",
        "/proc",
        *_HIDDEN_INIT,
        *_HIDDEN_KEYS,
        "--dev",
        "/dev",
        *_writable_places(layout),
    ]
    words += ["--remount-ro", "/dev"]
    # After /tmp: an index or an interpreter may be below the host's own.
    for source, path in layout.read_only:
        words += ["--ro-bind", source, path]
    for source, path in layout.writable:
        words += ["--bind", source, path]
    return words


def _writable_places(layout: Layout) -> list[str]:
    """/dev comes before, so that what is mounted in it stays writable when it is not."""
    if layout.places is not None:
        pairs = (("sandbox", SANDBOX_ROOT), ("tmp", _TMP), ("shm", _SHM))
        return [
            word for name, path in pairs for word in ("--bind", f"{layout.places}/{name}", path)
        ]
    size = str(layout.tmp_bytes)
    return [
        word
        for path in (_SHM, _TMP)
        for word in ("--size", size, "--perms", "1777", "--tmpfs", path)
    ]


def _environment(layout: Layout) -> list[str]:
    words = ["--clearenv"]
    for name, value in layout.env:
        words += ["--setenv", name, value]
    return words


def _chdir(layout: Layout) -> str:
    if layout.places is None:
        return _TMP
    return f"{SANDBOX_ROOT}/{layout.workdir}".rstrip("/")
