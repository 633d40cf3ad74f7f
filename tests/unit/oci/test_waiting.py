"""The script that waits in a container, run for real by several shells over real FIFOs."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isol8tasks_oci.client import ENGINE_VARIABLES
from isol8tasks_oci.pipes import Pipes
from isol8tasks_oci.waiting import Ceilings, command, script

from isol8tasks.backend.contract import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

NO_CEILINGS = Ceilings()
PATH = "/usr/local/bin:/usr/bin:/bin"
WORDS = ("printf", "%s\\0")
"""Prints the words behind it, each with a NUL behind."""


@attrs.frozen
class Ran:
    code: int
    out: bytes
    err: bytes

    @property
    def words(self) -> list[bytes]:
        return self.out.split(b"\0")[:-1]

    @property
    def env(self) -> dict[str, str]:
        pairs = (os.fsdecode(word).partition("=") for word in self.words)
        return {name: value for name, _, value in pairs}


@attrs.define
class Stage:
    """One shell that waits, and our ends of its streams."""

    pipes: Pipes
    process: subprocess.Popen[bytes]
    end: int
    declared: Mapping[str, str]

    def run(self, argv: tuple[str, ...], stdin: bytes = b"") -> Ran:
        said: dict[Stream, bytearray] = {stream: bytearray() for stream in Stream}
        assert self.pipes.greeted(self.end)
        if stdin:
            self.pipes.give(stdin)
        words = command(argv, tuple(self.declared.items()), stdin=bool(stdin))
        self.pipes.pump(words, lambda to, piece: said[to].extend(piece), self.end)
        out, err = bytes(said[Stream.STDOUT]), bytes(said[Stream.STDERR])
        return Ran(self.process.wait(10), out, err)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipes.close()
        os.close(self.end)


@attrs.define
class Theatre:
    """Starts such shells, each with FIFOs of its own."""

    shell: str
    folder: Path
    open: list[Stage] = attrs.field(factory=list)

    def waiting(
        self,
        folder: Path,
        declared: AbstractSet[str] = frozenset(),
        env: Mapping[str, str] | None = None,
        ceilings: Ceilings = NO_CEILINGS,
    ) -> subprocess.Popen[bytes]:
        """As a container has it: streams of the engine's, and a word that names it."""
        text = script(str(folder), declared, ceilings)
        return subprocess.Popen(
            ["sh", "-c", text, "sh", "isol8tasks-name"],
            executable=self.shell,
            env={"PATH": PATH, **(env or {})},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stage(
        self,
        declared: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        ceilings: Ceilings = NO_CEILINGS,
    ) -> Stage:
        pipes, declared = Pipes(self.folder / str(len(self.open))), declared or {}
        process = self.waiting(pipes.folder, frozenset(declared), env, ceilings)
        stage = Stage(pipes, process, os.pidfd_open(process.pid), declared)
        self.open.append(stage)
        return stage

    def run(self, argv: tuple[str, ...], stdin: bytes = b"") -> Ran:
        return self.stage().run(argv, stdin)


@pytest.fixture
def theatre(shell: str, tmp_path: Path) -> Iterator[Theatre]:
    theatre = Theatre(shell, tmp_path)
    yield theatre
    for stage in theatre.open:
        stage.close()


ARGUMENTS = {
    "nothing": (),
    "empty": ("",),
    "empty words": ("", "", "a", ""),
    "a newline": ("a\nb",),
    "only newlines": ("\n", "\n\n", "\n\n\n"),
    "a newline at each end": ("\na\n",),
    "white space": (" a ", "\t", "a  b", "\r", "\x0b\f"),
    "quotes": ("it's", '"', "'\"'", "`id`", "$'a'"),
    "dollars": ("$HOME", "$(id)", "${x:-y}", "$$", "$1", "$@", "$#"),
    "backslashes": ("\\", "\\n", "a\\", "\\\\", "\\\n", "a\\\nb"),
    "dashes": ("-n", "--", "-e", "--help", "-"),
    "a shell's signs": ("*", "?", "[a]", "~", "#", "!", "&", ";", "|", "<", ">", "(", "}"),
    "numbers": ("0", "1", "-1", "99999999999999999999"),
    "unicode": ("ä", "€", "\U0001f600", "e\u0301", "\u2028"),
    "broken UTF-8": ("\udcff", "a\udc80b", "\udcc3", "\udce2\udc82", "\udcff\n\udcfe"),
    "long": ("x" * 100_000, "y\n" * 20_000, "\\" * 1000),
    "many": tuple(map(str, range(500))),
}


@pytest.mark.parametrize("words", ARGUMENTS.values(), ids=ARGUMENTS)
def test_words_arrive_as_they_are(theatre: Theatre, words: tuple[str, ...]) -> None:
    ran = theatre.run((*WORDS, *words))
    assert ran.words == ([os.fsencode(word) for word in words] or [b""])
    assert (ran.code, ran.err) == (0, b"")


TEXT = st.binary(max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"\n")))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=st.lists(TEXT, max_size=8), stdin=st.binary(max_size=2000))
def test_any_words_and_any_input_arrive(theatre: Theatre, words: list[str], stdin: bytes) -> None:
    ran = theatre.run(("sh", "-c", 'printf "%s\\0" "$@"; exec cat', "sh", "", *words), stdin)
    expected = [os.fsencode(word) + b"\0" for word in ("", *words)]
    assert ran.out == b"".join(expected) + stdin


