"""Trying what an engine gives: one container in which every limit has to trip.

What was found is remembered for as long as this boot and this engine last.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs

from isol8tasks import __version__
from isol8tasks.backend.contract import (
    Capabilities,
    PreparedImage,
    Sandbox,
    SandboxSpec,
    Stream,
    TreeEntry,
)
from isol8tasks.backend.folders import draft_of
from isol8tasks.errors import Isol8Error, SandboxError
from isol8tasks.model.digest import Digest
from isol8tasks.model.image import Image, ImageKind, LayerKind
from isol8tasks.model.limits import Enforcement, Limit, Limits
from isol8tasks.model.network import NetworkMode
from isol8tasks.model.result import Exit
from isol8tasks_oci.client import Facts

HELD = frozenset({Limit.MEMORY, Limit.CPUS, Limit.PIDS})
"""The limits that an engine holds by control groups."""

IMAGES = frozenset({ImageKind.REFERENCE, ImageKind.PYTHON, ImageKind.NODE, ImageKind.BASH})

_LOW = Limits(memory=24 << 20, cpus=0.2, pids=12, disk=1 << 20, timeout=60)
_ROOMY = Limits(memory=96 << 20, cpus=1, pids=12, disk=1 << 20, timeout=60)
"""For a runtime that needs memory and processors for a kernel of its own."""
_CODE = 7
_SECONDS = 0.4
_TRIES = 3

_START = """\
read -r word <token && echo "token $word"
while read -r key value; do [ "$key" != Seccomp: ] || echo "filter $value"; done </proc/self/status
(x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do x=$x$x; done; i=0
 while [ $i -lt 32 ] && echo "$x" >>full; do i=$((i + 1)); done; [ $i -lt 32 ]) 2>/dev/null
