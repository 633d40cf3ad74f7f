"""Words for the shell that becomes a program."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci import inside
from isol8tasks_oci.inside import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Pairs = tuple[tuple[str, str], ...]
    Ran = tuple[int, bytes]
    Taken = Callable[..., Ran]


def test_what_a_shell_gets() -> None:
    words, env = program(("a b", "$c"), (("X", "1"), ("TERM", "t")), stdin=0)
    script = 'exec </dev/null\nunset HOSTNAME container OLDPWD PWD SHLVL\nexec "$@"'
    assert words == ("/bin/sh", "-c", script, "sh", "a b", "$c")
    assert env == (("X", "1"), ("TERM", "t"))


def test_what_is_loaded_is_for_the_program_alone() -> None:
    loading = (("LD_PRELOAD", "a.so"), ("LOCPATH", "/l"), ("PATH", "/p"))
    others = (("LD_x;y", "odd"), ("MY_LD_X", "1"), ("PATHS", "p"))
    words, env = program(("a",), (*loading, *others), stdin=0)
    assert words[2].splitlines()[2:] == [
        'export LD_PRELOAD="$1"; shift',
        'export LOCPATH="$1"; shift',
        'export PATH="$1"; shift',
        'exec "$@"',
    ]
    assert words[3:] == ("sh", "a.so", "/l", "/p", "a")
    assert env == others


@pytest.fixture
def taken(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Runs `program` by each shell; the stream that it reads never ends."""
    monkeypatch.setattr(inside, "_STDIN", str(tmp_path / "stdin"))

    def taken(size: int, said: bytes, *argv: str, env: Pairs = ()) -> Ran:
        (_, *words), variables = program(argv, env, stdin=size)
        given, gives = os.pipe()
        with open(given, "rb") as stdin, open(gives, "wb", buffering=0) as sink:
            process = subprocess.Popen(
                ["sh", *words],
                executable=shell,
                env={"PATH": os.environ["PATH"], **dict(variables)},
                stdin=stdin,
                stdout=subprocess.PIPE,
            )
            sink.write(said)
            if len(said) < size:
                sink.close()
            out, _ = process.communicate(timeout=20)
        assert list(tmp_path.glob("std*")) == [] or process.returncode == 125
        return process.returncode, out

    return taken


@pytest.mark.parametrize("content", [b"x", b"\0\n\xff end", b"many " * 10_000])
def test_a_program_gets_as_much_as_was_announced(taken: Taken, content: bytes) -> None:
    assert taken(len(content), content, "cat") == (0, content)


def test_it_ends_with_its_own_code_and_may_read_nothing(taken: Taken) -> None:
    assert taken(3, b"abc", "sh", "-c", "exit 7") == (7, b"")


def test_it_may_open_its_input_again(taken: Taken) -> None:
    assert taken(3, b"abc", "sh", "-c", "cat /dev/stdin /dev/stdin") == (0, b"abcabc")


def test_a_program_without_all_of_its_input_does_not_start(taken: Taken) -> None:
    assert taken(4, b"abc", "echo", "started") == (125, b"")


def test_the_tools_are_not_those_of_the_stage(taken: Taken, tmp_path: Path) -> None:
    for name in ("head", "wc", "rm", "planted"):
        (tmp_path / name).write_text("#!/bin/sh\necho $0\n")
        (tmp_path / name).chmod(0o755)
    env = (("PATH", f"{tmp_path}:{os.environ['PATH']}"),)
    assert taken(3, b"abc", "cat", env=env) == (0, b"abc")
    assert taken(3, b"abc", "planted", env=env) == (0, f"{tmp_path}/planted\n".encode())
