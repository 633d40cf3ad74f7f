"""What to run, as arguments for bwrap. Pure: the same layout always gives the same words."""

from __future__ import annotations

import attrs

from isol8tasks.model.network import NetworkMode
from isol8tasks.model.stage import SANDBOX_ROOT

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
TMP_BYTES = 256 << 20


@attrs.frozen(kw_only=True)
class Layout:
    """Everything that makes one sandbox; mounts are pairs of a host path and a sandbox path.

    `links` are symbolic links of the root as (target, path). `workspace` is the host folder behind
    `/sandbox`, None for a sandbox that has none. `uid` is the user and group inside.
    """

    uid: int
    argv: tuple[str, ...]
    read_only: tuple[tuple[str, str], ...] = ()
    writable: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    workspace: str | None = None
    workdir: str = ""
    network: NetworkMode = NetworkMode.NONE
    env: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    tmp_bytes: int = TMP_BYTES


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
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(layout.tmp_bytes), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    words += ["--size", str(layout.tmp_bytes), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    # After /tmp: an index or an interpreter may be below the host's own.
    for source, path in layout.read_only:
        words += ["--ro-bind", source, path]
    for source, path in layout.writable:
        words += ["--bind", source, path]
    if layout.workspace is not None:
        words += ["--bind", layout.workspace, SANDBOX_ROOT]
    return words


def _environment(layout: Layout) -> list[str]:
    words = ["--clearenv"]
    for name, value in layout.env:
        words += ["--setenv", name, value]
    return words


def _chdir(layout: Layout) -> str:
    if layout.workspace is None:
        return "/tmp"  # noqa: S108 -- the sandbox's own
    return f"{SANDBOX_ROOT}/{layout.workdir}".rstrip("/")