held=$?; : >full; echo "disk $held"
"""

_PROGRAM = f"""\
{_START}\
(while :; do :; done) & sleep {_SECONDS}; kill $!; wait
times
(x=0123456789abcdef; for i in {" ".join("x" * 23)}; do x=$x$x; done) 2>/dev/null
echo "memory $?"
(for i in {" ".join("x" * 24)}; do sleep 5 & done; wait) 2>/dev/null &
most=0; i=0
while [ $most -lt 24 ] && [ $i -lt 3000 ]; do
  set -- /proc/[0-9]*; [ $# -le $most ] || most=$#; i=$((i + 1))
done
[ $most -lt 24 ] && echo pids held || echo pids free
exit {_CODE}
"""
"""Writes up to 4 MiB; a busy process; 128 MiB in a child; 24 processes at once.

The last leaves processes that are still ending, so nothing is started after it.
"""

_ROOMY_PROGRAM = f"""\
read -r _ _ kernel _ </proc/version
[ "$kernel" != "$1" ] || exit 3
echo "kernel $kernel"
{_START}\
(x=0123456789abcdef; for i in {" ".join("x" * 24)}; do x=$x$x; done) 2>/dev/null
echo "memory $?"
exit {_CODE}
"""
"""256 MiB come last: the end of one process for want of memory is that of the whole kernel.

Such a kernel's threads are counted too, and it has its own idea of processor time, so that neither
can be tried from inside.
"""

_TIMES = re.compile(r"(\d+)m([\d.]+)s (\d+)m([\d.]+)s")


@attrs.frozen(kw_only=True)
class Findings:
    """What was tried. `sent` are the limits that the engine takes, `tripped` those that it held.

    `own_kernel` tells that sandboxes do not run on the host's, as with gVisor.
    """

    near: bool
    sent: frozenset[Limit]
    tripped: frozenset[Limit]
    own_kernel: bool = False
    remark: str = ""


@attrs.frozen(kw_only=True)
class Way:
    """A way to run sandboxes that may work: near or far, with these limits held by the engine.

    `own_kernel` leaves room for one that the runtime brings.
    """

    near: bool
    sent: frozenset[Limit]
    own_kernel: bool = False


Make = Callable[[Way, SandboxSpec], Sandbox]
"""Makes a sandbox of the trial's own image in such a way."""


def try_ways(ways: tuple[Way, ...], make: Make, *, seconds: float = _LOW.timeout) -> Findings:
    """The first way that holds a limit that it asks for, or asks for none; else the first to work.

    A trial of more than so many seconds is killed, and that way does not work. SandboxError with
    what was said when none works.
    """
    said: list[str] = []
    works: Findings | None = None
    for way in ways:
        try:
            tripped, unfiltered = _tripped(way, make, seconds)
        except (Isol8Error, OSError) as error:
            words = error.message if isinstance(error, Isol8Error) else str(error)
            said.append(f"{'near' if way.near else 'far'}: {words}")
            continue
        remark = "; ".join(dict.fromkeys((*_of_its_own(way, unfiltered), *said)))
        found = Findings(
            near=way.near,
            sent=way.sent,
            tripped=tripped,
            own_kernel=way.own_kernel,
            remark=remark,
        )
        if not way.sent or way.sent & tripped:
            return found
        works = works or found
    if works is not None:
        return works
    raise SandboxError("; ".join(dict.fromkeys(said)) or "there is no way to try")


def _of_its_own(way: Way, unfiltered: bool) -> tuple[str, ...]:
    if not way.own_kernel:
        return ()
    words = "the runtime has a kernel of its own"
    return (f"{words}, which does not filter system calls" if unfiltered else words,)


def _tripped(way: Way, make: Make, seconds: float) -> tuple[frozenset[Limit], bool]:
    """More than once where some held and some did not: an account may be gone before it is read.

    With it comes whether system calls are not filtered.
    """
    found, unfiltered = _trip(way, make, seconds)
    for _ in range(0 if way.own_kernel else _TRIES):
        if found >= way.sent or not found & way.sent:
            break
        found |= _trip(way, make, seconds)[0]
    return found, unfiltered


def _trip(way: Way, make: Make, seconds: float) -> tuple[frozenset[Limit], bool]:
    token = secrets.token_hex(8)
    said = bytearray()
    image = PreparedImage(image=Image("isol8tasks/probe"), identity=Digest.of(b""))
    limits, program = (_ROOMY, _ROOMY_PROGRAM) if way.own_kernel else (_LOW, _PROGRAM)
    sandbox = make(way, SandboxSpec(name="trial", image=image, limits=limits))
    with closing(sandbox), _killed_after(seconds, sandbox):
        source = partial(io.BytesIO, f"{token}\n".encode())
        sandbox.put([TreeEntry(path="token", source=source)])
        ended = sandbox.run(
            ("sh", "-c", program, "sh", os.uname().release),
            stdin=b"",
            sink=lambda stream, piece: said.extend(piece if stream is Stream.STDOUT else b""),
        )
    words = said.decode(errors="replace")
    if way.own_kernel:
        return tripped_alone(words, ended, token), not _filtered(words)
    return tripped(words, ended, token), False


def _filtered(said: str) -> bool:
    """By the program's own status, see proc_pid_status(5): 2 is a filter."""
    return "filter 2" in said.splitlines()


@contextmanager
def _killed_after(seconds: float, sandbox: Sandbox) -> Iterator[None]:
    """SandboxError when it took longer, whatever else came of that."""
    late = threading.Event()

    def expire() -> None:
        late.set()
        with suppress(Isol8Error):  # the run tells of it
            sandbox.kill()

    timer = threading.Timer(seconds, expire)
    timer.start()
    try:
        yield
    except (Isol8Error, OSError):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise SandboxError(f"a trial was killed as it was not over after {seconds:g} s")


def tripped_alone(said: str, ended: Exit, token: str) -> frozenset[Limit]:
    """The same of a runtime with its own kernel; SandboxError when it has none."""
    lines = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line)
    ran = lines.get("token") == token and "kernel" in lines
    if not ran or (ended.code != _CODE and ended.limit is not Limit.MEMORY):
        raise SandboxError(f"a trial ended with {ended.code} and said: {' '.join(said.split())}")
    held = {Limit.MEMORY} if ended.limit is Limit.MEMORY else set()
    if lines.get("disk") == "0":
        held.add(Limit.DISK)
    return frozenset(held)


def tripped(said: str, ended: Exit, token: str) -> frozenset[Limit]:
    """The limits that held in a trial; SandboxError when it did not go as trials do.

    On a loaded machine a busy process gets little anyway: that proves nothing without an account.
    """
    lines = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line)
    if lines.get("token") != token or ended.code != _CODE:
        raise SandboxError(f"a trial ended with {ended.code} and said: {' '.join(said.split())}")
    if not _filtered(said):
        raise SandboxError("system calls are not filtered")
    held = set()
    if ended.limit is Limit.MEMORY or lines.get("memory", "0") not in {"0", "137"}:
        held.add(Limit.MEMORY)
    if lines.get("pids") == "held":
        held.add(Limit.PIDS)
    if ended.cpu_seconds is not None and _busy(said) < 0.75 * _SECONDS:
        held.add(Limit.CPUS)
    if lines.get("disk") == "0":
        held.add(Limit.DISK)
    return frozenset(held)


