"""System calls that no stage needs."""

import ctypes
import fcntl
import mmap
import os
import sys
from pathlib import Path

from ending import all_must_fail, contained, escaped
from kernel import call, libc

CLONE = {"mount": 0x20000, "network": 0x40000000, "process": 0x20000000, "cgroup": 0x2000000}
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
SPACE = ctypes.create_string_buffer(4096)


def terminal() -> None:
    """Typing into the terminal that the run was started from."""
    ways = {
        f"{name} on file {file}": lambda f=file, r=request: fcntl.ioctl(f, r, b"\n")
        for file in range(3)
        for name, request in (("TIOCSTI", TIOCSTI), ("TIOCLINUX", TIOCLINUX))
    }
    all_must_fail({**ways, "/dev/tty": lambda: os.open("/dev/tty", os.O_RDWR)})


def mounts() -> None:
    """A sandbox in the sandbox, in which it would be root."""
    ways = {
        "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
        "proc": lambda: call("mount", b"proc", b"/tmp", b"proc", 0, 0),
        "remount": lambda: call("mount", b"none", b"/usr", None, 32 | 4096, 0),
        "umount": lambda: _checked(libc.umount2(b"/proc", 2)),
        "open_tree": lambda: call("open_tree", -100, b"/", 1),
        "fsopen": lambda: call("fsopen", b"tmpfs", 0),
        "move_mount": lambda: call("move_mount", -1, b"/", -1, b"/tmp", 0),
        "pivot_root": lambda: call("pivot_root", b"/tmp", b"/tmp"),
        "chroot": lambda: os.chroot("/tmp"),
        "setns": lambda: call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0),
    }
    spaces = {f"{n} namespace": lambda f=flag: call("unshare", f) for n, flag in CLONE.items()}
    all_must_fail({**ways, **spaces})


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def kernel() -> None:
    ways = {
        "personality": lambda: call("personality", 0x0400000),
        "kexec": lambda: call("kexec_load", 0, 0, None, 0),
        "module": lambda: call("init_module", SPACE, 0, b""),
        "bpf": lambda: call("bpf", 0, SPACE, 72),
        "keyctl": lambda: call("keyctl", 0, -3, 1),
        "add_key": lambda: call("add_key", b"user", b"hostile", b"x", 1, -1),
        "userfaultfd": lambda: call("userfaultfd", 1),
        "io_uring": lambda: call("io_uring_setup", 4, SPACE),
        "perf": lambda: call("perf_event_open", SPACE, 0, -1, -1, 0),
        "reboot": lambda: call("reboot", 0, 0, 0, None),
        "swapon": lambda: call("swapon", b"/tmp/swap", 0),
        "clock": lambda: call("settimeofday", SPACE, None),
        "host name": lambda: _checked(libc.sethostname(b"owned", 5)),
    }
    all_must_fail(ways)


def rights() -> None:
    """No capability, nobody else, and no program that would change that."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    held = [name for name in status if name.startswith("Cap") and int(status[name], 16)]
    if held or status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
        escaped(f"capabilities {held}, {status['NoNewPrivs']=}, {status['Seccomp']=}")
    ways = {
        "setuid": lambda: os.setuid(0),
        "setgid": lambda: os.setgid(0),
        "setgroups": lambda: os.setgroups([0]),
        "chown": lambda: os.chown("/sandbox", 0, 0),
        "no_new_privs": lambda: _checked(libc.prctl(38, 0, 0, 0, 0)),
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
    }
    all_must_fail(ways)


def foreign() -> None:
    """i386's way into the kernel: `getpid` by `int 0x80`."""
    if os.uname().machine != "x86_64":
        contained("there is none on this machine")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000 cd80 c3"))
    child = os.fork()
    if child == 0:
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid() else 1)
    _, status = os.waitpid(child, 0)
    if status == 0:
        escaped("a call of another ABI was answered")
    contained(f"killed by signal {os.WTERMSIG(status)}")


globals()[sys.argv[1]]()
