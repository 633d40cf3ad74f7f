"""What a sandboxed program may ask of the kernel: the one source behind every rendered filter.

An allow-list, by name, in families. Three answers tell a program what to do next:

- EPERM: a known call that is refused here. Programs take it as missing privilege and go on.
- ENOSYS: a call that this kernel might not have. Libraries fall back to the older one. It is also
  the answer to every number without a name here, so that new kernels bring no new calls.
- killed: another ABI (i386, x32, arm). Its numbers mean other calls, so there is no honest answer.

Arguments are compared by their low 32 bits, as the kernel reads the ones that are looked at: an
`int`, an `unsigned int`, or flags of which it drops the upper half. A filter cannot follow
pointers, which is why some calls are allowed and left to the kernel's own check of capabilities.

Known costs: debuggers (strace, gdb) and LeakSanitizer do not work inside.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import attrs

_MASK = 0xFFFFFFFF


class Answer(enum.Enum):
    """What happens to a call."""

    ALLOW = "allow"
    EPERM = "EPERM"
    ENOSYS = "ENOSYS"
    EAFNOSUPPORT = "EAFNOSUPPORT"
    EOPNOTSUPP = "EOPNOTSUPP"
    KILL = "kill"


@attrs.frozen
class Condition:
    """`argument & mask == value`, on the low 32 bits of the argument with this index."""

    argument: int
    value: int
    mask: int = _MASK

    def holds(self, arguments: Sequence[int]) -> bool:
        """Whether these arguments meet it."""
        return arguments[self.argument] & self.mask == self.value


@attrs.frozen
class Case:
    """An answer for calls that meet all conditions."""

    when: tuple[Condition, ...]
    answer: Answer


@attrs.frozen
class Rule:
    """A call that depends on its arguments: the first case that fits, else `otherwise`."""

    call: str
    cases: tuple[Case, ...]
    otherwise: Answer

    def answer(self, arguments: Sequence[int]) -> Answer:
        """The answer to these six arguments."""
        for case in self.cases:
            if all(condition.holds(arguments) for condition in case.when):
                return case.answer
        return self.otherwise


@attrs.frozen
class Family:
    """Calls with one answer, and why."""

    name: str
    reason: str
    answer: Answer
    calls: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Filter:
    """Every answer. A call is in one family or has one rule; what is in neither gets `unknown`."""

    families: tuple[Family, ...]
    rules: tuple[Rule, ...]
    unknown: Answer = Answer.ENOSYS
    foreign: Answer = Answer.KILL

    def __attrs_post_init__(self) -> None:
        calls = [call for family in self.families for call in family.calls]
        calls += [rule.call for rule in self.rules]
        if twice := {call for call in calls if calls.count(call) > 1}:
            raise ValueError(f"calls with more than one answer: {sorted(twice)}")

    def fixed(self) -> Mapping[str, Answer]:
        """The calls whose answer does not depend on arguments."""
        return {call: family.answer for family in self.families for call in family.calls}

    def answer(self, call: str, arguments: Sequence[int] = (0,) * 6) -> Answer:
        """The answer to a call of the native ABI: the reference for what is rendered."""
        for rule in self.rules:
            if rule.call == call:
                return rule.answer(arguments)
        return self.fixed().get(call, self.unknown)

    def pinned(self) -> Filter:
        """The same, but affinity cannot be changed: for hosts where it is the only cpu ceiling."""
        reason = "The sandbox would give itself more cpus than it was given."
        return self._but(Family("affinity", reason, Answer.EPERM, ("sched_setaffinity",)))

    def counted(self) -> Filter:
        """The same without memory that no process needs to have mapped.

        For hosts where only looking at the processes tells how much they use: see `watch`.
        """
        reason = "It would be nobody's; libraries take a file in /dev/shm or /tmp instead."
        return self._but(
            Family("memory of nobody", reason, Answer.ENOSYS, ("memfd_create", "shmget"))
        )

    def alone(self) -> Filter:
        """The same for a kernel that no other sandbox has.

        Nothing is shared there that socket filters or leases could reach, and gVisor does not start
        with as many comparisons as both of them take.
        """
        calls = ("setsockopt", "fcntl")
        rules = tuple(rule for rule in self.rules if rule.call not in calls)
        allowed = Family("sockets and files", "They reach no neighbour.", Answer.ALLOW, calls)
        return attrs.evolve(self, families=(*self.families, allowed), rules=rules)

    def _but(self, other: Family) -> Filter:
        """The same, but with another answer to these calls."""
        kept = (
            attrs.evolve(
                family, calls=tuple(call for call in family.calls if call not in other.calls)
            )
            for family in self.families
        )
        return attrs.evolve(self, families=(*kept, other))


def _family(name: str, answer: Answer, reason: str, calls: str) -> Family:
    return Family(name, reason, answer, tuple(calls.split()))


def _any_of(argument: int, values: Sequence[int], answer: Answer) -> tuple[Case, ...]:
    return tuple(Case((Condition(argument, value),), answer) for value in values)


_ALLOWED = (
    _family(
        "files",
        Answer.ALLOW,
        "Opening, reading and writing what the mounts show; the kernel checks ownership.",
        """read write open openat openat2 creat close close_range lseek pread64 pwrite64 readv
        writev preadv pwritev preadv2 pwritev2 stat fstat lstat newfstatat statx statfs fstatfs
        access faccessat faccessat2 truncate ftruncate fallocate fadvise64 readahead fsync fdatasync
        sync syncfs sync_file_range flock dup dup2 dup3 umask sendfile copy_file_range""",
    ),
    _family(
        "folders and names",
        Answer.ALLOW,
        "Trees are what stages work on. mknod makes FIFOs and sockets; devices need a capability.",
        """getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir
        link linkat unlink unlinkat symlink symlinkat readlink readlinkat mknod mknodat chmod fchmod
        fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat""",
    ),
    _family(
        "extended attributes",
        Answer.ALLOW,
        "cp, tar and installers look for them. Setting is refused: see below.",
        """getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
        fremovexattr getxattrat listxattrat removexattrat""",
    ),
    _family(
        "waiting",
        Answer.ALLOW,
        "Event loops, and descriptors that carry events.",
        """poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
        epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime
        timerfd_gettime inotify_init inotify_init1 inotify_add_watch inotify_rm_watch""",
    ),
    _family(
        "pipes",
        Answer.ALLOW,
        "Between processes of the sandbox.",
        "pipe pipe2 splice tee vmsplice",
    ),
    _family(
        "memory",
        Answer.ALLOW,
        "A process's own pages. Executable ones too, as node and java compile at run time.",
        """mmap mprotect munmap mremap brk madvise msync mincore mlock mlock2 munlock mlockall
        munlockall memfd_create membarrier remap_file_pages pkey_mprotect pkey_alloc pkey_free
        map_shadow_stack mseal""",
    ),
    _family(
        "processes",
        Answer.ALLOW,
        "Starting, naming and ending; the process namespace bounds whom they reach. The pid-1 of "
        "the sandbox ignores signals from inside.",
        """fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open
        pidfd_send_signal getpid getppid gettid getpgid setpgid getpgrp getsid setsid
        set_tid_address set_robust_list rseq arch_prctl restart_syscall""",
    ),
    _family(
        "locks between threads",
        Answer.ALLOW,
        "Every threaded program.",
        "futex futex_waitv futex_wake futex_wait futex_requeue",
    ),
    _family(
        "signals",
        Answer.ALLOW,
        "Handlers and masks of one's own.",
        """rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo
        rt_tgsigqueueinfo rt_sigsuspend sigaltstack pause""",
    ),
    _family(
        "identity",
        Answer.ALLOW,
        "One user is mapped and no capability is left, so these only confirm what is so.",
        """getuid getgid geteuid getegid getresuid getresgid getgroups setuid setgid setreuid
        setregid setresuid setresgid setfsuid setfsgid setgroups capget capset""",
    ),
    _family(
        "scheduling and resources",
        Answer.ALLOW,
        "Real-time priorities need a capability and hard limits only go down. See `pinned`.",
        """sched_yield sched_getparam sched_setparam sched_getscheduler sched_setscheduler
        sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_getattr
        sched_setattr sched_getaffinity sched_setaffinity getcpu getpriority setpriority ioprio_get
        ioprio_set getrlimit setrlimit prlimit64 getrusage times sysinfo uname""",
    ),
    _family(
        "clocks",
        Answer.ALLOW,
        "Reading and sleeping. adjtimex and clock_adjtime read as well as set: what they set is "
        "behind a pointer, and the kernel wants CAP_SYS_TIME of the machine for that.",
        """time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer
        setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete adjtimex
        clock_adjtime""",
    ),
    _family(
        "sockets",
        Answer.ALLOW,
        "On sockets that `socket` gave; the network namespace decides whom they reach.",
        """connect accept accept4 bind listen shutdown getsockname getpeername getsockopt sendto
        recvfrom sendmsg recvmsg sendmmsg recvmmsg""",
    ),
    _family(
        "System V and POSIX IPC",
        Answer.ALLOW,
        "The IPC namespace is the sandbox's own.",
        """shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
        mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
    ),
    _family("randomness", Answer.ALLOW, "Keys and hash seeds.", "getrandom"),
    _family(
        "further confinement",
        Answer.ALLOW,
        "A program may restrict itself; a second filter cannot loosen the first.",
        "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
)

