"""The holder: a small process that owns the sandboxes of a run. Run as a script, never imported.

It lives in a mount and a process namespace of its own, an ordinary user's in a user namespace too:
- it mounts the sized file systems behind sandboxes, which nobody else sees, and hands out a folder
  that its caller can work in through the open file;
- it starts every bwrap. When the caller dies, however suddenly, the socket closes, this process
  ends, and with it the kernel ends its process namespace and frees its mounts.

Where namespaces are forbidden it can do without: then folders are plain ones, and every bwrap is
told to die with this process. Requests are JSON on a SOCK_SEQPACKET socket, with files beside them.
"""

from __future__ import annotations

import array
import ctypes
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 2, 4, 8, 32, 4096
MS_REC, MS_SLAVE = 16384, 1 << 19
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
MOST_FILES = 16
DEFAULT = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""What a program finds as the kernel has it, whatever started us: `nohup` ignores some."""


PROCESSORS = os.sched_getaffinity(0)
covered: set[str] = set()
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise for a system call that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount something, or change how it is mounted."""
    encoded = [os.fsencode(word) if word is not None else None for word in (source, target, kind)]
    check(libc.mount(*encoded, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def enter_namespaces() -> bool:
    """Mount and process namespaces of our own; whether that took a user namespace of our own, too.

    Root needs that in many containers, where it has not all that root may do.
    """
    own_users: bool = libc.unshare(CLONE_NEWNS | CLONE_NEWPID) < 0
    if own_users:
        enter_user_namespace(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
    mount("none", "/", None, MS_REC | MS_SLAVE)
    # No sandbox sees /sys, and bwrap reads the table of mounts for each of its own: half of it was
    # below. An ordinary user's mounts stay as they came: there this is refused.
    libc.umount2(b"/sys", MNT_DETACH)
    return own_users


def enter_user_namespace(flags: int) -> None:
    """With all ids as they are for root, who starts sandboxes as others; else with our own."""
    if (uid := os.geteuid()) == 0:
        with mapped_by_a_child():
            check(libc.unshare(flags), "unshare")
        return
    gid = os.getegid()
    check(libc.unshare(flags), "unshare")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{uid} {uid} 1")
    write("/proc/self/gid_map", f"{gid} {gid} 1")


@contextmanager
def mapped_by_a_child() -> Iterator[None]:
    """Around entering a user namespace: all ids can be mapped only by who stayed outside."""
    maps = {name: identity(f"/proc/self/{name}") for name in ("uid_map", "gid_map")}
    ours, theirs = socket.socketpair()
    parent, child = os.getpid(), os.fork()
    if not child:
        try:
            ours.close()
            if theirs.recv(1):
                for name, text in maps.items():
                    write(f"/proc/{parent}/{name}", text)
                os._exit(0)
        finally:
            os._exit(1)
    theirs.close()
    with ours:
        yield
        ours.send(b".")
    if os.waitpid(child, 0)[1]:
        raise OSError(errno.EPERM, "ids cannot be mapped")


def identity(path: str) -> str:
    """A map of ids that leaves all as they are in the namespace whose map this is."""
    with open(path) as file:
        lines = [line.split() for line in file]
    return "\n".join(f"{inside} {inside} {count}" for inside, _, count in lines)


def write(path: str, text: str) -> None:
    """Write a file of /proc in one call."""
    with open(path, "w") as file:
        file.write(text)


def make(folder: str, uid: int, size: int, inodes: int, *, sized: bool) -> None:
    """A folder with the three writable places of a sandbox, together within `size` bytes."""
    if sized:
        cover(os.path.dirname(folder))
    os.mkdir(folder, 0o700)
    if sized:
        options = f"size={size},nr_inodes={inodes},mode=0711,uid={uid},gid={uid}"
        if os.geteuid() != 0:
            options = f"size={size},nr_inodes={inodes},mode=0711"
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    os.chmod(folder, 0o711)  # noqa: S103 -- sandboxes of other uids pass it
    for name, mode in (("sandbox", 0o700), ("tmp", 0o1777), ("shm", 0o1777)):
        place = f"{folder}/{name}"
        os.mkdir(place)
        if os.geteuid() == 0:
            os.chown(place, uid, uid)
        os.chmod(place, mode)
        if sized and name == "sandbox":  # the one whose programs may be executed
            mount(place, place, None, MS_BIND)
            mount("none", place, None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV)


def cover(folder: str) -> None:
    """Folders of sandboxes are made in memory, where that does not wait for a disk's file system.

    What was in the folder is out of sight for us and for the sandboxes.
    """
    if folder not in covered:
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=0711")
        covered.add(folder)


def unmake(folder: str, *, sized: bool) -> None:
    """Let a folder go: its memory is free when the last open file is closed."""
    if sized:
        check(libc.umount2(os.fsencode(folder), MNT_DETACH), f"umount {folder}")
        os.rmdir(folder)


def spawn(
    files: list[int], uid: int | None, groups: int, cpus: list[int], *, die_with_us: bool
) -> None:
    """Start a program, on these processors if any are named.

    The first file has its NUL-separated words; the last are the task lists of the control groups
    that it is to be born in, the others its 0, 1, 2 and so on.

    A shell enters the groups, and becomes the program. This process lends it only its uid and its
    processors: a child that takes those for itself would be a copy of all of Python, which takes
    longer than everything else that is done here.
    """
    words = os.pread(files[0], os.fstat(files[0]).st_size, 0).split(b"\0")
    passed = files[1:]
    script = entering(range(len(passed) - groups, len(passed)))
    words = [b"/bin/sh", b"-c", script, b"bwrap", *words]
    if die_with_us:
        start_and_die_with_us(words, passed, uid, cpus)
        return
    # In this order none is overwritten before it was moved: what arrives has higher numbers.
    moves = [(os.POSIX_SPAWN_DUP2, file, target) for target, file in enumerate(passed)]
    try:
        become(uid, cpus)
        os.posix_spawn(words[0], words, {}, file_actions=moves, setsid=True, setsigdef=DEFAULT)
    finally:
        come_back(uid, cpus)


def entering(lists: range) -> bytes:
    """A script that enters the groups of these open task lists, and then executes its words.

    On a machine without room what runs in sandboxes is the first to end, where we may say so. The
    numbers of the lists have one digit, as a shell wants it.
    """
    enter = "".join(f"echo 0 >&{file} && " for file in lists)
    closed = "".join(f" {file}>&-" for file in lists)
    first = "{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null"
    return f'{first}; {enter}exec "$@"{closed}; exit 1'.encode()


def become(uid: int | None, cpus: list[int]) -> None:
    """What a program is to inherit; the saved uid stays ours until it is executed."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    if uid is not None:
        os.setresgid(uid, uid, 0)
        os.setresuid(uid, uid, 0)


def come_back(uid: int | None, cpus: list[int]) -> None:
    """Undo it."""
    try:
        if uid is not None:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
        if cpus:
            os.sched_setaffinity(0, PROCESSORS)
    except OSError as error:
        os.write(2, f"isol8tasks: the holder of the sandboxes cannot go on: {error}\n".encode())
        os._exit(1)


def start_and_die_with_us(
    words: list[bytes], files: list[int], uid: int | None, cpus: list[int]
) -> None:
    """Execute a program in a child that ends with this process, which has no namespaces to end."""
    ourselves = os.getpid()
    if os.fork():
        return
    try:
        for number in DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for target, file in enumerate(files):
            os.dup2(file, target, inheritable=True)
        become(uid, cpus)
        check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        if os.getppid() == ourselves:
            os.execve(words[0], words, {})  # noqa: S606
    except BaseException as error:  # noqa: BLE001 -- it must not go on as a second holder
        os.write(2, f"bwrap: cannot be started: {error}\n".encode(errors="replace"))
    finally:
        os._exit(1)


def answer(request: dict[str, object], files: list[int], *, sized: bool) -> list[int]:
    """Do what is asked; the files that go back."""
    match request:
        case {"do": "make", "folder": str(folder), "uid": int(uid), "size": size, "inodes": inodes}:
            make(folder, uid, int(size), int(inodes), sized=sized)  # type: ignore[call-overload]
            return [os.open(f"{folder}/sandbox", os.O_RDONLY | os.O_DIRECTORY)]
        case {"do": "unmake", "folder": str(folder)}:
            unmake(folder, sized=sized)
        case {"do": "spawn", "uid": (int() | None) as uid, "groups": int(groups), "cpus": cpus}:
            spawn(files, uid, groups, list(cpus), die_with_us=not sized)  # type: ignore[call-overload]
        case {"do": "pidfd", "pid": int(pid)}:
            return [os.pidfd_open(pid)]
        case {"do": "proc"}:
            return [os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)]
    return []


def serve(connection: socket.socket, *, sized: bool) -> None:
    """Answer requests until the other side is gone."""
    while True:
        message, files = receive(connection)
        if not message:
            return
        back: list[int] = []
        reply: dict[str, object] = {}
        try:
            back = answer(json.loads(message), files, sized=sized)
        except OSError as error:
            reply = {"error": error.strerror or str(error)}
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", back))] if back else []
        connection.sendmsg([json.dumps(reply).encode()], ancillary)
        for file in (*files, *back):
            os.close(file)


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """One message and the files that came with it."""
    space = socket.CMSG_SPACE(MOST_FILES * 4)
    message, ancillary, _, _ = connection.recvmsg(1 << 16, space, socket.MSG_CMSG_CLOEXEC)
    files = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(content[: len(content) - len(content) % 4])
    return message, list(files)


def main(number: int, *, sized: bool) -> int:
    """Serve on this open socket; the first message says whether that works."""
    connection = socket.socket(fileno=number)
    connection.set_inheritable(False)
    own_users = False
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # would outlive our uid
        if sized:
            own_users = enter_namespaces()
            if child := os.fork():  # the child is the init of the process namespace
                connection.close()
                os.waitpid(child, 0)
                return 0
            mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        connection.send(json.dumps({"error": str(error)}).encode())
        return 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    try:
        connection.send(json.dumps({"own_users": own_users}).encode())
        serve(connection, sized=sized)
    finally:
        os._exit(0)  # at once: the kernel ends all others when this process is gone


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sized=sys.argv[2] == "sized"))