def _busy(said: str) -> float:
    """Seconds of processor time of the children, from the second line of `times`."""
    found = [match for match in map(_TIMES.fullmatch, said.splitlines()) if match]
    if len(found) < 2:
        return _SECONDS
    minutes, seconds, more_minutes, more_seconds = map(float, found[1].groups())
    return 60 * (minutes + more_minutes) + seconds + more_seconds


def capabilities(found: Findings, facts: Facts) -> Capabilities:
    """What that means for stages."""
    held = {limit: _how(limit, found, facts) for limit in (*sorted(HELD), Limit.DISK)}
    return Capabilities(
        limits=tuple((limit, how) for limit, (how, _, _) in held.items()),
        explained=tuple((limit, why, remedy) for limit, (_, why, remedy) in held.items()),
        networks=frozenset({NetworkMode.NONE, NetworkMode.HOST}),
        images=IMAGES,
        layers=frozenset(LayerKind),
    )


_DELEGATE = "have an administrator delegate control groups (version 2, with systemd: Delegate=yes)"


def _how(limit: Limit, found: Findings, facts: Facts) -> tuple[Enforcement, str, str]:
    if limit is Limit.DISK:
        shared = "that size for all" if found.near else "that size each"
        if limit in found.tripped:
            return Enforcement.ENFORCED, f"by folders in memory, {shared}", ""
        return Enforcement.UNVERIFIED, "a sized folder did not fill up", ""
    if limit in found.sent and limit in found.tripped:
        if limit is Limit.MEMORY and not facts.swap_held:
            return Enforcement.UNVERIFIED, "the engine does not hold swap", "turn swap off"
        return Enforcement.ENFORCED, "by the engine, and tripped when tried", ""
    if found.own_kernel and limit is Limit.PIDS:
        return Enforcement.UNVERIFIED, "the runtime's own threads count, 16 for each process", ""
    if limit in found.sent and not facts.rootless:
        return Enforcement.UNVERIFIED, "the engine takes it, but it did not trip when tried", ""
    if limit in found.tripped and limit is not Limit.CPUS:
        looked = ", and looked at 20 times a second for all" if limit is Limit.MEMORY else ""
        why = f"per process{looked}; the engine is rootless and holds no control groups"
        return Enforcement.APPROXIMATE, why, _DELEGATE
    return Enforcement.NONE, "the engine is rootless and holds no control groups", _DELEGATE


def recall(file: Path, key: str) -> Findings | None:
    """What an earlier trial of this boot found; a damaged file says nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        known = json.loads(file.read_text())[key]
        return Findings(
            near=bool(known["near"]),
            sent=frozenset(map(Limit, known["sent"])),
            tripped=frozenset(map(Limit, known["tripped"])),
            own_kernel=bool(known["own_kernel"]),
            remark=str(known["remark"]),
        )
    return None


def remember(file: Path, key: str, found: Findings) -> None:
    """Losing this costs a second the next time, so it never fails. Other boots are forgotten."""
    value = {
        "near": found.near,
        "sent": sorted(found.sent),
        "tripped": sorted(found.tripped),
        "own_kernel": found.own_kernel,
        "remark": found.remark,
    }
    draft = draft_of(file)
    with suppress(OSError):
        draft.write_text(json.dumps({**_of_this_boot(file), key: value}, indent=1))
        draft.replace(file)


def _of_this_boot(file: Path) -> dict[str, object]:
    with suppress(OSError, ValueError, AttributeError):
        known = json.loads(file.read_text())
        return {key: value for key, value in known.items() if key.startswith(_boot())}
    return {}


def key_of(facts: Facts, runtime: str | None) -> str:
    """What a trial holds for: a boot, an engine, a user, a runtime, our version and namespaces."""
    places = (str(os.stat(f"/proc/self/ns/{name}").st_ino) for name in ("mnt", "pid"))
    known = (facts.identity, str(os.geteuid()), runtime or facts.runtime, __version__)
    return " ".join((_boot(), *known, *places))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