_REFUSED = (
    _family(
        "mounts",
        Answer.EPERM,
        "The mounts are the sandbox.",
        """mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig
        fsmount fspick mount_setattr""",
    ),
    _family(
        "namespaces",
        Answer.EPERM,
        "A namespace of one's own brings capabilities, and with them most of the kernel's holes.",
        "unshare setns",
    ),
    _family(
        "other processes' memory",
        Answer.EPERM,
        "The sandbox's first process has the same uid: who can change it can forge a verdict. "
        "/proc/1/mem is another way to it, which no filter sees: a mount has to hide /proc/1.",
        """ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp
        pidfd_getfd get_robust_list""",
    ),
    _family(
        "keys",
        Answer.EPERM,
        "Keyrings belong to a user, not to a namespace, so sandboxes could meet there.",
        "keyctl add_key request_key",
    ),
    _family(
        "kernel programs and events",
        Answer.EPERM,
        "Large, young and behind many escapes: BPF, io_uring (which also goes round filters), "
        "perf, page faults in user hands, file events of a whole mount.",
        """bpf io_uring_setup io_uring_enter io_uring_register perf_event_open userfaultfd
        fanotify_init fanotify_mark""",
    ),
    _family(
        "files without paths",
        Answer.EPERM,
        "A file handle reaches what no mount shows.",
        "name_to_handle_at open_by_handle_at lookup_dcookie",
    ),
    _family(
        "the machine",
        Answer.EPERM,
        "Modules, another kernel, ports, swap, accounting, quotas, the log, names, terminals.",
        """init_module finit_module delete_module kexec_load kexec_file_load reboot iopl ioperm
        swapon swapoff acct quotactl quotactl_fd syslog sethostname setdomainname vhangup
        nfsservctl""",
    ),
    _family("setting clocks", Answer.EPERM, "The machine has one.", "clock_settime settimeofday"),
    _family(
        "attributes of files",
        Answer.EOPNOTSUPP,
        "No control group counts the lists that come with a file in memory. Programs that copy "
        "attributes take this for a file system without them.",
        "setxattr lsetxattr fsetxattr setxattrat",
    ),
    _family(
        "memory placement",
        Answer.EPERM,
        "Moves pages on the machine's nodes; libnuma takes EPERM as: there is no NUMA here.",
        """mbind get_mempolicy set_mempolicy set_mempolicy_home_node migrate_pages move_pages""",
    ),
)

