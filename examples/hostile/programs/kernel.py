"""System calls without a wrapper in Python; errors are OSErrors."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

_OF_OLD = {  # name: (x86_64, aarch64); later calls have one number everywhere
    "add_key": (248, 217),
    "bpf": (321, 280),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "reboot": (169, 142),
    "setns": (308, 268),
    "settimeofday": (170, 170),
    "swapon": (167, 224),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "mount": (165, 40),
    "clone": (56, 220),
    "clone3": (435, 435),
    "shmget": (29, 194),
    "shmat": (30, 196),
}
_COLUMN = {"x86_64": 0, "aarch64": 1}[os.uname().machine]


def call(name: str, *arguments: int | bytes | ctypes.Array | None) -> int:
    libc.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(ctypes.c_long(_OF_OLD[name][_COLUMN]), *words)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
