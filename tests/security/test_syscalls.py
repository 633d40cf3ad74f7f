"""Dangerous system calls on the real kernel: refused with the filter, something else without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest

from isol8tasks.backend.numbers import NUMBERS, host_architecture
from isol8tasks.backend.seccomp import host_filter, to_bpf
from isol8tasks.backend.syscalls import FILTER, Answer, Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.security.conftest import Jail

pytestmark = [
    pytest.mark.bubblewrap,
    pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed"),
]

EPERM, ENOSYS, EAFNOSUPPORT = "errno 1", "errno 38", "errno 97"
SIGSYS = f"signal {signal.SIGSYS.value}"
ON_X86_64 = os.uname().machine == "x86_64"
AT_FDCWD = (1 << 64) - 100
BAD_FILE = (1 << 64) - 1


@attrs.frozen
class Prober:
    """Makes calls in a sandbox; an answer is `= RESULT`, `errno NUMBER` or `signal NUMBER`."""

    jail: Jail

    def ask(self, calls: Sequence[str], seccomp: bytes | None) -> dict[str, str]:
        """The answer to each call, which is its name or number and its arguments."""
        return self.ask_raw([f"native {_numbered(call)}" for call in calls], calls, seccomp)

    def ask_raw(
        self, lines: Sequence[str], names: Sequence[str], seccomp: bytes | None
    ) -> dict[str, str]:
        text = "".join(f"{line}\n" for line in lines)
        ran = self.jail.run(["/sandbox/probe"], seccomp=seccomp, stdin=text)
        assert ran.code == 0, ran
        return dict(zip(names, ran.out.splitlines(), strict=True))


def _numbered(call: str) -> str:
    name, _, arguments = call.partition(" ")
    return f"{name if name.isdigit() else NUMBERS[host_architecture()][name]} {arguments}"


@pytest.fixture(scope="module")
def prober(jail: Jail, request: pytest.FixtureRequest) -> Prober:
    source = request.path.with_name("probe.c")
    program = jail.folder / "probe"
    subprocess.run(["gcc", "-O1", "-o", program, source], check=True, timeout=60)
    program.chmod(0o755)
    return Prober(jail)


REFUSED = {
    "mounts": (
        "mount =none =/tmp =tmpfs 0 0",
        "umount2 =/nowhere 0xffff",
        "chroot =/nowhere",
        "pivot_root =/tmp =/tmp",
        f"open_tree {AT_FDCWD} =/ 0",
        f"move_mount {BAD_FILE} =x {BAD_FILE} =y 0",
        "fsopen =tmpfs 0",
        f"fsconfig {BAD_FILE} 0 0 0 0",
        f"fsmount {BAD_FILE} 0 0",
        f"fspick {AT_FDCWD} =/ 0",
        f"mount_setattr {BAD_FILE} =x 0xffff @ 32",
    ),
    "namespaces": (
        "unshare 0x10000000",
        "unshare 0x20000",
        "unshare 0",
        f"setns {BAD_FILE} 0",
        "clone 0x10000011",
        "clone 0x50000011",
    ),
    "ptrace": ("ptrace 0", "ptrace 16 99999", "ptrace 0x4206 99999 0 0"),
    "process_vm": (
        "process_vm_readv 1 @ 0 @ 0 0",
        "process_vm_writev 1 @ 0 @ 0 0",
        f"process_madvise {BAD_FILE} @ 0 0 0",
        "kcmp 1 1 0 0 0",
        f"pidfd_getfd {BAD_FILE} 0 0",
        "get_robust_list 1 @ @",
    ),
    "keys": (
        f"keyctl 0 {BAD_FILE - 2} 1",
        "add_key =user =isol8 =secret 6 " + str(BAD_FILE - 1),
        "request_key =user =isol8 0 0",
    ),
    "bpf": ("bpf 0 @ 4096", "bpf 999 @ 128"),
    "io_uring": ("io_uring_setup 4 @", f"io_uring_enter {BAD_FILE} 0 0 0", "io_uring_setup 0 0"),
    "perf": ("perf_event_open 0 0 0 0 0", f"perf_event_open @ 0 {BAD_FILE} {BAD_FILE} 0"),
    "userfaultfd": ("userfaultfd 1", "userfaultfd 0xffff"),
    "fanotify": ("fanotify_init 0x200 0", f"fanotify_mark {BAD_FILE} 1 1 {AT_FDCWD} =/"),
    "file handles": (
        f"name_to_handle_at {AT_FDCWD} =/ @ @ 0",
        f"open_by_handle_at {BAD_FILE} @ 0",
        "lookup_dcookie 0 @ 4096",
    ),
    "modules and kernels": (
        "init_module @ 0 @",
        f"finit_module {BAD_FILE} @ 0",
        "delete_module =loop 0",
        "kexec_load 0 0 @ 0",
        f"kexec_file_load {BAD_FILE} {BAD_FILE} 0 @ 0",
        "reboot 0 0 0 0",
    ),
    "the machine": (
        "swapon =/nowhere 0",
        "swapoff =/nowhere",
        "acct =/nowhere",
        "quotactl 0x80000100 @ 0 @",
        f"quotactl_fd {BAD_FILE} 0 0 0",
        "syslog 10 0 0",
        "syslog 999 0 0",
        "sethostname =other 5",
        "setdomainname =other 5",
        "vhangup",
        "nfsservctl 0 0 0",
    ),
    "clocks": ("clock_settime 0 0", "clock_settime 99 @", "settimeofday @ 0", "settimeofday 1 0"),
    "memory placement": (
        "mbind @ 4096 0 0 0 0",
        "get_mempolicy 0 0 0 0 0",
        "set_mempolicy 0 0 0",
        "migrate_pages 0 0 0 0",
        "move_pages 0 0 0 0 0 0",
    ),
    "personality": ("personality 0x40000", "personality 0x400000", "personality 0x440000"),
    "terminals": (
        f"ioctl {BAD_FILE} 0x5412 @",
        f"ioctl {BAD_FILE} 0x541c @",
        f"ioctl {BAD_FILE} {0x5412 | 1 << 32} @",
    ),
    "prctl": ("prctl 35 99 0 0 0", "prctl 62 0 0 0 0"),
}
if ON_X86_64:
    REFUSED["ports"] = ("iopl 0", "ioperm 0x80 1 0")

KERNEL_REFUSES_TOO = frozenset({"modules and kernels"})
"""All of it wants a capability before anything else, so that there is no other answer to see."""


@pytest.mark.parametrize("family", REFUSED)
def test_refused(family: str, prober: Prober) -> None:
    calls = REFUSED[family]
    assert prober.ask(calls, host_filter()) == dict.fromkeys(calls, EPERM)


@pytest.mark.parametrize("family", [each for each in REFUSED if each not in KERNEL_REFUSES_TOO])
def test_without_the_filter_a_family_is_not_refused(family: str, prober: Prober) -> None:
    calls = REFUSED[family]
    assert prober.ask(calls, None) != dict.fromkeys(calls, EPERM)


def _with_another_answer(source: Filter) -> Filter:
    """The same filter, but what is refused says so with a word of its own."""
    marked = tuple(
        attrs.evolve(each, answer=Answer.EAFNOSUPPORT) if each.answer is Answer.EPERM else each
        for each in source.families
    )
    return attrs.evolve(source, families=marked)


def test_it_is_the_filter_that_refuses_each_call_and_not_the_kernel(prober: Prober) -> None:
    known = NUMBERS[host_architecture()]
    calls = [c for c, a in FILTER.fixed().items() if a is Answer.EPERM and c in known]
    program = to_bpf(_with_another_answer(FILTER), host_architecture())
    assert prober.ask(calls, program) == dict.fromkeys(calls, EAFNOSUPPORT)
    assert prober.ask(calls, host_filter()) == dict.fromkeys(calls, EPERM)


@pytest.mark.parametrize("call", ["clone3 @ 88", "io_setup 1 @", "memfd_secret 0", "470", "9999"])
def test_absent(call: str, prober: Prober) -> None:
    assert prober.ask([call], host_filter()) == {call: ENOSYS}


def test_without_the_filter_they_are_there(prober: Prober) -> None:
    calls = ["clone3 @ 88", "io_setup 1 @"]
    assert ENOSYS not in prober.ask(calls, None).values()


FAMILIES = {
    "vsock": "socket 40 1 0",
    "vsock, with upper bits": f"socket {40 | 1 << 32} 1 0",
    "packet": "socket 17 3 0x300",
    "alg": "socket 38 5 0",
    "tipc": "socket 30 1 0",
    "bluetooth": "socket 31 3 0",
    "xdp": "socket 44 3 0",
    "generic netlink": "socket 16 3 16",
    "audit": "socket 16 3 9",
    "netfilter": "socket 16 3 12",
    "a pair of tipc": "socketpair 30 1 0 @",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_socket_families(family: str, prober: Prober) -> None:
    call = FAMILIES[family]
    assert prober.ask([call], host_filter()) == {call: EAFNOSUPPORT}


def test_without_the_filter_some_families_are_there(prober: Prober) -> None:
    answers = prober.ask(list(FAMILIES.values()), None)
    assert answers[FAMILIES["generic netlink"]].startswith("= ")
    assert answers[FAMILIES["packet"]] == EPERM


ALLOWED = (
    "socket 1 1 0",
    "socket 2 1 0",
    "socket 10 2 0",
    "socket 16 3 0",
    "socketpair 1 1 0 @",
    "personality 0xffffffff",
    "personality 0",
    "clone 0x11",
    "adjtimex @",
    "clock_adjtime 0 @",
    "clock_gettime 0 @",
    "prctl 3 0 0 0 0",
    "memfd_create =x 0",
    "timerfd_create 1 0",
    "sched_getaffinity 0 128 @",
    f"statx {AT_FDCWD} =/ 0 0 @",
    "membarrier 0 0",
    "getrandom @ 16 0",
)


def test_what_programs_need_is_allowed(prober: Prober) -> None:
    answers = prober.ask(ALLOWED, host_filter())
    assert {call: a for call, a in answers.items() if not a.startswith("= ")} == {}


def test_the_clock_can_be_read_by_adjtimex_and_not_set(prober: Prober, jail: Jail) -> None:
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "for modes in (0, 1, 0x100):\n"
        "    state = (ctypes.c_uint * 64)(modes)\n"
        "    print(libc.adjtimex(state), ctypes.get_errno())\n"
    )
    ran = jail.run(["python3", "-c", code], seccomp=host_filter())
    first, *others = ran.out.splitlines()
    assert not first.startswith("-1"), ran
    assert others == ["-1 1", "-1 1"]


@pytest.mark.skipif(not ON_X86_64, reason="other ABIs of x86_64")
@pytest.mark.parametrize("number", [0, 39, 165, 335, 520, 547])
def test_x32_is_killed(number: int, prober: Prober) -> None:
    line = f"native {number | 0x40000000}"
    assert prober.ask_raw([line], ["x32"], host_filter()) == {"x32": SIGSYS}
    assert prober.ask_raw([line], ["x32"], None) != {"x32": SIGSYS}


@pytest.mark.skipif(not ON_X86_64, reason="other ABIs of x86_64")
@pytest.mark.parametrize("number", [20, 21, 102, 120])
def test_i386_is_killed(number: int, prober: Prober) -> None:
    """getpid, mount, socketcall, clone."""
    line = f"int80 {number}"
    assert prober.ask_raw([line], ["i386"], host_filter()) == {"i386": SIGSYS}
    # Without it a call is made, or the kernel has no i386 and faults.
    assert prober.ask_raw([line], ["i386"], None) != {"i386": SIGSYS}


def test_a_call_that_a_library_does_not_know_is_only_missing(prober: Prober) -> None:
    line = f"native {BAD_FILE}"
    assert prober.ask_raw([line], ["-1"], host_filter()) == {"-1": ENOSYS}


def test_affinity_cannot_be_changed_where_it_is_the_ceiling(prober: Prober) -> None:
    calls = ["sched_setaffinity 0 128 @"]
    assert prober.ask(calls, host_filter(pinned=True)) == {calls[0]: EPERM}
    assert prober.ask(calls, host_filter()) != {calls[0]: EPERM}


def test_memory_of_nobody_cannot_be_made_where_it_would_not_be_counted(prober: Prober) -> None:
    calls = ["memfd_create @ 0", "shmget 0 4096 896"]
    assert prober.ask(calls, host_filter(counted=True)) == dict.fromkeys(calls, ENOSYS)
    assert ENOSYS not in prober.ask(calls, host_filter()).values()


def test_budgets_and_files_of_the_machine_are_out_of_reach(prober: Prober) -> None:
    """Socket filters, leases, and attributes that no control group counts."""
    calls = ["setsockopt 0 1 26 @ 16", "setsockopt 0 1 51 @ 16", "fcntl 0 1024 1"]
    assert prober.ask(calls, host_filter()) == dict.fromkeys(calls, EPERM)
    attribute = ["fsetxattr 0 @ @ 4 0"]
    assert prober.ask(attribute, host_filter()) == {attribute[0]: "errno 95"}


WRITES_INIT = (
    "import os; os.open('/proc/1/task/1/mem', os.O_RDWR); os.open('/proc/1/mem', os.O_RDWR)"
)


def test_the_first_process_is_out_of_reach(jail: Jail) -> None:
    """It reports the verdict and has the program's uid. No filter sees /proc, so it is hidden."""
    hidden = jail.run(["python3", "-c", WRITES_INIT], seccomp=host_filter())
    assert hidden.code == 1
    assert "No such file or directory" in hidden.err


def test_the_first_process_would_be_in_reach(jail: Jail) -> None:
    if (scope := _yama()) != "0":
        pytest.skip(f"yama protects processes here: ptrace_scope is {scope}")
    assert jail.run(["python3", "-c", WRITES_INIT], seccomp=host_filter(), extra=()).code == 0


def _yama() -> str:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:
            return file.read().strip()
    except OSError:
        return "0"


def test_nothing_is_typed_into_the_terminal(jail: Jail) -> None:
    """A terminal that is passed in, as an interactive stage has it."""
    master, slave = os.openpty()
    code = (
        "import ctypes, termios\n"
        "print(len(termios.tcgetattr(0)))\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]\n"
        "for upper in (0, 1 << 32):\n"
        "    print(libc.ioctl(0, 0x5412 | upper, b'x'), ctypes.get_errno())\n"
    )
    try:
        ran = jail.run(["python3", "-c", code], seccomp=host_filter(), stdin_from=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert ran.out.splitlines() == ["7", "-1 1", "-1 1"], ran