_ABSENT = (
    _family(
        "arguments behind a pointer",
        Answer.ENOSYS,
        "Its flags could ask for namespaces and no filter can see them; libraries then use clone.",
        "clone3",
    ),
    _family(
        "kernel AIO",
        Answer.ENOSYS,
        "fs.aio-max-nr is one budget for the machine, which no cgroup bounds; databases fall back.",
        "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents",
    ),
    _family(
        "rare",
        Answer.ENOSYS,
        "Kernels are built without them: memory that nobody else can see, segments of 16-bit "
        "programs, the page cache's state, mounts as structures.",
        "memfd_secret modify_ldt cachestat statmount listmount",
    ),
)

_CLONE_NEW = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME is not for clone."""
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SOL_SOCKET, _SO_ATTACH_FILTER, _SO_ATTACH_REUSEPORT_CBPF = 1, 26, 51
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_PR_SET_MM, _PR_SCHED_CORE = 35, 62
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the question what it is."""

_RULES = (
    # Threads and children, without namespaces of their own.
    Rule("clone", (Case((Condition(0, 0, _CLONE_NEW),), Answer.ALLOW),), Answer.EPERM),
    # Others switch off address randomisation, or make read imply execute.
    Rule("personality", _any_of(0, _PERSONALITIES, Answer.ALLOW), Answer.EPERM),
    # A network namespace does not contain vsock; packet, alg, tipc and the like load modules with
    # a history. Of netlink, only routes are asked for by common programs (getifaddrs).
    Rule(
        "socket",
        (
            *_any_of(0, (_AF_UNIX, _AF_INET, _AF_INET6), Answer.ALLOW),
            Case((Condition(0, _AF_NETLINK), Condition(2, _NETLINK_ROUTE)), Answer.ALLOW),
        ),
        Answer.EAFNOSUPPORT,
    ),
    Rule("socketpair", _any_of(0, (_AF_UNIX,), Answer.ALLOW), Answer.EAFNOSUPPORT),
    # Socket filters are compiled into memory that all of the machine shares: who fills that keeps
    # everybody from loading a filter, and so a sandbox from starting.
    Rule(
        "setsockopt",
        tuple(
            Case((Condition(1, _SOL_SOCKET), Condition(2, option)), Answer.EPERM)
            for option in (_SO_ATTACH_FILTER, _SO_ATTACH_REUSEPORT_CBPF)
        ),
        Answer.ALLOW,
    ),
    # A lease on a file that others read, too, makes them wait.
    Rule("fcntl", _any_of(1, (_F_SETLEASE, _F_NOTIFY), Answer.EPERM), Answer.ALLOW),
    # Both put words into the mouth of a terminal that was passed in.
    Rule("ioctl", _any_of(1, (_TIOCSTI, _TIOCLINUX), Answer.EPERM), Answer.ALLOW),
    # SET_MM rewrites what /proc says of a program; a core-scheduling cookie keeps the neighbours
    # off the sibling thread. The rest concerns the caller alone or needs a capability.
    Rule("prctl", _any_of(0, (_PR_SET_MM, _PR_SCHED_CORE), Answer.EPERM), Answer.ALLOW),
)

FILTER = Filter(families=(*_ALLOWED, *_REFUSED, *_ABSENT), rules=_RULES)
"""What every sandbox gets, on every backend."""
