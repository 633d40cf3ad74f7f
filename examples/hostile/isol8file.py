"""Programs that misbehave. Each ends with 0 only if it escaped, so `passed` is an alarm.

Run them with `isol8tasks run`; README.md has the verdicts to expect. Only `timeout` and
`output_limit` are stated, which every host holds. Memory, processes and disk have their defaults.
"""

import os

from isol8tasks import Image, secret, stage, task

# The test of this example sets these: a word to find processes by, and what to look for.
mark = os.environ.get("HOSTILE_MARK", "hostile")
host = {
    "HOSTILE_PORT": os.environ.get("HOSTILE_PORT", "22"),
    "HOSTILE_SOCKET": os.environ.get("HOSTILE_SOCKET", "hostile"),
    "HOSTILE_FOLDERS": os.environ.get("HOSTILE_FOLDERS", os.getcwd()),
}
os.environ.setdefault("HOSTILE_SECRET", 'pa"ss/wörd+of&a=host?')
told = {"secrets": [secret("HOSTILE_SECRET")]}
kept = {"outputs": ["out/**"]}


def hostile(name, program, description, **words):
    """One row of the table: a program of the folder and its arguments."""
    script, *arguments = program.split()
    given = {"image": Image.python(), "inputs": ["programs/*.py"], "env": host, "timeout": "10s"}
    run = ("python", f"programs/{script}.py", *arguments, mark)
    return stage(name, run=run, description=description, **(given | words))


neighbour = hostile("neighbour", "neighbour", "harmless: works beside the others", timeout="30s")

resources = [
    hostile("other-stages", "look neighbours", "reach the neighbour: processes, files, ports"),
    hostile("fork-bomb", "forks plain", "double the processes, up to 4096"),
    hostile("fork-bomb-nested", "forks nested", "a user namespace with a count of its own"),
    hostile("memory-hog", "memory one", "1 GiB in one process", timeout="30s"),
    hostile("memory-hogs", "memory many", "1 GiB in 32 processes", timeout="30s"),
    hostile("memory-shared", "memory shared", "1 GiB in a memfd, else mapped", timeout="30s"),
    hostile("tmp-hog", "floods blocks /tmp", "3 GiB in /tmp"),
    hostile("shm-hog", "floods blocks /dev/shm", "3 GiB in /dev/shm"),
    hostile("disk-flood", "floods blocks /sandbox", "3 GiB in /sandbox"),
    hostile("inode-flood", "floods inodes /sandbox", "262144 empty files"),
    hostile("deep-tree", "floods tree /sandbox", "262144 folders within one another"),
    hostile("stdout-flood", "floods output 1", "3 GiB on stdout", output_limit="4m"),
    hostile("stderr-flood", "floods output 2", "3 GiB on stderr", output_limit="4m"),
]

endings = [
    hostile("endless-loop", "endless loop", "never end", timeout="1s"),
    hostile("signals-ignored", "endless deaf", "ignore all signals", timeout="1s"),
    hostile("stopped", "endless stopped", "stop, and wait for nobody", timeout="1s"),
    hostile("daemon", "leftovers daemon", "outlive the stage (setsid)", outputs=["late-*"]),
    hostile("pipe-held-open", "leftovers pipe", "outlive the stage with its pipes"),
]

network = [
    hostile("network-tcp", "network tcp", "the host, its neighbours, a public address"),
    hostile("network-udp", "network udp", "the same by datagrams"),
    hostile("network-ipv6", "network ipv6", "the same by IPv6"),
    hostile("network-dns", "network dns", "a name server"),
    hostile("network-unix", "network unix", "sockets of the host, abstract and by path"),
    hostile("network-families", "network families", "vsock, packet, raw, netlink and others"),
    hostile("network-netlink", "network netlink", "other interfaces; change loopback"),
]

files = [
    hostile("host-files", "look read", "read the host: accounts, homes, devices, cache"),
    hostile("host-writes", "look write", "write to the host: /usr, /etc, /proc, devices"),
    hostile("output-symlink", "outputs symlink", "an output that is a link", **kept),
    hostile("output-folder", "outputs symlinked_folder", "a folder that is a link", **kept),
    hostile("output-hard-link", "outputs hard_link", "a hard link to the host's files", **kept),
    hostile("output-fifo", "outputs fifo", "an output that is a FIFO", **kept),
    hostile("output-socket", "outputs unix_socket", "an output that is a socket", **kept),
    hostile("output-device", "outputs device", "an output that is a device", **kept),
    hostile("output-setuid", "outputs setuid", "a setuid program", **kept),
    hostile("output-newline", "outputs newline", "a name with a workflow command", **kept),
    hostile("output-ansi", "outputs ansi", "a name with terminal control codes", **kept),
    hostile("output-broken", "outputs broken", "a name that is no UTF-8", **kept),
    hostile("output-dots", "outputs dots", "names that look like the way up", **kept),
    hostile("output-sparse", "outputs sparse", "a file of 1 TiB without blocks", **kept),
    hostile("output-many", "outputs many", "10001 files", **kept),
    hostile("output-deep", "outputs deep", "2000 folders, the first with mode 000", **kept),
]

verdicts = [
    hostile("init-kill", "init kill", "kill the sandbox's first process"),
    hostile("init-everyone", "init everyone", "kill everybody"),
    hostile("init-trace", "init trace", "ptrace the first process"),
    hostile("init-memory", "init memory", "write `exit(0)` into the first process"),
    hostile("init-eventfd", "init eventfd", "steal the file that carries the exit status"),
    hostile("init-files", "init files", "a forged result into every open file"),
    hostile("init-streams", "init streams", "a forged result as output, streams replaced"),
    hostile("init-orphans", "init orphans", "processes that end with 0 before the stage"),
]

kernel = [
    hostile("terminal", "calls terminal", "type into the terminal (TIOCSTI)"),
    hostile("mounts", "calls mounts", "mount, pivot_root, chroot, setns, unshare"),
    hostile("system-calls", "calls kernel", "bpf, keyctl, io_uring, perf, kexec and others"),
    hostile("foreign-calls", "calls foreign", "a system call of another ABI"),
    hostile("rights", "calls rights", "become another user"),
]

words = [
    hostile("secret-echo", "speak secret", "say a secret in ten forms, split", **told),
    hostile("secret-name", "speak name", "name outputs after a secret", **told, **kept),
    hostile("speak-terminal", "speak terminal", "control codes and workflow commands"),
]

planter = hostile(
    "planter",
    "plant",
    "leave files that an unwary program runs",
    outputs=["*.py", "*.pth", "*.cfg", "ls", "sh", "python", "bin/**", ".git/**", ".profile"],
)
consumer = hostile(
    "consumer",
    "consume",
    "run what was planted, in a trusted stage",
    inputs=["programs/*.py", planter],
)

task(
    "hostile",
    neighbour,
    *(resources + endings + network + files + verdicts + kernel + words),
    planter,
    consumer,
    default=True,
)