@pytest.mark.parametrize(
    "stdin",
    [b"x", b"\n", b"\0", bytes(range(256)), b"1\n0\n5\n", os.urandom(1 << 20), b"\n" * (1 << 20)],
    ids=["one byte", "a newline", "NUL", "all bytes", "as if ours", "1 MiB", "1 MiB of lines"],
)
def test_input_arrives_as_it_is_and_ends(theatre: Theatre, stdin: bytes) -> None:
    assert theatre.run(("cat",), stdin) == Ran(0, stdin, b"")


def test_no_input_is_the_null_device(theatre: Theatre) -> None:
    assert theatre.run(("readlink", "/proc/self/fd/0")).out == b"/dev/null\n"


def test_input_that_nobody_reads_holds_nothing_up(theatre: Theatre) -> None:
    assert theatre.run(("sh", "-c", "exec <&-; exit 3"), b"x" * (1 << 20)).code == 3


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -SEGV $$"), -signal.SIGSEGV),
        (("no-such-program",), 127),
        (("/no/such/program",), 127),
        (("/",), 126),
        (("/etc/passwd",), 126),
        (("exit", "3"), 127),
        (("export", "A=b"), 127),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_the_program_takes_the_shell_s_place(
    theatre: Theatre, argv: tuple[str, ...], code: int
) -> None:
    stage = theatre.stage()
    ran = stage.run(argv)
    assert ran.code == code
    assert bool(ran.err) == (code in {126, 127})


@pytest.mark.parametrize("argv", [("-c", "env"), ("-l", "env"), ("--", "env"), ("-a", "x", "env")])
def test_a_program_s_name_is_never_an_option(theatre: Theatre, argv: tuple[str, ...]) -> None:
    assert theatre.run(argv).code == 127


def test_the_program_is_the_process_that_waited(theatre: Theatre) -> None:
    stage = theatre.stage()
    ran = stage.run(("sh", "-c", "echo $$; ls /proc/self/fd"))
    number, *files = ran.out.split()
    assert int(number) == stage.process.pid
    assert files == [b"0", b"1", b"2", b"3"], "no other stream is left open: 3 is what ls looks at"


def test_both_streams_are_kept_apart(theatre: Theatre) -> None:
    ran = theatre.run(("sh", "-c", "echo out; echo err >&2"))
    assert ran == Ran(0, b"out\n", b"err\n")


ADDED = dict.fromkeys(ENGINE_VARIABLES, "by the engine")
BY_BASH = frozenset({"SHLVL", "_"})
"""What bash gives to every program, whatever was unset."""


