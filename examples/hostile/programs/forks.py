"""A fork bomb, doubling at every step; it is bounded by construction to 4096 processes."""

import contextlib
import os
import select
import signal
import sys

from ending import contained, escaped
from kernel import call

STEPS = 12
TOO_MANY = 3000
CLONE_NEWUSER, SIGCHLD = 0x10000000, signal.SIGCHLD


def bomb() -> None:
    reader, writer = os.pipe()
    first = os.getpid()
    try:
        for _ in range(STEPS):
            if os.fork() == 0:
                os.write(writer, b"+")
        word = b"."
    except OSError:
        word = b"!"
    os.write(writer, word)
    if os.getpid() != first:
        while True:
            signal.pause()
    _count(reader)


def _count(reader: int) -> None:
    """Until the processes are too many, or nothing new has happened for a while."""
    seen = b""
    while select.select([reader], [], [], 1.0)[0] and seen.count(b"+") < TOO_MANY:
        seen += os.read(reader, 4096)
    made = seen.count(b"+")
    if made >= TOO_MANY:
        escaped(f"{made} processes")
    contained("there is a limit to processes" if b"!" in seen else f"only {made} processes?")


def nested() -> None:
    """A new user namespace would have a count of processes of its own."""
    ways = {
        "unshare": lambda: call("unshare", CLONE_NEWUSER),
        "clone": lambda: call("clone", CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0),
        "clone3": lambda: call("clone3", (CLONE_NEWUSER | 0).to_bytes(8, "little") + bytes(56), 64),
    }
    answers = []
    for name, way in ways.items():
        try:
            way()
        except OSError as error:
            answers.append(f"{name}: {error.strerror}")
        else:
            with contextlib.suppress(OSError):
                bomb()
            escaped(f"a user namespace by {name}")
    contained("; ".join(answers))


{"plain": bomb, "nested": nested}[sys.argv[1]]()
