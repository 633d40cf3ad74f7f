"""Where settings come from, and what is wrong with those that mean nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.cli.settings import KINDS, Settings, resolve, warning
from isol8tasks.errors import SettingsError
from isol8tasks.model.limits import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDE = "[tool.isol8tasks]\n"


def given(
    folder: Path,
    *,
    pyproject: str = "",
    toml: str = "",
    flags: Mapping[str, Any] | None = None,
    **environ: str,
) -> Settings:
    if pyproject:
        (folder / "pyproject.toml").write_text(pyproject)
    if toml:
        (folder / "isol8tasks.toml").write_text(toml)
    return resolve(flags or {}, environ, folder)


def test_defaults(tmp_path: Path) -> None:
    settings = given(tmp_path)
    assert {name: value for name, value, _ in settings.table()} == {
        "file": "(not set)",
        "backend": "(not set)",
        "runtime": "(not set)",
        "jobs": "(not set)",
        "fail_fast": "false",
        "quiet": "false",
        "verbose": "false",
        "color": "auto",
        "report": "(not set)",
        "allow_host_network": "false",
        "allow_unenforced": "(none)",
        "require_enforced": "false",
        "bake_timeout": "10m00s",
        "cache": "(not set)",
        "state": "(not set)",
        "images": "(none)",
        "limits": "(none)",
        "ceilings": "(none)",
    }
    assert {source for _, _, source in settings.table()} == {"default"}


def test_a_flag_beats_a_variable_beats_a_file_beats_the_default(tmp_path: Path) -> None:
    def jobs(**options: Any) -> tuple[int | None, str | None]:
        settings = given(tmp_path, **options)
        return settings.jobs, dict(settings.sources).get("jobs")

    assert jobs() == (None, None)
    assert jobs(pyproject=WIDE + "jobs = 2") == (2, str(tmp_path / "pyproject.toml"))
    assert jobs(ISOL8TASKS_JOBS="3") == (3, "ISOL8TASKS_JOBS")
    assert jobs(ISOL8TASKS_JOBS="3", flags={"jobs": "4"}) == (4, "--jobs")


def test_a_flag_can_take_back_what_a_file_says(tmp_path: Path) -> None:
    assert given(tmp_path, toml="fail_fast = true").fail_fast
    assert not given(tmp_path, flags={"fail_fast": False}).fail_fast


LIMITS = (("memory", "1g"), ("pids", 3), ("timeout", 5))
PAIRS = (("node", "x/n:1"), ("python:3.12", "y:5000/p@sha256:a"))
FROM_FILE = [
    ("jobs", "4", 4),
    ("fail_fast", "true", True),
    ("allow_unenforced", '["memory", "pids"]', {Limit.MEMORY, Limit.PIDS}),
    ("bake_timeout", '"2m"', 120.0),
    ("bake_timeout", "90", 90.0),
    ("backend", '"docker"', "docker"),
    ("color", '"never"', "never"),
    ("images", "{}", ()),
    ("images", "{ node = 'x/n:1', 'python:3.12' = 'y:5000/p@sha256:a' }", PAIRS),
    ("limits", "{ timeout = 5, memory = '1g', pids = 3 }", LIMITS),
    ("ceilings", "{ cpus = 0.5 }", (("cpus", 0.5),)),
    ("ceilings", "{}", ()),
]
FROM_TEXT = [
    ("jobs", "4", 4),
    ("fail_fast", "1", True),
    ("fail_fast", "Yes", True),
    ("fail_fast", "off", False),
    ("allow_unenforced", "memory, pids", {Limit.MEMORY, Limit.PIDS}),
    ("bake_timeout", "2m", 120.0),
    ("bake_timeout", "1.5", 1.5),
    ("backend", "docker", "docker"),
    ("images", "python:3.12 = y:5000/p@sha256:a, node=x/n:1,", PAIRS),
    ("images", "a=b=c", (("a", "b=c"),)),
    ("images", ",", ()),
    ("limits", "timeout=5, memory = 1g ,pids=3", LIMITS),
    ("ceilings", "cpus=0.5", (("cpus", 0.5),)),
]


@pytest.mark.parametrize(("name", "text", "value"), FROM_FILE)
def test_a_value_from_a_file(tmp_path: Path, name: str, text: str, value: object) -> None:
    assert getattr(given(tmp_path, toml=f"{name} = {text}"), name) == value


@pytest.mark.parametrize(("name", "text", "value"), FROM_TEXT)
def test_a_value_from_a_variable(tmp_path: Path, name: str, text: str, value: object) -> None:
    settings = resolve({}, {f"ISOL8TASKS_{name.upper()}": text}, tmp_path)
    assert getattr(settings, name) == value


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    settings = given(tmp_path, ISOL8TASKS_JOBS="", ISOL8TASKS_TYPO="")
    assert (settings.jobs, settings.unknown) == (None, ())


def test_a_list_is_replaced_as_a_whole(tmp_path: Path) -> None:
    settings = given(
        tmp_path, toml='allow_unenforced = ["memory"]', flags={"allow_unenforced": ("pids",)}
    )
    assert settings.allow_unenforced == {Limit.PIDS}
    assert given(tmp_path, flags={"allow_unenforced": ()}).allow_unenforced == {Limit.MEMORY}


WRONG_TEXT = [
    ("jobs", "many", "'many' is not a whole number above zero"),
    ("jobs", "0", "0 is not a whole number above zero"),
    ("fail_fast", "maybe", "'maybe' is not a truth value"),
    ("color", "blue", "'blue' is not a choice"),
    ("bake_timeout", "soon", "'soon' is not a duration"),
    ("allow_unenforced", "memry", "'memry' is not a limit"),
    ("images", "x/n:1", "'x/n:1' is not a map of images"),
    ("images", "a=x,b", "'a=x,b' is not a map of images"),
    ("images", "a=x,a=y", "'a=x,a=y' is not a map of images"),
    ("images", "=x", "'' is not the name of an image"),
    ("images", "a=", "'', for 'a', is not the reference of an image"),
    ("images", "a=x y", "'x y', for 'a', is not the reference of an image"),
    ("limits", "memory", "'memory' is not a map of limits"),
    ("limits", "memory=1g,memory=2g", "'memory=1g,memory=2g' is not a map of limits"),
    ("limits", "mem=1g", "'mem' is not a limit"),
    ("limits", "memory=lots", "memory: 'lots' is not a size"),
    ("ceilings", "pids=1.5", "pids: 1.5 is not a whole number"),
    ("ceilings", "timeout=nan", "timeout: nan is not a duration above zero"),
    ("ceilings", "cpus=inf", "cpus: inf is not a number of cpus above zero"),
    ("ceilings", "timeout=0", "timeout: 0 is not a duration above zero"),
]
WRONG_TOML = [
    ("jobs = true", "jobs: True is not a whole number above zero"),
    ('jobs = "4"', "jobs: '4' is not a whole number above zero"),
    ("jobs = -1", "jobs: -1 is not a whole number above zero"),
    ("fail_fast = 1", "fail_fast: 1 is not a truth value"),
    ('allow_unenforced = "memory"', "allow_unenforced: 'memory' is not a list of limits"),
    ("allow_unenforced = [1]", "allow_unenforced: 1 is not a limit"),
    ('backend = ""', "backend: an empty text means nothing here"),
    ("cache = 1", "cache: 1 is not a path"),
    ("images = 'x'", "images: 'x' is not a map of images"),
    ("[[images]]", "images: [{}] is not a map of images"),
    ("images = { 'a b' = 'x' }", "images: 'a b' is not the name of an image"),
    ("images = { '-a' = 'x' }", "images: '-a' is not the name of an image"),
    ('images = { "a\\u202e" = "x" }', "images: 'a\\u202e' is not the name of an image"),
    ("images = { a = 1 }", "images: 1, for 'a', is not the reference of an image"),
    ("images = { a = '-x' }", "images: '-x', for 'a', is not the reference of an image"),
    ("images = { a = '' }", "images: '', for 'a', is not the reference of an image"),
    ('images = { a = "x\\u0007" }', "images: 'x\\x07', for 'a', is not the reference"),
    ("images.a.b = 'x'", "images: {'b': 'x'}, for 'a', is not the reference of an image"),
    ("limits = 'memory=1g'", "limits: 'memory=1g' is not a map of limits"),
    ("limits = { mem = '1g' }", "limits: 'mem' is not a limit"),
    ("ceilings = { pids = '3' }", "ceilings: pids: '3' is not a whole number"),
    ("ceilings.memory.max = 1", "ceilings: memory: {'max': 1} is not a size"),
    ("workspace = 1", "workspace: 1 is not a truth value"),
]


@pytest.mark.parametrize(("name", "text", "message"), WRONG_TEXT)
def test_a_wrong_variable(tmp_path: Path, name: str, text: str, message: str) -> None:
    variable = f"ISOL8TASKS_{name.upper()}"
    with pytest.raises(SettingsError) as caught:
        resolve({}, {variable: text}, tmp_path)
    assert caught.value.message == f"{variable}: {message}"


def test_a_wrong_value_comes_with_a_right_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        given(tmp_path, ISOL8TASKS_ALLOW_UNENFORCED="memry")
    assert caught.value.hint == "write timeout, memory, cpus, pids, disk, output_limit"


def test_a_wrong_flag(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        given(tmp_path, flags={"bake_timeout": "x"})
    assert caught.value.message.startswith("--bake-timeout: 'x' is not a duration")


@pytest.mark.parametrize(("line", "message"), WRONG_TOML)
def test_a_wrong_value_in_a_file(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        given(tmp_path, toml=line)
    assert caught.value.message.startswith(message)
    assert caught.value.where == (str(tmp_path / "isol8tasks.toml"), 1)
    assert caught.value.hint.startswith("write ") or "empty" in message


PLACES = [
    ("[tool.other]\njobs = 1\n[tool.isol8tasks]\nquiet = true\njobs = 'x'\n", 5),
    ("[tool.isol8tasks]\n'jobs' = 'x'\n", 2),
    ("tool.isol8tasks.jobs = 'x'\n", 1),
    ("[tool]\nisol8tasks.jobs = 'x'\n", 2),
    ("tool = {isol8tasks = {jobs = 'x'}}\n", 0),
]


@pytest.mark.parametrize(("text", "line"), PLACES)
def test_a_wrong_value_has_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(SettingsError) as caught:
        given(tmp_path, pyproject=text)
    assert caught.value.where == (str(tmp_path / "pyproject.toml"), line)
    assert caught.value.hint == "write 1, 2, 3 …"


IMAGE_PLACES = [
    ("pyproject.toml", "[tool.isol8tasks]\njobs = 1\n[tool.isol8tasks.images]\nok = 'x'\n{}\n", 5),
    ("pyproject.toml", "[tool.isol8tasks.images]\n{}\n[tool.isol8tasks]\njobs = 1\n", 2),
    ("pyproject.toml", "[other]\n{}\n[ tool.isol8tasks.'images' ]\n  {}\n", 4),
    ("pyproject.toml", "[tool.isol8tasks]\nimages.ok = 'x'\nimages.{}\n", 3),
    ("pyproject.toml", "[tool.isol8tasks]\njobs = 1\nimages = {{ {} }}\n", 3),
    ("pyproject.toml", "tool.isol8tasks.images.{}\n", 1),
    ("pyproject.toml", "tool = {{isol8tasks = {{images = {{{}}}}}}}\n", 0),
    ("isol8tasks.toml", "jobs = 1\n[images]\nok = 'x'\n{}\n", 4),
    ("isol8tasks.toml", "jobs = 1\n[images.'python:3.12']\nx = 1\n", 2),
    ("isol8tasks.toml", "\nimages = {{ {} }}\n", 2),
]


@pytest.mark.parametrize(("name", "text", "line"), IMAGE_PLACES)
def test_a_wrong_image_has_its_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    (tmp_path / name).write_text(text.format(*["'python:3.12' = 'a b'"] * 2))
    with pytest.raises(SettingsError) as caught:
        given(tmp_path)
    assert caught.value.where == (str(tmp_path / name), line)
    assert caught.value.hint == "write one such as localhost/python:3.12"


def test_what_to_write_for_images_is_right_where_it_is_written(tmp_path: Path) -> None:
    def hint(**wrong: Any) -> str:
        with pytest.raises(SettingsError) as caught:
            given(tmp_path, **wrong)
        return caught.value.hint.removeprefix("write ")

    in_text = hint(ISOL8TASKS_IMAGES="x").partition(", ")[0]
    pairs = given(tmp_path, ISOL8TASKS_IMAGES=in_text).images
    in_toml = hint(toml="images = 1")
    assert given(tmp_path, toml=f"images = {in_toml}").images == pairs
    assert pairs == (("python:3.12", "localhost/python:3.12"),)


def test_a_map_of_images_is_replaced_as_a_whole(tmp_path: Path) -> None:
    settings = given(tmp_path, toml="[images]\na = 'x'\n", ISOL8TASKS_IMAGES="b=y,c=z")
    assert settings.images == (("b", "y"), ("c", "z"))
    table = {name: (value, source) for name, value, source in settings.table()}
    assert table["images"] == ("b=y, c=z", "ISOL8TASKS_IMAGES")


def test_an_unknown_table_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        given(tmp_path, pyproject=WIDE + "jobs = 1\n[tool.isol8tasks.image]\n")
    assert caught.value.message == "'image' is not a setting; did you mean 'images'?"
    assert caught.value.where == (str(tmp_path / "pyproject.toml"), 3)


def test_an_unknown_name_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        given(tmp_path, pyproject=WIDE + "fail-fast = true")
    assert caught.value.message == "'fail-fast' is not a setting; did you mean 'fail_fast'?"
    assert caught.value.hint == f"there are: {', '.join(KINDS)}"


def test_an_unknown_variable_is_only_warned_about(tmp_path: Path) -> None:
    settings = given(tmp_path, ISOL8TASKS_JBOS="3", ISOL8TASKS_X="1", OTHER="1")
    assert [warning(name) for name in settings.unknown] == [
        "ISOL8TASKS_JBOS is not a setting; did you mean 'ISOL8TASKS_JOBS'?",
        "ISOL8TASKS_X is not a setting",
    ]


BROKEN = [
    ("isol8tasks.toml", "jobs =", "this is not valid TOML: Invalid value (at end of document)"),
    ("pyproject.toml", "\n[tool.isol8tasks\n", "this is not valid TOML: "),
    ("pyproject.toml", "tool.isol8tasks = 1", "tool.isol8tasks is not a table"),
    ("isol8tasks.toml", b"\xff", "this is not valid TOML: "),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as caught:
        given(tmp_path)
    assert caught.value.message.startswith(message)
    line = 2 if content == "\n[tool.isol8tasks\n" else 0
    assert caught.value.where == (str(tmp_path / name), line)
    assert caught.value.hint


def test_somebody_elses_broken_pyproject_is_not_our_business(tmp_path: Path) -> None:
    assert given(tmp_path, pyproject="[tool.other").jobs is None


def test_the_nearest_file_with_settings_counts_alone(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(WIDE + "jobs = 2\nquiet = true")
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'isol8tasks-user'")
    assert given(inner).jobs == 2
    (tmp_path / "a" / "isol8tasks.toml").write_text("jobs = 3")
    assert (given(inner).jobs, given(inner).quiet) == (3, False)


def test_isol8tasks_toml_comes_before_pyproject_in_one_folder(tmp_path: Path) -> None:
    assert given(tmp_path, pyproject=WIDE + "jobs = 2", toml="jobs = 3").jobs == 3


def test_settings_are_looked_for_beside_a_task_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "isol8tasks.toml").write_text("jobs = 5")
    assert given(tmp_path).jobs is None
    assert given(tmp_path, flags={"file": "ci/isol8file.py"}).jobs == 5
    assert given(tmp_path, ISOL8TASKS_FILE="ci/isol8file.py").jobs == 5


def test_a_path_is_relative_to_where_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.setenv("HOME", "/home/someone")
    (tmp_path / "isol8tasks.toml").write_text('file = "ci/isol8file.py"\ncache = "~/cache"')
    settings = given(inner, flags={"report": "r.json"})
    assert settings.file == tmp_path / "ci" / "isol8file.py"
    assert settings.cache == Path("/home/someone/cache")
    assert settings.report == inner / "r.json"


def test_a_nearer_file_lies_over_that_of_the_workspace(tmp_path: Path) -> None:
    inner = tmp_path / "a/b/c"
    inner.mkdir(parents=True)
    top, near = tmp_path / "isol8tasks.toml", tmp_path / "a/b/pyproject.toml"
    top.write_text("jobs = 1\nquiet = true\n[ceilings]\npids = 9\n[limits]\npids = 5\n")
    (tmp_path / "a/pyproject.toml").write_text(WIDE + "verbose = true\n")
    near.write_text(WIDE + "jobs = 2\nlimits.cpus = 2\n")
    settings = given(inner)
    assert (settings.jobs, settings.quiet, settings.verbose) == (2, True, False)
    assert (settings.limits, settings.ceilings) == ((("cpus", 2),), (("pids", 9),))
    sources = dict(settings.sources)
    assert (sources["jobs"], sources["quiet"]) == (str(near), str(top))


def test_ceilings_below_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    top = tmp_path / "pyproject.toml"
    top.write_text(WIDE + "workspace = true\n")
    near = tmp_path / "a/pyproject.toml"
    near.write_text(WIDE + "ceilings = { pids = 9 }\n")
    with pytest.raises(SettingsError) as caught:
        given(tmp_path / "a")
    assert caught.value.message == "ceilings are for the whole workspace"
    assert caught.value.where == (str(near), 2)
    assert caught.value.hint == f"set them in {top}"
    top.unlink()
    assert given(tmp_path / "a").ceilings == (("pids", 9),)


def test_a_workspace_within_has_its_own_settings(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "isol8tasks.toml").write_text("quiet = true\n")
    assert not given(tmp_path / "a", toml="jobs = 2\n").quiet


@pytest.mark.root
def test_a_stranger_s_settings_in_a_folder_for_everybody_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "isol8tasks.toml").write_text("jobs = 2\n")
    tmp_path.chmod(0o1777)
    assert given(tmp_path / "a").jobs == 2
    os.chown(tmp_path / "isol8tasks.toml", 64999, 64999)
    assert given(tmp_path / "a").jobs is None
    assert given(tmp_path).jobs == 2


def test_a_workspace_is_no_setting(tmp_path: Path) -> None:
    settings = given(tmp_path, toml="workspace = true\njobs = 2\n")
    assert settings.jobs == 2
    assert "workspace" not in KINDS