def test_what_an_engine_adds_is_gone(theatre: Theatre) -> None:
    wanted = {"A": "b", "HOMES": "x", "TERMS": "y"}
    stage = theatre.stage(wanted, {**ADDED, "OLDPWD": "/"})
    env = stage.run(("env", "-0")).env
    for name in BY_BASH if "bash" in theatre.shell else ():
        env.pop(name, None)
    assert env == {"PATH": PATH, **wanted}


def test_what_a_stage_declares_stays_even_with_an_engine_s_name(theatre: Theatre) -> None:
    env = theatre.stage(ADDED, dict.fromkeys(ADDED, "the engine's")).run(("env", "-0")).env
    assert env.items() >= ADDED.items()


@pytest.mark.parametrize("name", ["_isol8_word", "_isol8_stdin"])
def test_what_a_stage_declares_stays_even_with_a_name_of_ours(theatre: Theatre, name: str) -> None:
    env = theatre.stage({name: "mine"}).run(("env", "-0")).env
    assert env.get(name) == "mine"


VALUES = {
    "EMPTY": "",
    "LINES": "a\nb\n",
    "QUOTES": "'\"`$(id)\\",
    "BROKEN": "\udcff",
    "LONG": "x" * 9999,
}


def test_values_of_variables_arrive_as_they_are(theatre: Theatre) -> None:
    env = theatre.stage(VALUES).run(("env", "-0")).env
    assert env.items() >= VALUES.items()


OF_SHELLS = {
    "BASH_ENV": "/x",
    "ENV": "/x",
    "HOME": "/nowhere",
    "IFS": "0a/",
    "LC_ALL": "C.UTF-8",
    "LD_PRELOAD": "/nowhere.so",
    "PATH": f"/nowhere:{PATH}",
    "POSIXLY_CORRECT": "1",
    "PS4": "$(id)",
}


def test_a_program_s_variables_mean_nothing_to_the_shell(theatre: Theatre) -> None:
    ran = theatre.stage(OF_SHELLS).run(("env", "-0"))
    assert ran.env.items() >= OF_SHELLS.items()
    assert ran.code == 0
    assert b"sh:" not in ran.err


def test_the_image_s_variable_gives_way(theatre: Theatre) -> None:
    env = theatre.stage({"A": "the stage's"}, {"A": "the image's", "B": "kept"}).run(("env", "-0"))
    assert env.env.items() >= {"A": "the stage's", "B": "kept"}.items()


KEPT = {"A": "a", "EUID": "x\n$(id)", "PPID": "8", "SHELLOPTS": "s", "UID": "7", "Z": "'z'"}
"""Bash lets nobody set most of them."""


def test_variables_that_a_shell_keeps_to_itself_arrive(theatre: Theatre) -> None:
    for declared in (KEPT, {"BASHOPTS": "b", "PATH": "/nowhere"}):
        ran = theatre.stage(declared).run(("/usr/bin/env", "-0"))
        assert (ran.code, ran.err) == (0, b"")
        assert ran.env.items() >= declared.items()


@pytest.mark.parametrize(
    ("argv", "codes"),
    [
        (("-i", "true"), {127}),
        (("no-such",), {127}),
        (("/",), {126}),
        (("B=b", "true"), {125, 127}),
    ],
)
def test_with_such_variables_a_program_s_name_is_only_that(
    theatre: Theatre, argv: tuple[str, ...], codes: set[int]
) -> None:
    ran = theatre.stage({"UID": "7"}).run(argv)
    assert ran.code in codes
    assert ran.err


@pytest.mark.parametrize("stdin", [b"hello", b"x" * (1 << 20)], ids=["short", "long"])
@pytest.mark.parametrize("name", ["/dev/stdin", "/proc/self/fd/0"])
def test_input_can_be_opened_by_its_name(theatre: Theatre, name: str, stdin: bytes) -> None:
    assert theatre.run(("timeout", "-s", "KILL", "10", "cat", name), stdin).out == stdin


def test_input_cannot_be_changed(theatre: Theatre) -> None:
    stage = theatre.stage()
    stage.run(("true",), b"hello")
    assert stat.S_IMODE((stage.pipes.folder / "input").stat().st_mode) == 0o444


