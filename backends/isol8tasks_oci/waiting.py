"""The first program of a container: it waits for a command on a FIFO, and becomes it. Pure.

With its streams open it says one empty line. It decides nothing: whatever it is made to do, it has
the rights of the program that it will be. The command is never spliced into a script; it comes as
lines that `read` takes as they are. So does the program's environment, which is not for the shell.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import attrs

from isol8tasks_oci.client import ENGINE_VARIABLES

_OURS = "_isol8_"
"""What the script's variables begin with; longer where a stage declares such a name itself."""

_SHELL_VARIABLES = ("OLDPWD", "PWD", "SHLVL")

_STREAMS = """\
exec 3<>{pipes}/command 4<>{pipes}/stdout 5<>{pipes}/stderr
exec <{pipes}/command >{pipes}/stdout 2>{pipes}/stderr 3<&- 4<&- 5<&-
echo
"""
"""Opened both ways first, which waits for nobody: ours may be gone, and then the shell ends."""

_READ = """\
IFS=
read -r _isol8_stdin && read -r _isol8_pairs && read -r _isol8_words || exit 125
set --
while [ "$_isol8_words" -gt 0 ]; do
  read -r _isol8_lines && read -r _isol8_word || exit 125
  while [ "$_isol8_lines" -gt 0 ]; do
    read -r _isol8_more || exit 125
    _isol8_word="$_isol8_word
$_isol8_more"
    _isol8_lines=$((_isol8_lines - 1))
  done
  set -- "$@" "$_isol8_word"
  _isol8_words=$((_isol8_words - 1))
done
unset IFS
"""

_BECOME = """\
while [ "$_isol8_pairs" -gt 0 ] && command export "$1" 2>/dev/null; do
  shift
  _isol8_pairs=$((_isol8_pairs - 1))
done
eval "_isol8_word=\\${{$((_isol8_pairs + 1))}}"
case $_isol8_word in -*) echo "sh: $_isol8_word: not found" >&2; exit 127; esac
if [ "$_isol8_pairs" -gt 0 ]; then
  case $_isol8_word in *=*) command export "$1"; exit 125; esac
  set -- /usr/bin/env "$@"
fi
if [ "$_isol8_stdin" = 0 ]; then exec "$@" </dev/null; fi
exec "$@" <{pipes}/input
"""
"""A file can be opened again by its name, /dev/stdin, which a FIFO without a writer cannot.

Some variables a shell keeps to itself, as bash does UID: `env` sets that one and those behind it,
but would take a program with a = in its name for one more.
"""


@attrs.frozen(kw_only=True)
class Ceilings:
    """What the kernel holds each process to, where nothing holds all of them.

    `memory` is of private memory in bytes, `processes` counts those of the sandbox's uid. They are
    set here, as the engine's own programs would not start within them.
    """

    memory: int | None = None
    processes: int | None = None

    @property
    def script(self) -> str:
        """For sh; what one calls -u is -p in others."""
        lines = []
        if self.memory is not None:
            lines.append(f"ulimit -d {max(1, self.memory >> 10)} || exit 125\n")
        if self.processes is not None:
            most = self.processes
            lines.append(f"if (ulimit -u {most}) 2>/dev/null; then ulimit -u {most}; ")
            lines.append(f"else ulimit -p {most} || exit 125; fi\n")
        return "".join(lines)


def script(pipes: str, declared: AbstractSet[str], ceilings: Ceilings = Ceilings()) -> str:
    """What `/bin/sh -c` runs. What an engine or a shell adds to the environment goes again."""
    added = (*ENGINE_VARIABLES, *_SHELL_VARIABLES)
    unasked = " ".join(name for name in added if name not in declared)
    streams = _STREAMS.format(pipes=pipes)
    text = f"{streams}{_READ}unset {unasked}\n{ceilings.script}{_BECOME.format(pipes=pipes)}"
    ours = _OURS
    while any(name.startswith(ours) for name in declared):
        ours += "_"
    return text.replace(_OURS, ours)


def command(argv: tuple[str, ...], env: tuple[tuple[str, str], ...] = (), *, stdin: bool) -> bytes:
    """What that script reads: whether there is a file for stdin, and words line by line."""
    words = [*(f"{name}={value}" for name, value in env), *argv]
    lines = [str(int(stdin)), str(len(env)), str(len(words))]
    for word in words:
        lines += [str(word.count("\n")), word]
    return "\n".join((*lines, "")).encode(errors="surrogateescape")
