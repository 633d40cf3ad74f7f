"""Which sessions there are: from which tasks, with which names, and what is said without any."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.nox.conftest import HEAD, NOXFILE, TASKS, Nox, Ran

LISTING = """\
Sessions defined in {}/noxfile.py:

* checks [quick] -> lint, unit
- all -> checks, bad, endless, after, may
- lint [quick,style] -> Nothing to say.
- unit [quick]
- bad
- endless
- after
- may

sessions marked with * are selected, sessions marked with - are skipped.
"""


def test_the_listing_has_names_descriptions_tags_and_defaults(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format(", stages=True"))
    assert nox("-l") == Ran(0, LISTING.format(nox.folder), "")


def test_usage_shows_all_of_a_description(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format(", stages=True"))
    assert nox("--usage", "lint").out == "Nothing to say.\nMore.\n"


@pytest.mark.parametrize(
    ("tasks", "words", "lines"),
    [
        ("task('one', 'a')\ntask('two', 'a')", "", ["* one -> a", "* two -> a"]),
        ("task('one', 'a')", ", stages=True", ["* one -> a", "- a", "- b [t]"]),
        ("", ", stages=True", ["* a", "* b [t]"]),
        ("task('one', 'b')", ", prefix='p-'", ["* p-one [t] -> b"]),
        ("task('one', 'two')\ntask('two', 'b')", "", ["* one [t] -> two", "* two [t] -> b"]),
    ],
)
def test_which_sessions_there_are(nox: Nox, tasks: str, words: str, lines: list[str]) -> None:
    stages = "sh('a', 'true')\nsh('b', 'true', tags=['t'])\n"
    nox.write(HEAD + stages + tasks, NOXFILE.format(words))
    assert nox("-l").out.split("\n")[2:-3] == lines


def test_the_task_file_is_found_above_or_named(nox: Nox) -> None:
    nox.write()
    below = nox.folder / "ci"
    below.mkdir()
    (below / "noxfile.py").write_text(NOXFILE.format(""))
    assert "* checks [quick]" in nox("-l", "-f", "ci/noxfile.py").out
    (nox.folder / "other.py").write_text(HEAD + "sh('a', 'true')\ntask('others', 'a')\n")
    (below / "noxfile.py").write_text(NOXFILE.format(", file='../other.py'"))
    assert "* others -> a" in nox("-l", "-f", "ci/noxfile.py").out


LISTS_MODULES = """
import sys
heavy = {"docker", "podman", "requests", "rich", "structlog", "click", "isol8tasks.app"}
print(sorted(heavy & sys.modules.keys()))
if __name__ == "__main__":
    import nox
    nox.main()
"""


def test_a_listing_imports_little_and_executes_the_task_file_once(nox: Nox) -> None:
    nox.write(TASKS + "print('executed')\n", NOXFILE.format("") + LISTS_MODULES)
    ran = nox("-l")
    assert (ran.out.split("\n")[0], ran.err) == ("[]", "executed\n")
    ran = nox("-l", python=("noxfile.py",))
    assert (ran.code, ran.err) == (0, "executed\n")


def test_a_broken_task_file_is_one_error_without_a_traceback(nox: Nox) -> None:
    nox.write(TASKS + "task('more', unti)\n")
    assert nox("-l") == Ran(
        2,
        "",
        "error: NameError: name 'unti' is not defined\n"
        "  --> isol8file.py:14\n"
        "  hint: run 'python isol8file.py' to see the whole traceback\n",
    )


def test_a_member_that_is_not_there_is_an_error(nox: Nox) -> None:
    nox.write(TASKS + "task('more', 'lnt')\n")
    ran = nox("-s", "checks")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: task 'more' has the member 'lnt', which is not declared")


def test_no_task_file_and_no_task_are_errors(nox: Nox) -> None:
    nox.write()
    (nox.folder / "isol8file.py").unlink()
    ran = nox("-l")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: no isol8file.py in ")
    nox.write(HEAD + "sh('a', 'true')\n")
    assert nox("-l") == Ran(
        2,
        "",
        "error: the task file declares no task, so nox gets no session\n"
        "  --> isol8file.py\n"
        "  hint: declare one: task('checks', lint, unit), or give isol8tasks.nox.sessions"
        " stages=True\n",
    )


OWN = """\
import nox
import isol8tasks.nox

@nox.session(venv_backend="none")
def {name}(session):
    '''My own.'''
    {body}

isol8tasks.nox.sessions(globals(){words})
"""


def test_a_name_that_is_taken_is_an_error_that_names_both(nox: Nox) -> None:
    nox.write(noxfile=OWN.format(name="checks", body="pass", words=""))
    assert nox("-l") == Ran(
        2,
        "",
        "error: 'checks' would be the nox session 'checks', which there is already:"
        f" {nox.folder}/noxfile.py:4\n"
        "  --> isol8file.py:12\n"
        "  hint: give sessions() a prefix, as in prefix='sandboxed-', or leave sessions() out and"
        " call isol8tasks.nox.run(session, 'checks') in that session\n",
    )
    nox.write(noxfile=OWN.format(name="checks", body="pass", words=", prefix='our-'"))
    listing = nox("-l").out
    assert "* checks -> My own.\n* our-checks [quick] -> lint, unit\n" in listing


def test_two_task_files_with_one_name_are_an_error(nox: Nox) -> None:
    nox.write(noxfile=NOXFILE.format("") + "isol8tasks.nox.sessions(globals(), file='b.py')\n")
    (nox.folder / "b.py").write_text(HEAD + "sh('a', 'true')\ntask('checks', 'a')\n")
    ran = nox("-l")
    assert ran.code == 2
    assert ran.err.startswith(
        "error: 'checks' would be the nox session 'checks', which there is already:"
        " isol8file.py:12\n  --> b.py:7\n"
    )


def test_the_same_sessions_twice_are_no_clash(nox: Nox) -> None:
    """Older versions of nox execute a noxfile twice when it is run as a program."""
    nox.write(noxfile=NOXFILE.format("") + "isol8tasks.nox.sessions(globals())\n")
    ran = nox("-l")
    assert (ran.code, ran.out.count("checks [quick]"), ran.err) == (0, 1, "")


def test_without_nox_an_import_says_what_is_missing() -> None:
    program = "import sys; sys.modules['nox'] = None; import isol8tasks.nox"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.stderr.endswith(
        "ImportError: isol8tasks.nox needs nox, which is not installed beside isol8tasks:"
        " pip install nox\n"
    )
