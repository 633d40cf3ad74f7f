"""Leaves a process behind that wants to outlive the stage."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

from ending import contained

SECONDS = 600


def daemon() -> None:
    """Away from the terminal, the session and the parent; it holds a port and writes later."""
    if os.fork():
        time.sleep(0.2)
        contained("left a daemon behind; the test looks for it")
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for file in range(3):
        os.close(file)
    with socket.create_server(("127.0.0.1", 47112)):
        for count in range(SECONDS):
            if count:
                Path(f"late-{count}.txt").write_text("still here")
            time.sleep(0.5)


def pipe() -> None:
    """A child that keeps standard output and standard error open."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(SECONDS)
    contained("left a child behind that holds the pipes open")


{"daemon": daemon, "pipe": pipe}[sys.argv[1]]()
