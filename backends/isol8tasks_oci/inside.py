"""Programs beside the first one of a container, through the engine, until they are killed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from isol8tasks.errors import SandboxError
from isol8tasks_oci.client import ENGINE_VARIABLES, Channel, Engine, EngineError, Execution
from isol8tasks_oci.talk import Talk
from isol8tasks_oci.tarballs import END

_SHELL_VARIABLES = ("OLDPWD", "PWD", "SHLVL")
_LATE = re.compile(r"PATH|LD_[A-Za-z0-9_]*|GCONV_PATH|GLIBC_TUNABLES|LOCPATH", re.ASCII)
_STDIN = "/tmp/.stdin"  # noqa: S108 -- the sandbox's own, where nothing of the stage ran yet
_Pairs = tuple[tuple[str, str], ...]
_TOOLS = (("LC_ALL", "C"),)
_LINGER = 0.03
"""Seconds from the end of a program to that of its streams, if it left nobody behind."""
_LOOKS = 5
"""How often a program is looked at until the container is, too."""
_GRACE = 5.0
"""Seconds for the end of what was killed to arrive here."""


class Inside:
    """One container that runs, and the uid of a stage in it. One program at a time is looked at."""

    def __init__(self, engine: Engine, container: str, *, uid: int) -> None:
        self._engine = engine
        self._container = container
        self._uid = uid
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._kill = threading.Event()
        self._answered = threading.Event()
        self._trouble: EngineError | None = None
        self.stubborn = False
        self.gone = False

    def killed(self) -> bool:
        """Whether somebody wished it so."""
        return self._kill.is_set()

    def execute(self, argv: tuple[str, ...], *, workdir: str, env: _Pairs) -> Execution:
        """Start a program of the stage."""
        return self._engine.execute(self._container, argv, uid=self._uid, workdir=workdir, env=env)

    @contextmanager
    def talk(self, script: str, *arguments: str) -> Iterator[Talk]:
        """With a tool of the image that has the program's uid: the files are to be its own."""
        with self.watched(self._tool(script, *arguments)) as execution:
            talk = Talk(execution, self.killed)
            try:
                yield talk
            finally:
                talk.close()

    def _tool(self, script: str, *arguments: str) -> Execution:
        words = ("/bin/sh", "-c", script, "sh", *arguments)
        return self.execute(words, workdir="/", env=_TOOLS)

    @contextmanager
    def watched(self, execution: Execution) -> Iterator[Execution]:
        """Have the streams of a program end after a kill, even if the engine is mute."""
        with self._lock:
            self._channel = execution.channel
            if self.killed():
                _close_later(execution.channel)
        try:
            yield execution
        finally:
            execution.channel.close()
            with self._lock:
                self._channel = None

    @contextmanager
    def ending(self, execution: Execution) -> Iterator[None]:
        """When the program has ended, end who still holds its streams open."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(execution, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
        if not self.killed():
            watcher.join()

    def _watch(self, execution: Execution, done: threading.Event) -> None:
        pause, looks = 0.02, 0
        while not done.wait(pause):
            pause, looks = min(1.5 * pause, 0.1), looks + 1
            with suppress(EngineError):  # also of a program whose container is gone
                if execution.exit_code() is not None:
                    break
            if looks % _LOOKS == 0 and self._ended():
                break
        if done.wait(_LINGER):
            return
        if self._ended():  # with gVisor the streams may stay open
            self.gone = True
            execution.channel.close()
            return
        if not self.killed() and not self.end_processes():
            self.stubborn = True
            with suppress(EngineError):
                self._engine.kill(self._container)

    def _ended(self) -> bool:
        with suppress(EngineError):
            return self._engine.state(self._container).ended
        return False

    def end_processes(self) -> bool:
        """End all processes of the stage; False when that did not work."""
        try:
            talk = Talk(self._tool(END, str(self._uid)), self.killed)
        except EngineError:
            return False
        try:
            return talk.code() == 0
        except SandboxError:
            return False
        finally:
            talk.close()

    def kill(self) -> None:
        """End everything, from any thread."""
        with self._lock:
            self._kill.set()
            if self._channel is not None:
                _close_later(self._channel)
        try:
            self._engine.kill(self._container)
        except EngineError as error:
            self._trouble = error
        else:
            self._trouble = None
        self._answered.set()

    def check_killed(self) -> None:
        """SandboxError when the engine did not do what `kill` asked for."""
        if not self._answered.wait(_GRACE) or self._trouble is not None:
            why = self._trouble or "no answer"
            raise SandboxError(f"{self._engine.name} did not end the sandbox: {why}")


def program(argv: tuple[str, ...], env: _Pairs, *, stdin: int) -> tuple[tuple[str, ...], _Pairs]:
    """The words by which a shell becomes a program, and the shell's environment.

    `stdin` bytes come as the program's standard input. Where programs are found and what they load
    is for the program alone, and not for the tools before it. What an engine or a shell adds to the
    environment goes again, unless it was declared.
    """
    late = tuple(pair for pair in env if _LATE.fullmatch(pair[0]))
    declared = {name for name, _ in env}
    added = (*ENGINE_VARIABLES, *_SHELL_VARIABLES)
    lines = [_taken(stdin) if stdin else "exec </dev/null"]
    lines += ["unset " + " ".join(name for name in added if name not in declared)]
    lines += [f'export {name}="$1"; shift' for name, _ in late]
    lines += ['exec "$@"']
    values = (value for _, value in late)
    early = tuple(pair for pair in env if pair not in late)
    return ("/bin/sh", "-c", "\n".join(lines), "sh", *values, *argv), early


def _taken(size: int) -> str:
    """For sh: take so many bytes as a file without a name, as near; a program gets all or no start.

    Not every connection can end one direction only, so that none has to. Nothing is left unread,
    which would reset the connection and lose what was said last.
    """
    lines = f"head -c {size} | {{ head -c {size} >{_STDIN}; wc -c >/dev/null; }}\n"
    lines += f'[ "$(wc -c <{_STDIN})" -eq {size} ]'
    return f"{lines} && exec <{_STDIN} && rm {_STDIN} || exit 125"


def _close_later(channel: Channel) -> None:
    """For an engine that does not answer: nobody reads for ever what it no longer sends."""
    timer = threading.Timer(_GRACE, channel.close)
    timer.daemon = True
    timer.start()
