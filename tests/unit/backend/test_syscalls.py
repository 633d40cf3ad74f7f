from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from isol8tasks.backend.numbers import NUMBERS, Architecture, host_architecture
from isol8tasks.backend.syscalls import FILTER, Answer, Case, Condition, Family, Filter, Rule
from isol8tasks.errors import SandboxError

X86_64_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")

DANGEROUS = """
    ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd keyctl
    add_key request_key bpf userfaultfd io_uring_setup io_uring_enter io_uring_register
    perf_event_open fanotify_init open_by_handle_at name_to_handle_at mount umount2 pivot_root
    move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr chroot swapon swapoff reboot
    kexec_load kexec_file_load init_module finit_module delete_module iopl ioperm lookup_dcookie
    quotactl acct syslog vhangup nfsservctl unshare setns clock_settime settimeofday mbind
    set_mempolicy migrate_pages move_pages"""
NEEDED = """
    rseq membarrier statx faccessat2 close_range openat2 getrandom copy_file_range pidfd_open
    pidfd_send_signal vfork memfd_create sched_getaffinity sched_setaffinity mlock mincore prlimit64
    sysinfo set_robust_list futex futex_waitv epoll_pwait2 inotify_init1 eventfd2 timerfd_create
    signalfd4 splice tee vmsplice shmget semget msgget landlock_restrict_self adjtimex clock_adjtime
    execveat arch_prctl mseal"""


@pytest.mark.parametrize(
    "call",
    DANGEROUS.split(),
)
def test_dangerous_calls_are_refused_by_name(call: str) -> None:
    assert FILTER.answer(call) is Answer.EPERM


@pytest.mark.parametrize(
    "call",
    NEEDED.split(),
)
def test_what_runtimes_need_is_allowed(call: str) -> None:
    assert FILTER.answer(call) is Answer.ALLOW


@pytest.mark.parametrize("call", ["clone3", "io_setup", "memfd_secret", "uselib", "not_yet_a_call"])
def test_what_a_kernel_may_lack_is_absent(call: str) -> None:
    assert FILTER.answer(call) is Answer.ENOSYS


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("clone", (0x3D0F00,), Answer.ALLOW),  # a thread of glibc
        ("clone", (0x11,), Answer.ALLOW),  # fork
        ("clone", (0x10000000 | 0x11,), Answer.EPERM),
        ("clone", (0x40000000,), Answer.EPERM),
        ("clone", (0x20000,), Answer.EPERM),
        ("clone", (0x11 | 1 << 60,), Answer.ALLOW),  # the kernel drops the upper half
        ("personality", (0,), Answer.ALLOW),
        ("personality", (0xFFFFFFFF,), Answer.ALLOW),
        ("personality", (-1,), Answer.ALLOW),
        ("personality", (0x40000,), Answer.EPERM),  # ADDR_NO_RANDOMIZE
        ("personality", (0x400000,), Answer.EPERM),  # READ_IMPLIES_EXEC
        ("socket", (1, 1, 0), Answer.ALLOW),
        ("socket", (2, 2, 17), Answer.ALLOW),
        ("socket", (10, 1, 6), Answer.ALLOW),
        ("socket", (16, 3, 0), Answer.ALLOW),
        ("socket", (16, 3, 9), Answer.EAFNOSUPPORT),  # audit
        ("socket", (16, 3, 1 << 32), Answer.ALLOW),
        ("socket", (17, 3, 0), Answer.EAFNOSUPPORT),  # packet
        ("socket", (30, 1, 0), Answer.EAFNOSUPPORT),  # tipc
        ("socket", (38, 5, 0), Answer.EAFNOSUPPORT),  # alg
        ("socket", (40, 1, 0), Answer.EAFNOSUPPORT),  # vsock
        ("socket", (40 | 1 << 32, 1, 0), Answer.EAFNOSUPPORT),
        ("socketpair", (1, 1, 0), Answer.ALLOW),
        ("socketpair", (30, 1, 0), Answer.EAFNOSUPPORT),
        ("ioctl", (0, 0x5401), Answer.ALLOW),  # TCGETS
        ("ioctl", (0, 0x5412), Answer.EPERM),
        ("ioctl", (0, 0x5412 | 1 << 32), Answer.EPERM),  # CVE-2019-10063
        ("ioctl", (0, 0x541C), Answer.EPERM),
        ("prctl", (15,), Answer.ALLOW),  # PR_SET_NAME
        ("prctl", (35,), Answer.EPERM),
        ("prctl", (62,), Answer.EPERM),
        ("setsockopt", (3, 1, 2), Answer.ALLOW),  # SO_REUSEADDR
        ("setsockopt", (3, 6, 26), Answer.ALLOW),  # of TCP
        ("setsockopt", (3, 1, 26), Answer.EPERM),  # SO_ATTACH_FILTER
        ("setsockopt", (3, 1, 51 | 1 << 32), Answer.EPERM),  # SO_ATTACH_REUSEPORT_CBPF
        ("fcntl", (3, 6), Answer.ALLOW),  # F_SETLK
        ("fcntl", (3, 1024), Answer.EPERM),  # F_SETLEASE
    ],
)
def test_arguments(call: str, arguments: tuple[int, ...], answer: Answer) -> None:
    assert FILTER.answer(call, (*arguments, *(0,) * (6 - len(arguments)))) is answer