def test_with_nobody_at_the_other_ends_it_ends(theatre: Theatre, tmp_path: Path) -> None:
    for name in ("command", "stdout", "stderr"):
        os.mkfifo(tmp_path / name)
    with theatre.waiting(tmp_path) as process:
        assert process.wait(10) != 0


def test_when_we_hang_up_before_the_command_it_ends(theatre: Theatre) -> None:
    stage = theatre.stage()
    assert stage.pipes.greeted(stage.end)
    stage.pipes.close()
    assert stage.process.wait(10) == 125


@pytest.mark.parametrize("argv", [("touch", "{}"), ("sh", "-c", "touch {}\nexit", "a\nb")])
@pytest.mark.parametrize("missing", [1, 2, 4, 9])
def test_half_a_command_is_none(
    theatre: Theatre, tmp_path: Path, argv: tuple[str, ...], missing: int
) -> None:
    mark = tmp_path / "ran"
    stage = theatre.stage()
    assert stage.pipes.greeted(stage.end)
    whole = command(tuple(word.format(mark) for word in argv), stdin=False)
    (stage.pipes.folder / "command").write_bytes(whole[:-missing])
    stage.pipes.close()
    assert stage.process.wait(10) == 125
    assert not mark.exists()


HOLD = """
import sys, time
from pathlib import Path
from isol8tasks_oci.pipes import Pipes
pipes = Pipes(Path(sys.argv[1]))
print(flush=True)
time.sleep(60)
"""


def test_when_we_are_killed_before_the_command_it_ends(theatre: Theatre) -> None:
    folder = theatre.folder / "killed"
    argv = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as us:
        assert us.stdout is not None
        us.stdout.read(1)
        waiting = theatre.waiting(folder)
        _until_open(waiting.pid, folder / "stderr")
        us.kill()
    assert waiting.wait(10) == 125


def _until_open(pid: int, fifo: Path) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/fd/2").readlink() != fifo:
        assert time.monotonic() < deadline
        time.sleep(0.005)


LIMITS = ("cat", "/proc/self/limits")


def _limits(said: bytes) -> dict[bytes, bytes]:
    lines = said.splitlines()[1:]
    return {line[:25].strip(): line[26:45].strip() for line in lines}


@pytest.mark.parametrize(
    ("ceilings", "data", "processes"),
    [
        (Ceilings(), None, None),
        (Ceilings(memory=64 << 20), b"67108864", None),
        (Ceilings(processes=5000), None, b"5000"),
        (Ceilings(memory=(64 << 20) + 1, processes=5001), b"67108864", b"5001"),
        (Ceilings(memory=1 << 40, processes=1 << 14), b"1099511627776", b"16384"),
    ],
    ids=["none", "memory", "processes", "both", "high"],
)
def test_ceilings_are_the_program_s(
    theatre: Theatre, ceilings: Ceilings, data: bytes | None, processes: bytes | None
) -> None:
    usual = _limits(theatre.run(LIMITS).out)
    found = _limits(theatre.stage(ceilings=ceilings).run(LIMITS).out)
    changed = {b"Max data size": data, b"Max processes": processes}
    assert found == usual | {name: value for name, value in changed.items() if value is not None}


def test_a_ceiling_cannot_be_raised_again(theatre: Theatre) -> None:
    argv = ("prlimit", "--nproc", "--data", "--output=SOFT,HARD", "--noheadings", "--raw")
    found = theatre.stage(ceilings=Ceilings(memory=1 << 26, processes=999)).run(argv)
    values = {b"67108864 67108864", b"999 999"}
    assert set(found.out.splitlines()) == values


def test_the_command_is_no_script() -> None:
    assert command(("a", "b\nc", ""), stdin=True) == b"1\n0\n3\n0\na\n1\nb\nc\n0\n\n"
    assert command(("true",), (("A", "b\nc"),), stdin=False) == b"0\n1\n2\n1\nA=b\nc\n0\ntrue\n"
