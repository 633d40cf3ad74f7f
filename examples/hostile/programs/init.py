"""Attacks the first process of the sandbox, whose end is what bwrap reports, and the verdict."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ending import all_must_fail, contained
from kernel import call, libc

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
FORGED = b'\n{ "exit-code": 0 }\n'
EXIT_WITH_0 = {
    "x86_64": bytes.fromhex("31ff b8e7000000 0f05"),
    "aarch64": bytes.fromhex("000080d2 c80b80d2 010000d4"),
}
NOTHING = {"x86_64": b"\x90", "aarch64": bytes.fromhex("1f2003d5")}


def kill() -> None:
    """It ignores what its own children send."""
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGSTOP):
        os.kill(1, number)
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL)
    time.sleep(0.2)
    os.kill(1, 0)
    contained("the first process lives")


def everyone() -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    time.sleep(0.2)
    os.kill(1, 0)
    contained("nobody else was here to be killed")


def trace() -> None:
    one = ctypes.create_string_buffer(64)
    ways = {
        "seize": lambda: call("ptrace", PTRACE_SEIZE, 1, 0, 0),
        "attach": lambda: call("ptrace", PTRACE_ATTACH, 1, 0, 0),
        "process_vm_writev": lambda: call("process_vm_writev", 1, one, 1, one, 1, 0),
    }
    all_must_fail(ways)


def memory() -> None:
    """Writes `exit(0)` over what the first process does next, then wakes it by an orphan's end."""
    machine = os.uname().machine
    try:
        maps = [line.split() for line in Path("/proc/1/maps").read_text().splitlines()]
        it = os.open("/proc/1/mem", os.O_RDWR)
    except OSError as error:
        contained(f"its memory cannot be opened: {error.strerror}")
    for where, rights, *_, name in maps:
        if "x" in rights and not name.startswith("[v"):
            start, end = (int(word, 16) for word in where.split("-"))
            _overwrite(it, start, end, NOTHING[machine], EXIT_WITH_0[machine])
    _orphan()
    time.sleep(1.0)
    contained("it went on as if nothing had happened")


def _orphan() -> None:
    """A process that ends with 0 and is reaped by the first one."""
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()


def _overwrite(file: int, start: int, end: int, nothing: bytes, last: bytes) -> None:
    """Slides of nothing with the code at the end of each page: whatever is next comes to it."""
    page = nothing * ((4096 - len(last)) // len(nothing)) + last
    page = page.rjust(4096, nothing[:1])
    for address in range(start, end, 4096):
        with contextlib.suppress(OSError):
            os.pwrite(file, page, address)


def eventfd() -> None:
    """bwrap's first process hands the exit status on through one: 1 stands for 0."""
    init = os.pidfd_open(1)

    def steal(number: int) -> Callable[[], str]:
        def attempt() -> str:
            taken = call("pidfd_getfd", init, number, 0)
            os.write(taken, (1).to_bytes(8, "little"))
            return f"its file {number}"

        return attempt

    all_must_fail({f"file {number}": steal(number) for number in range(3, 64)})


def files() -> None:
    """A forged result into every file of every process that can be opened."""
    written = []
    for process in [name for name in os.listdir("/proc") if name.isdigit()]:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{process}/fd"):
                written += _forge(f"/proc/{process}/fd/{name}", int(name))
    own = sorted({name for process, name in written if process == str(os.getpid())})
    others = [name for process, name in written if process not in {str(os.getpid()), "1"}]
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            os.write(number, FORGED)
    contained(f"wrote to our own files {own} and {len(others)} of others")


def _forge(path: str, number: int) -> list[tuple[str, int]]:
    try:
        file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(file, FORGED)
    except OSError:
        return []
    return [(path.split("/")[2], number)]


def streams() -> None:
    """Closes standard output and error, puts others in their place, and says that all is well."""
    kept = os.dup(1)
    os.write(1, FORGED)
    os.write(2, FORGED)
    for file in range(3):
        os.close(file)
    os.open("/dev/null", os.O_RDWR)
    os.open("stdout", os.O_RDWR | os.O_CREAT)
    os.open("stderr", os.O_RDWR | os.O_CREAT)
    os.write(1, FORGED)
    os.dup2(kept, 1)
    contained("the verdict does not come from what is said")


def orphans() -> None:
    """Orphans that end with 0 before us: the first process reaps them all."""
    for _ in range(100):
        _orphan()
    time.sleep(0.1)
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    contained("the end of others is not ours")


globals()[sys.argv[1]]()