def test_affinity_can_be_the_ceiling_on_cpus() -> None:
    assert FILTER.pinned().answer("sched_setaffinity") is Answer.EPERM
    assert FILTER.pinned().answer("sched_getaffinity") is Answer.ALLOW
    changed = {c for c, a in FILTER.fixed().items() if FILTER.pinned().fixed()[c] is not a}
    assert changed == {"sched_setaffinity"}


def test_memory_that_nobody_has_mapped_can_be_refused() -> None:
    counted = FILTER.counted().fixed()
    changed = {c: counted[c] for c, a in FILTER.fixed().items() if counted[c] is not a}
    assert changed == dict.fromkeys(("memfd_create", "shmget"), Answer.ENOSYS)
    both = FILTER.pinned().counted()
    assert both.answer("sched_setaffinity") is Answer.EPERM
    assert both.answer("shmget") is Answer.ENOSYS


def test_what_reaches_no_neighbour_is_allowed_with_a_kernel_of_ones_own() -> None:
    assert FILTER.alone().answer("setsockopt", (3, 1, 26, 0, 0, 0)) is Answer.ALLOW
    assert FILTER.alone().answer("fcntl", (3, 1024, 0, 0, 0, 0)) is Answer.ALLOW
    assert FILTER.alone().answer("socket", (40, 1, 0, 0, 0, 0)) is Answer.EAFNOSUPPORT
    changed = {rule.call for rule in FILTER.rules} - {rule.call for rule in FILTER.alone().rules}
    assert changed == {"setsockopt", "fcntl"}


def test_every_family_says_why() -> None:
    assert all(family.reason.endswith(".") and family.calls for family in FILTER.families)


def test_every_name_is_a_call_somewhere() -> None:
    known = {call for table in NUMBERS.values() for call in table}
    named = {*FILTER.fixed(), *(rule.call for rule in FILTER.rules)}
    assert named <= known


def test_a_call_has_one_answer() -> None:
    family = Family("a", "Because.", Answer.ALLOW, ("read",))
    with pytest.raises(ValueError, match=r"more than one answer: \['read'\]"):
        Filter(families=(family,), rules=(Rule("read", (), Answer.EPERM),))


def test_the_first_case_that_fits_decides() -> None:
    cases = (
        Case((Condition(0, 1), Condition(1, 2)), Answer.KILL),
        Case((Condition(0, 1),), Answer.EPERM),
    )
    rule = Rule("read", cases, Answer.ALLOW)
    assert [rule.answer((1, 2)), rule.answer((1, 3)), rule.answer((0, 2))] == [
        Answer.KILL,
        Answer.EPERM,
        Answer.ALLOW,
    ]


@pytest.mark.parametrize("architecture", Architecture)
def test_numbers_are_unique(architecture: Architecture) -> None:
    table = NUMBERS[architecture]
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize(
    ("call", "x86_64", "aarch64"),
    [
        ("read", 0, 63),
        ("clone", 56, 220),
        ("ptrace", 101, 117),
        ("socket", 41, 198),
        ("wait4", 61, 260),
        ("kexec_file_load", 320, 294),
        ("rseq", 334, 293),
        ("pidfd_send_signal", 424, 424),
        ("clone3", 435, 435),
        ("file_setattr", 469, 469),
    ],
)
def test_numbers_at_the_edges(call: str, x86_64: int, aarch64: int) -> None:
    assert NUMBERS[Architecture.X86_64][call] == x86_64
    assert NUMBERS[Architecture.AARCH64][call] == aarch64


@pytest.mark.skipif(not X86_64_HEADER.exists(), reason="linux-libc-dev is not installed")
def test_numbers_are_those_of_the_header() -> None:
    found = re.findall(r"#define __NR_(\w+) (\d+)", X86_64_HEADER.read_text())
    ours = NUMBERS[Architecture.X86_64]
    theirs = {call: int(number) for call, number in found}
    assert {c: theirs[c] for c in theirs if c in ours} == {c: ours[c] for c in theirs if c in ours}
    assert {call for call in ours if call not in theirs} <= set(list(ours)[-19:])


def test_an_unknown_architecture_gets_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="sparc64"))
    with pytest.raises(SandboxError, match="no system call filter for the architecture 'sparc64'"):
        host_architecture()
