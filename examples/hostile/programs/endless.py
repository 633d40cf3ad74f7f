"""Does not want to end: a loop, deaf to all signals, or stopped."""

import os
import signal
import sys
import time

from ending import escaped

LONG = 600.0


def loop() -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass


def deaf() -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    os.setsid() if os.fork() == 0 else None
    loop()


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


{"loop": loop, "deaf": deaf, "stopped": stopped}[sys.argv[1]]()
escaped("it went on for too long")
