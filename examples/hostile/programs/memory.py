"""Takes memory in three ways: twice its limit and no more, for hosts that do not hold it."""

import mmap
import os
import select
import signal
import sys
import time

from ending import contained, escaped

MIB = 1 << 20
ENOUGH = 1024
PIECE = 16
EACH = 32


def one() -> None:
    """The private memory of one process."""
    taken = []
    try:
        while len(taken) * PIECE < ENOUGH:
            taken.append(os.urandom(4096) * (PIECE * MIB // 4096))
    except MemoryError:
        contained("a process has only so much memory")
    escaped(f"{len(taken) * PIECE} MiB")


def many() -> None:
    """Many processes that each stay small."""
    reader, writer = os.pipe()
    for _ in range(ENOUGH // EACH):
        if os.fork() == 0:
            taken = os.urandom(4096) * (EACH * MIB // 4096)
            os.write(writer, b"+")
            while taken:
                signal.pause()
    os.close(writer)
    full = 0
    while full * EACH < ENOUGH:
        if not select.select([reader], [], [], 0.5)[0]:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if ended:
                contained("a child was killed")
            continue
        full += len(os.read(reader, 100))
    keep()
    escaped(f"{full} processes with {EACH} MiB each")


def shared() -> None:
    """Memory that is no process's private one: a file without a name, else a shared mapping."""
    piece = os.urandom(4096) * (PIECE * MIB // 4096)
    try:
        file = os.memfd_create("hog")
    except OSError:
        mapping = mmap.mmap(-1, ENOUGH * MIB)
        for _ in range(ENOUGH // PIECE):
            mapping.write(piece)
    else:
        for _ in range(ENOUGH // PIECE):
            os.write(file, piece)
    keep()
    escaped(f"{ENOUGH} MiB")


def keep() -> None:
    """Some hosts only look now and then; who has it no longer than that did not take it away."""
    time.sleep(1)


{"one": one, "many": many, "shared": shared}[sys.argv[1]]()
