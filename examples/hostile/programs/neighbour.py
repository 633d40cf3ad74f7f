"""Not hostile: it works beside those that are, and passes only if it is not disturbed."""

import os
import socket
import sys
import time
from pathlib import Path

SECONDS, STEP, LONGEST = 8.0, 0.05, 3.0
PLACES = [Path(folder) / "neighbour.txt" for folder in ("/sandbox", "/tmp", "/dev/shm")]


def work() -> None:
    number, end = 0, time.monotonic() + SECONDS
    while (start := time.monotonic()) < end:
        number += 1
        for place in PLACES:
            place.write_text(f"{number}")
        time.sleep(STEP)
        if {place.read_text() for place in PLACES} != {f"{number}"}:
            sys.exit("my files were changed")
        if time.monotonic() - start > LONGEST:
            sys.exit(f"{time.monotonic() - start:.1f} s for what takes {STEP} s")
    if sorted(os.listdir("/tmp")) != ["neighbour.txt"]:
        sys.exit("there is something in my /tmp")


with socket.create_server(("127.0.0.1", 47111)), socket.socket(socket.AF_UNIX) as server:
    server.bind("\0neighbour")
    server.listen()
    work()
print("unharmed")
