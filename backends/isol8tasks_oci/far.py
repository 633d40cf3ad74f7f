"""A sandbox on an engine that shares nothing with us: all of it goes through the engine's API.

The first process only holds the container (`holder`). Programs run beside it (`inside`), files go
in and come out by the image's own `tar` (`tarballs`); the end of our connection is that of all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import attrs

from isol8tasks.backend.contract import (
    Fetched,
    OutputRefused,
    OutputSink,
    SandboxSpec,
    TreeEntry,
)
from isol8tasks.backend.files import Outputs
from isol8tasks.backend.uids import MOST_UIDS, UidLease
from isol8tasks.errors import SandboxError
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import Exit
from isol8tasks_oci.client import (
    HIDDEN,
    HIDDEN_BUT_GROUPS,
    ContainerSpec,
    Engine,
    Execution,
    Tmpfs,
)
from isol8tasks_oci.ended import signal_name
from isol8tasks_oci.holder import OWN_PROCESSES, SCRIPT, Holder, Used
from isol8tasks_oci.inside import Inside, program
from isol8tasks_oci.places import inodes_of
from isol8tasks_oci.talk import Talk, exit_code, feed
from isol8tasks_oci.tarballs import (
    PACK,
    ROOT,
    UNPACK,
    Arriving,
    Ended,
    chosen,
    packed,
    unpacked,
)

_MOST_ARGUMENTS = 128 << 10
_NO_TOOL = 127
"""The code with which our scripts name a tool that is not there."""
_FEWEST_PROCESSES = 12
"""With less, runc cannot always enter the container: it has threads, which count."""
_LATE = 1.0
"""Seconds after the end of a container for the engine to notice why."""
_STUBBORN = "processes of the stage cannot be ended"


class FarSandbox:
    """One container, started and waiting from the beginning. It gives the lease back."""

    def __init__(
        self, engine: Engine, spec: SandboxSpec, container: ContainerSpec, lease: UidLease
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._uid = lease.uid
        self._env = container.env
        self._workdir = "/".join(filter(None, (ROOT, spec.workdir)))
        self._placed = False
        self._lock = threading.Lock()
        if container.pids is not None and spec.limits.pids < _FEWEST_PROCESSES:
            raise SandboxError(
                f"pids={spec.limits.pids} is too few for the engine's own programs in a container",
                hint=f"state pids={_FEWEST_PROCESSES} or more, or run on the engine's own host",
            )
        with ExitStack() as undo:
            undo.callback(lease.close)
            # By its name, as an answer that never comes may still have made it.
            undo.callback(engine.remove, container.name)
            self._id = engine.create(self._complete(container))
            channel = engine.attach(self._id)
            undo.callback(channel.close)
            engine.start(self._id)
            self._inside = Inside(engine, self._id, uid=lease.uid)
            self._holder = Holder(channel, memory=container.memory)
            if self._holder.used() is None:
                raise self._not_started()
            self._undo = undo.pop_all()

    def _complete(self, container: ContainerSpec) -> ContainerSpec:
        """The stage's environment is its program's only: our tools do without its PATH."""
        disk = self._spec.limits.disk
        places = ((ROOT, True), ("/tmp", False), ("/dev/shm", False))  # noqa: S108 -- its own
        return attrs.evolve(
            container,
            argv=("/bin/sh", "-c", SCRIPT),
            env=(),
            uid=self._uid - MOST_UIDS,
            pids=None if container.pids is None else container.pids + 1,
            tmpfs=tuple(
                Tmpfs(
                    target=target,
                    size=disk,
                    inodes=inodes_of(disk),
                    uid=self._uid,  # runc gives it the mode of the image's own folder
                    executable=executable,
                )
                for target, executable in places
            ),
            hidden=HIDDEN if container.memory is None else HIDDEN_BUT_GROUPS,
            interactive=True,
        )

    def _not_started(self) -> SandboxError:
        state = self._engine.state(self._id)
        ended = f"it ended with code {state.exit_code}" if state.ended else "it says nothing"
        return SandboxError(
            f"the container did not start: {state.error or ended}",
            hint="the image needs a /bin/sh that works",
        )

    def put(self, tree: Iterable[TreeEntry]) -> None:
        """Place inputs, and make the working directory."""
        self._placed = True
        try:
            size, tar = packed(tree, self._spec.workdir, uid=self._uid)
            with self._inside.talk(UNPACK) as talk:
                talk.say(size, tar)
                code = talk.code()
        except OSError as error:
            raise SandboxError(f"cannot place the inputs: {error.strerror}") from error
        except SandboxError:
            if self._inside.killed():
                return
            raise
        if code != 0 and not self._inside.killed():
            raise self._not_placed(code, talk.complaint)

    def _not_placed(self, code: int, complaint: str) -> SandboxError:
        if code == _NO_TOOL and complaint:
            return self._without(complaint)
        why = "No space left on device" if self._holder.full() else complaint or f"code {code}"
        return SandboxError(f"cannot place the inputs: {why}")

    def _without(self, tool: str) -> SandboxError:
        return SandboxError(
            f"the image has no {tool}, by which files go to and from {self._engine.name} here",
            hint="use an image with sh, tar, head, wc, rm, find, xargs and chmod, such as debian "
            "or busybox",
        )

    def run(self, argv: tuple[str, ...], *, stdin: bytes, sink: OutputSink) -> Exit:
        """Run one program beside the holder; its end is that of all others."""
        _check(argv)
        try:
            ended = self._run(argv, stdin, sink)
        except SandboxError:
            if not self._inside.killed():
                self.kill()
                raise
        except BaseException:
            self.kill()
            raise
        else:
            if ended is not None:
                return ended
        self._inside.check_killed()
        return Exit(code=None)

    def _run(self, argv: tuple[str, ...], stdin: bytes, sink: OutputSink) -> Exit | None:
        """How it ended; None when it was killed."""
        if not self._placed and (self._spec.workdir or stdin):
            self.put(())
        if self._inside.killed():
            return None
        before = self._holder.used()
        words, env = program(argv, self._env, stdin=len(stdin))
        started = self._inside.execute(words, workdir=self._workdir, env=env)
        with (
            self._inside.watched(started) as execution,
            self._inside.ending(execution),
        ):
            _pump(execution, stdin, sink)
        return None if self._inside.killed() else self._judged(execution, before)

    def _judged(self, execution: Execution, before: Used | None) -> Exit:
        if self._inside.gone:
            return self._lost(None)
        code = exit_code(execution, self._inside.killed)
        used = self._holder.used()
        if used is None:
            return self._lost(code)
        limit = Limit.MEMORY if self._oom_killed(used) else None
        if limit is None and code != 0 and self._full(used):
            limit = Limit.DISK
        return Exit(
            code=code,
            signal=signal_name(code),
            limit=limit,
            peak_memory_bytes=used.peak_memory_bytes,
            cpu_seconds=_difference(used, before),
        )

    def _lost(self, code: int | None) -> Exit:
        """The container is gone, and it was not `kill`."""
        if self._inside.stubborn:
            return Exit(code=code, signal=signal_name(code))
        deadline = time.monotonic() + _LATE
        while not self._engine.state(self._id).oom_killed:
            if time.monotonic() > deadline:
                raise SandboxError("the sandbox was killed from outside")
            time.sleep(0.05)
        return Exit(code=None, limit=Limit.MEMORY)

    def _oom_killed(self, used: Used) -> bool:
        """The engine's word counts where the kernel's cannot be had; Docker 20.10 knows less."""
        if used.oom_killed is not None:
            return used.oom_killed
        return self._engine.state(self._id).oom_killed

    def _full(self, used: Used) -> bool:
        alone = used.processes is not None and used.processes <= OWN_PROCESSES
        return (alone or self._inside.end_processes()) and self._holder.full()

    def kill(self) -> None:
        """End every process; a later `run` ends at once, and a later `fetch` finds nothing."""
        self._inside.kill()

    def fetch(self, globs: tuple[str, ...], into: Path, *, max_bytes: int) -> Fetched:
        """Copy out what matches, after every process of the stage was ended."""
        if self._inside.killed() or not globs:
            return Fetched(unmatched=globs)
        if self._inside.stubborn:
            raise _refusal(_STUBBORN)
        with (
            Outputs(self._spec.workdir, globs, into, max_bytes=max_bytes) as outputs,
            self._inside.talk(PACK, str(self._uid), self._workdir) as talk,
        ):
            try:
                self._copy(talk, outputs)
            except OSError as error:
                raise SandboxError(f"cannot copy the outputs: {error.strerror}") from error
            except SandboxError:
                if self._inside.killed():
                    return Fetched(unmatched=globs)
                raise
            return outputs.fetched()

    def _copy(self, talk: Talk, outputs: Outputs) -> None:
        arriving = Arriving(talk.answer())
        try:
            wanted = chosen(arriving, outputs)
            names = b"".join(name + b"\0" for name in wanted)
            talk.say(len(names), [names])
            unpacked(arriving, wanted, outputs)
        except Ended:
            raise self._not_fetched(talk.code(), talk.complaint) from None
        code = talk.code()
        if code != 0:
            raise self._not_fetched(code, talk.complaint)

    def _not_fetched(self, code: int, complaint: str) -> Exception:
        used = self._holder.used()
        if used is not None and (used.processes or 0) > OWN_PROCESSES:
            return _refusal(_STUBBORN)
        if code == _NO_TOOL and complaint:
            return self._without(complaint)
        return _refusal(complaint or f"the image's tools ended with {code}")

    def close(self) -> None:
        """Leave nothing behind; may be repeated."""
        with self._lock:
            undo, self._undo = self._undo, ExitStack()
        undo.close()


def _check(argv: tuple[str, ...]) -> None:
    if max(map(len, argv)) >= _MOST_ARGUMENTS:
        raise SandboxError("an argument is longer than the 128 KiB that Linux takes")
    for word in argv:
        if "\0" in word or any("\ud800" <= each <= "\udfff" for each in word):
            raise SandboxError(f"an argument is not text: {word!a}")


def _pump(execution: Execution, stdin: bytes, sink: OutputSink) -> None:
    channel = execution.channel
    if stdin:
        threading.Thread(target=feed, args=(channel, (stdin,)), daemon=True).start()
    for stream, piece in channel.pieces():
        sink(stream, piece)


def _difference(used: Used, before: Used | None) -> float | None:
    if used.cpu_seconds is None or before is None or before.cpu_seconds is None:
        return None
    return used.cpu_seconds - before.cpu_seconds


def _refusal(why: str) -> OutputRefused:
    return OutputRefused(f"the outputs cannot be read: {why}")
