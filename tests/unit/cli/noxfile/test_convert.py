"""Whole noxfiles: real ones, ones that cannot be read, and whatever else may be written."""

from __future__ import annotations

import ast
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isol8tasks.cli.noxfile.commands import Command, lower
from isol8tasks.cli.noxfile.convert import convert
from isol8tasks.cli.noxfile.values import Posargs, text
from isol8tasks.cli.noxfile.write import literal
from isol8tasks.errors import Location, UsageError
from isol8tasks.model.stage import Exec
from tests.unit.cli.noxfile.conftest import loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from isol8tasks.model.stage import Stage

NOXFILES = Path(__file__).parents[3] / "projects/noxfiles"
PROJECTS = ("library", "matrix", "service")


@pytest.mark.parametrize("name", PROJECTS)
def test_a_real_noxfile(name: str) -> None:
    # ruff's formatter looks at these files too: see `nox -s lint`
    assert convert(NOXFILES / name / "noxfile.py").text == (
        NOXFILES / name / "expected.py"
    ).read_text("utf-8")


@pytest.mark.parametrize("name", PROJECTS)
def test_every_remark_stands_in_the_file_at_its_line(name: str) -> None:
    found = convert(NOXFILES / name / "noxfile.py")
    comments = " ".join(
        line.strip().removeprefix("#").strip() for line in found.text.splitlines() if "#" in line
    )
    lines = (NOXFILES / name / "noxfile.py").read_text().splitlines()
    assert found.remarks
    for remark in found.remarks:
        assert f"TODO(nox): noxfile.py:{remark.line}: {' '.join(remark.text.split())}" in comments
        assert 1 <= remark.line <= len(lines)


WRONG = {
    "syntax": (b"import nox\n@nox.session\ndef (:\n", 3, "the noxfile is not Python: "),
    "not text": (b"import nox\nx = '\xff'\n", None, "the noxfile is not Python: "),
    "NUL": (b"import nox\0\n", None, "the noxfile is not Python: "),
    "no session": (b"import nox\n", 0, "the noxfile declares no session that can be read"),
    "nothing": (b"", 0, "the noxfile declares no session that can be read"),
    "no command": (
        b"import nox\n@nox.session\ndef unit(session):\n    work(session)\n",
        4,
        "nothing of the noxfile can be carried over",
    ),
    "too deep": (
        b"import nox\n@nox.session\ndef unit(session):\n    x = " + b"-" * 5000 + b"1\n",
        None,
        "the noxfile is ",
    ),
    "too large": (b"#" * (2 << 20), 0, "the noxfile is larger than 1 MiB"),
}


@pytest.mark.parametrize(("content", "line", "message"), WRONG.values(), ids=WRONG)
def test_a_noxfile_that_cannot_be_read(
    folder: Path, content: bytes, line: int | None, message: str
) -> None:
    path = folder / "noxfile.py"
    path.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        convert(path)
    assert raised.value.message.startswith(message)
    assert raised.value.where
    assert raised.value.where.path == str(path)
    assert line in {None, raised.value.where.line}


def test_a_noxfile_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no such noxfile"):
        convert(folder / "noxfile.py")
    (folder / "noxfile.py").mkdir()
    with pytest.raises(UsageError, match="the noxfile is not a file") as raised:
        convert(folder / "noxfile.py")
    assert raised.value.where == Location(str(folder / "noxfile.py"), 0)


def test_nothing_of_a_noxfile_is_executed(folder: Path) -> None:
    (folder / "noxfile.py").write_text(
        "import nox, pathlib\n"
        "pathlib.Path('touched').write_text('')\n"
        "BIG = 'x' * 10 ** 12\n"
        "LONG = 'x' * 9 + '{:1000000000}'.format(1) + '%1000000000s' % 1\n"
        "A = 'ab'\n" + "A = A + A\n" * 60 + "L = [1, 2]\n" + "L = L + L\n" * 60 + "@nox.session\n"
        "def unit(session):\n"
        "    session.run('x')\n"
        "    session.run(A, BIG, LONG)\n"
        "    for a in range(10 ** 12):\n"
        "        session.run('y')\n"
        "    for a in L:\n"
        "        for b in L:\n"
        "            session.run('y')\n"
    )
    task_file, _ = loaded(folder / "noxfile.py")
    assert [stage.command for stage in task_file.stages] == [Exec(("x",))]
    assert not (folder / "touched").exists()


