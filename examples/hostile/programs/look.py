"""Reads, or writes, what is the host's or another stage's."""

import errno
import os
import socket
import stat
import sys
from pathlib import Path

from ending import contained, escaped

TOLD = tuple(os.environ["HOSTILE_FOLDERS"].split(":"))
SECRETS = (
    "/etc/shadow",
    "/etc/machine-id",
    "/proc/1/environ",
    "/proc/1/maps",
    "/proc/1/mem",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/keys",
    "/proc/sched_debug",
    "/dev/kmsg",
    "/dev/mem",
    "/dev/sda",
    "/dev/vda",
    "/dev/vsock",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/net/tun",
    "/sandbox/private.txt",
)
FOLDERS = ("/root", "/home", "/sys", "/run", "/mnt", "/srv", "/boot", "/work", *TOLD)
ROOTS = ("", "/proc/1/root", "/proc/1/cwd/../..", "/proc/self/root", "/proc/thread-self/root")
WRITES = (
    "/planted",
    "/usr/planted",
    "/usr/bin/planted",
    "/etc/planted",
    "/etc/passwd",
    "/dev/planted",
    "/opt/planted",
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/drop_caches",
    "/proc/1/oom_score_adj",
    "/proc/1/coredump_filter",
    "/sys/fs/cgroup/planted",
)


def read() -> None:
    found = [path for root in ROOTS for path in SECRETS if _content(root + path)]
    if _content("/etc/hostname").strip() not in {b"", socket.gethostname().encode()}:
        found.append("/etc/hostname")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for root in ROOTS:
        for folder in FOLDERS:
            found += _foreign(root, folder, mounts)
    if found:
        escaped(f"it can read {found}")
    contained("nothing of the host is in sight")


def _content(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return os.read(file, 100)
    except OSError:
        return b""


def _foreign(root: str, folder: str, mounts: list[str]) -> list[str]:
    """What does not only lead to a mount of ours: an interpreter may be below /root."""
    try:
        names = os.listdir(root + folder)
    except OSError:
        return []
    found = []
    for path in (f"{folder}/{name}" for name in names):
        if any(mount.startswith(f"{path}/") for mount in mounts):
            found += _foreign(root, path, mounts)
        elif path not in mounts:
            found.append(root + path)
    return found


def write() -> None:
    found = [root + path for root in ROOTS for path in WRITES if _writable(root + path)]
    if found:
        escaped(f"it can write {found}")
    contained("nothing of the host can be written")


def _writable(path: str) -> bool:
    """Not so what leads to the null device instead, which hides a file."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError:
        return False
    found = os.fstat(file)
    os.close(file)
    return not (stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == 1)


def neighbours() -> None:
    """A neighbour has files in all writable places, a port and a socket; see neighbour.py."""
    ours = {1, os.getpid(), os.getppid()}
    others = {int(name) for name in os.listdir("/proc") if name.isdigit()} - ours
    files = [path for path in ("/tmp", "/dev/shm") if os.listdir(path)]
    files += [str(path) for path in Path("/sandbox").rglob("neighbour.txt")]
    if others or files:
        escaped(f"processes {sorted(others)}, files {files}")
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 47111)),
        (socket.AF_UNIX, "\0neighbour"),
    ):
        with socket.socket(family) as client:
            if client.connect_ex(address) != errno.ECONNREFUSED:
                escaped(f"a connection to {address}")
    contained("nobody else is in sight")


{"read": read, "write": write, "neighbours": neighbours}[sys.argv[1]]()
