"""Too much of something: output, blocks, inodes, folders within folders."""

import os
import sys

from ending import contained, escaped

TARGET = sys.argv[2]
GIB3 = 3 << 30
INODES = 1 << 18


def output() -> None:
    piece = b"x" * 79 + b"\n"
    for _ in range(GIB3 // (len(piece) * 1000)):
        os.write(int(TARGET), piece * 1000)
    escaped("3 GiB of output")


def blocks() -> None:
    """To the last page, which is what tells a full file system from an unlucky write."""
    file = os.open(f"{TARGET}/flood", os.O_WRONLY | os.O_CREAT)
    written, size = 0, 1 << 20
    while written < GIB3:
        try:
            written += os.write(file, bytes(size))
        except OSError as error:
            if size == 1:
                contained(f"{written} bytes, then: {error.strerror}")
            size = 1
    escaped(f"{written} bytes in {TARGET}")


def inodes() -> None:
    try:
        for number in range(INODES):
            os.close(os.open(f"{TARGET}/{number}", os.O_WRONLY | os.O_CREAT))
    except OSError as error:
        contained(error.strerror)
    escaped(f"{INODES} files")


def tree() -> None:
    os.chdir(TARGET)
    try:
        for _ in range(INODES):
            os.mkdir("d")
            os.chdir("d")
    except OSError as error:
        contained(error.strerror)
    escaped(f"{INODES} folders within one another")


{"output": output, "blocks": blocks, "inodes": inodes, "tree": tree}[sys.argv[1]]()