def test_a_session_without_end_is_cut(read_body: Callable[[str], Stage], folder: Path) -> None:
    numbers = ", ".join("0" * 60)
    read_body(
        f'session.run("x")\nfor a in [{numbers}]:\n for b in [{numbers}]:\n  session.run("y")'
    )
    found = convert(folder / "noxfile.py")
    assert any("too long to follow" in remark.text for remark in found.remarks)


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(
    words=st.lists(WORDS, max_size=4),
    default=st.lists(WORDS, max_size=2),
    posargs=st.lists(WORDS, max_size=2),
    value=WORDS,
)
@settings(max_examples=60, deadline=None)
def test_a_shell_sees_the_words_that_nox_would_run(
    words: list[str], default: list[str], posargs: list[str], value: str
) -> None:
    other = Command(words=(text("true"),))  # so that the variable is not the stage's
    printing = ("sh", "-c", 'printf "%s\\0" "$VALUE" "$@"', "sh", *words)
    command = Command(
        words=(*map(text, printing), Posargs(tuple(map(text, default)))),
        env=(("VALUE", text(value)),),
    )
    script = str(lower((other, command), ()).scripts[1])
    argv = ["sh", "-eu", "-c", script, "sh", *posargs]
    ran = subprocess.run(argv, capture_output=True, check=True)
    assert ran.stdout.decode().split("\0") == [value, *words, *(posargs or default), ""]


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_literal_is_the_string(value: str) -> None:
    written = literal(value)
    assert ast.literal_eval(written) == value
    assert "\n" not in written
    assert written[0] == ('"' if value.count('"') <= value.count("'") else "'")


TEXTS = st.text(st.sampled_from("ab'\"\\{}$ \n\t#é;"), max_size=20)
DECLARED = st.tuples(
    st.text(st.sampled_from("ab'\"\\{}$ \n.-é"), min_size=1, max_size=8),  # its name
    st.lists(st.sampled_from(["3.11", "3.12", "pypy", "3"]), max_size=3),
    st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    st.lists(TEXTS, max_size=2),  # tags
    st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=3),  # commands
    TEXTS,
)


@given(sessions=st.lists(DECLARED, min_size=1, max_size=4))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_written_loads(folder: Path, sessions: list[tuple]) -> None:  # type: ignore[type-arg]
    lines = ["import nox"]
    for number, (name, pythons, pairs, tags, commands, words) in enumerate(sessions):
        lines += [
            f"@nox.session(name={name!r}, python={pythons or None!r}, tags={tags!r})",
            *([f"@nox.parametrize('a, name', {pairs!r})"] if pairs else []),
            f"def s{number}(session, a={words!r}, name='n'):",
            f"    {words!r}",
            f"    session.install({words!r}, f'x=={{a}}')",
            *(f"    session.run(*{command!r}, a, f'{{name}}-{{a}}')" for command in commands),
            "    session.run('true', f'{session.python}', env={'A': a})",
        ]
    (folder / "noxfile.py").write_text("\n".join(lines), encoding="utf-8")
    try:
        task_file, _ = loaded(folder / "noxfile.py")
    except UsageError as error:
        assert error.message == "nothing of the noxfile can be carried over"  # noqa: PT017
    else:
        assert len({stage.name for stage in task_file.stages}) == len(task_file.stages)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_noxfile_that_lost_lines_never_breaks_anything(folder: Path, name: str) -> None:
    lines = (NOXFILES / name / "noxfile.py").read_text().splitlines()
    for seed in range(60):
        chosen = random.Random(seed)
        kept = [line for line in lines if chosen.random() > 0.08]
        (folder / "noxfile.py").write_text("\n".join(kept))
        try:
            loaded(folder / "noxfile.py")
        except UsageError as error:
            assert "the noxfile" in error.message  # noqa: PT017
            assert error.where  # noqa: PT017
