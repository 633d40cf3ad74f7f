"""Words for the shell that becomes a program."""

from __future__ import annotations

from isol8tasks_oci.inside import program


def test_what_a_shell_gets() -> None:
    words, env = program(("a b", "$c"), (("X", "1"), ("TERM", "t")), stdin=True)
    script = 'unset HOSTNAME container OLDPWD PWD SHLVL\nexec "$@"'
    assert words == ("/bin/sh", "-c", script, "sh", "a b", "$c")
    assert env == (("X", "1"), ("TERM", "t"))


def test_what_is_loaded_is_for_the_program_alone() -> None:
    given = (("LD_PRELOAD", "a.so"), ("LD_x;y", "odd"), ("LOCPATH", "/l"), ("MY_LD_X", "1"))
    words, env = program(("a",), given, stdin=False)
    assert words[2].splitlines()[1:] == [
        'export LD_PRELOAD="$1"; shift',
        'export LOCPATH="$1"; shift',
        'exec "$@" </dev/null',
    ]
    assert words[3:] == ("sh", "a.so", "/l", "a")
    assert env == (("LD_x;y", "odd"), ("MY_LD_X", "1"))
