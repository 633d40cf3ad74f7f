"""Leaves outputs that are not what they seem.

Only of a stage that passed are all outputs demanded, so this ends with 0 once the trap is set: then
it is the collecting of outputs that must say no.
"""

import os
import socket
import stat
import sys
from pathlib import Path

from ending import all_must_fail, contained

OUT = Path("out")
MANY = 10_001
DEVICES = {"null": (1, 3), "memory": (1, 1), "disk": (8, 0)}


def symlink() -> None:
    (OUT / "passwd").symlink_to("/etc/passwd")


def symlinked_folder() -> None:
    OUT.rmdir()
    OUT.symlink_to("/etc")
    Path("away").symlink_to("../../../..")


def hard_link() -> None:
    """Of what is not ours, from each file system in sight."""
    sources = ("/usr/bin/env", "/etc/passwd", "/proc/version", "/dev/null")
    ways = {source: lambda it=source: os.link(it, OUT / "link") for source in sources}
    all_must_fail(ways)


def fifo() -> None:
    os.mkfifo(OUT / "fifo")


def unix_socket() -> None:
    socket.socket(socket.AF_UNIX).bind(str(OUT / "socket"))


def device() -> None:
    ways = {
        name: lambda it=numbers: os.mknod(OUT / "device", 0o666 | stat.S_IFCHR, os.makedev(*it))
        for name, numbers in DEVICES.items()
    }
    all_must_fail(ways)


def setuid() -> None:
    """What a stage leaves that did not pass is kept as well: the test looks at the modes."""
    program = OUT / "shell"
    program.write_bytes(Path("/bin/sh").read_bytes())
    program.chmod(0o6755)
    contained("left a program with setuid and setgid bits; the test looks at its mode")


def newline() -> None:
    (OUT / "a\n::error::owned").touch()


def ansi() -> None:
    (OUT / "\x1b[2J\x1b]0;owned\x07").touch()


def broken() -> None:
    os.close(os.open(os.fsencode(OUT) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))


def dots() -> None:
    """Names that another system or a careless join would take for the way up."""
    for name in ("..\\..\\planted", "...", "..%2f..%2fplanted", "~", "-rf", "C:planted"):
        (OUT / name).touch()
    (OUT / "up").symlink_to("..")


def sparse() -> None:
    os.truncate(os.open(OUT / "sparse", os.O_CREAT | os.O_WRONLY), 1 << 40)


def many() -> None:
    for number in range(MANY):
        (OUT / str(number)).touch()


def deep() -> None:
    os.chdir(OUT)
    for _ in range(2000):
        os.mkdir("d")
        os.chdir("d")
    Path("file").touch()
    os.chmod("/sandbox/out/d", 0)


OUT.mkdir()
globals()[sys.argv[1]]()
print("the trap is set")
