"""Commands of a session to the words of a stage."""

from __future__ import annotations

import posixpath
import re
import shlex

import attrs

from isol8tasks.cli.noxfile.values import Hole, Posargs, Text, Unresolved, Word, join, text

POSARGS = '"$@"'

_LONGEST = 100_000
_RESERVED = frozenset(
    [
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "in",
        "{",
        "}",
        "!",
        "time",
        "function",
    ]
)
_NETWORK = {
    "pip-audit": None,
    "pip_audit": None,
    "safety": None,
    "curl": None,
    "wget": None,
    "twine": {"upload"},
    "git": {"clone", "fetch", "pull", "push", "ls-remote"},
}
"""Programs that are of no use without a network, and with which first argument."""

_UNPREFIXED = re.compile(r"[A-Za-z_]\w*=", re.ASCII)


@attrs.frozen(kw_only=True)
class Command:
    """One command: its words, its variables, its folder, and the exit codes that are good."""

    words: tuple[Word, ...]
    env: tuple[tuple[str, Text], ...] = ()
    folder: str = ""
    codes: tuple[int, ...] = (0,)

    @property
    def posargs(self) -> tuple[Posargs, ...]:
        """Where what follows `--` goes."""
        return tuple(word for word in self.words if isinstance(word, Posargs))


@attrs.frozen(kw_only=True)
class Run:
    """The words of a stage about what it runs; `argv` is for a single command without a shell."""

    argv: tuple[Text, ...] = ()
    scripts: tuple[Text, ...] = ()
    env: tuple[tuple[str, Text], ...] = ()
    workdir: str = ""
    posargs: bool = False


def needs_network(words: tuple[Word, ...]) -> str:
    """The program and why a stage cannot run it without a network; empty when it is not known."""
    names = [str(word) if isinstance(word, Text) else "" for word in words]
    if names[:2] == ["python", "-m"]:
        names = names[2:]
    if not names or names[0] not in _NETWORK:
        return ""
    wanted = _NETWORK[names[0]]
    if wanted is None:
        return names[0]
    first = next((name for name in names[1:] if not name.startswith("-")), "")
    return f"{names[0]} {first}" if first in wanted else ""


def check(command: Command) -> None:
    """Unresolved for a command that no shell could be given."""
    if len({posargs.default for posargs in command.posargs}) > 1:
        raise Unresolved("`session.posargs` is there twice, with different defaults")
    if not isinstance(command.words[0], Text) or not str(command.words[0]).strip():
        raise Unresolved("its first word is not the name of a program")
    if len(str(_script(command, (), "")).encode()) > _LONGEST:
        raise Unresolved(f"it is longer than {_LONGEST} bytes")


def lower(commands: tuple[Command, ...], sources: tuple[str, ...]) -> Run:
    """What the stage runs. `sources` are folders that Python is to find, wherever it starts."""
    commands = tuple(_with_sources(command, sources) for command in commands)
    shared = [pair for pair in commands[0].env if all(pair in other.env for other in commands)]
    folders = {command.folder for command in commands}
    workdir = commands[0].folder if len(folders) == 1 else ""
    posargs = any(command.posargs for command in commands)
    run = Run(env=tuple(shared), workdir=workdir, posargs=posargs)
    if len(commands) == 1 and not posargs and commands[0].codes == (0,):
        argv = tuple(word for word in commands[0].words if isinstance(word, Text))
        return attrs.evolve(run, argv=argv)
    scripts = tuple(_script(command, tuple(shared), workdir) for command in commands)
    return attrs.evolve(run, scripts=scripts)


def _with_sources(command: Command, sources: tuple[str, ...]) -> Command:
    if not sources:
        return command
    env = dict(command.env)
    paths = tuple(text(posixpath.relpath(path, command.folder or ".")) for path in sources)
    own = (env["PYTHONPATH"],) if "PYTHONPATH" in env else ()
    env["PYTHONPATH"] = join(":", (*own, *paths))
    return attrs.evolve(command, env=tuple(env.items()))


def _script(command: Command, shared: tuple[tuple[str, Text], ...], workdir: str) -> Text:
    """One line for `sh -eu`, which stops at the first `;` after a failure."""
    default = command.posargs[0].default if command.posargs else ()
    good = _good(command.codes)
    pieces: list[str | Text] = []
    if default:
        pieces += ["[ $# -gt 0 ] || set -- ", join(" ", tuple(map(_quoted, default))), "; "]
    if command.folder != workdir:
        pieces += ["cd ", _quoted(text(command.folder or ".")), "; " if good else " && "]
    for name, value in command.env:
        if (name, value) not in shared:
            pieces += [f"{name}=", _quoted(value), " "]
    shown = [_word(word, first=index == 0) for index, word in enumerate(command.words)]
    return text(*pieces, join(" ", tuple(shown)), good)


def _good(codes: tuple[int, ...]) -> str:
    others = [str(code) for code in codes if code]
    if not others:
        return ""
    if len(others) == 1:
        return f" || test $? = {others[0]}"
    return f" || case $? in {'|'.join(others)}) ;; *) exit 1 ;; esac"


def _word(word: Word, *, first: bool) -> Text:
    if isinstance(word, Posargs):
        return text(POSARGS)
    concrete = str(word)
    if first and (concrete in _RESERVED or _UNPREFIXED.match(concrete)):
        return text("'", concrete, "'") if "'" not in concrete else _quoted(word)
    return _quoted(word)


def _quoted(word: Text) -> Text:
    """The word as a shell needs it; a hole stays one where any quoting suits its value."""
    if shlex.quote(str(word)) == str(word):
        return word
    return text("'", *map(_inside_quotes, word.parts), "'")


def _inside_quotes(part: str | Hole) -> str | Hole:
    if isinstance(part, Hole) and "'" not in part.value:
        return part
    value = part.value if isinstance(part, Hole) else part
    return value.replace("'", "'\"'\"'")
