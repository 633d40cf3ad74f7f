from __future__ import annotations

import os
from pathlib import Path

import pytest

from isol8tasks.backend.contract import EntryKind, TreeEntry
from isol8tasks.errors import Location, PlanError
from isol8tasks.model.image import Image
from isol8tasks.model.stage import Exec, Stage
from isol8tasks.store.inputs import WorkspaceInputs


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def find(root: Path, *globs: str, folder: str = "", default: bool = False) -> dict[str, str]:
    stage = Stage(
        name="s",
        image=Image.bash(),
        command=Exec(("true",)),
        declared_at=Location("isol8file.py", 7),
        inputs=None if default else globs,
        folder=folder,
    )
    entries = WorkspaceInputs(root).declared(stage)
    assert list(entries) == sorted(entries, key=lambda entry: entry.path)
    return {entry.path: content(entry) for entry in entries}


def content(entry: TreeEntry) -> str:
    if entry.source is None:
        return f"-> {entry.target}"
    with entry.source() as file:
        return file.read().decode()


@pytest.mark.parametrize(
    ("glob", "paths"),
    [
        ("src/**", ["src/a.py", "src/deep/b.py", "src/deep/c.txt"]),
        ("src", ["src/a.py", "src/deep/b.py", "src/deep/c.txt"]),
        ("src/**/*.py", ["src/a.py", "src/deep/b.py"]),
        ("src/*.py", ["src/a.py"]),
        ("*.toml", ["x.toml"]),
        ("**", ["src/a.py", "src/deep/b.py", "src/deep/c.txt", "x.toml"]),
        ("src/deep/[bc].*", ["src/deep/b.py", "src/deep/c.txt"]),
        ("x.toml", ["x.toml"]),
    ],
)
def test_globs(tmp_path: Path, glob: str, paths: list[str]) -> None:
    write(tmp_path, "src/a.py", "src/deep/b.py", "src/deep/c.txt", "x.toml", ".git/config")
    write(tmp_path, ".isol8tasks/unit/stdout.log")
    assert list(find(tmp_path, glob)) == paths


def test_globs_are_relative_to_the_task_file(tmp_path: Path) -> None:
    write(tmp_path, "a/x", "a/b/x")
    assert find(tmp_path, "b/*", folder="a") == {"a/b/x": "a/b/x"}


def test_a_glob_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "src/a.py")
    with pytest.raises(PlanError) as caught:
        find(tmp_path, "src/**", "scr/**")
    assert caught.value.message == "the input 'scr/**' of 's' matches no file"
    assert str(caught.value.where) == "isol8file.py:7"
    assert caught.value.hint.startswith(f"globs are relative to {tmp_path}; a stage among")


@pytest.mark.parametrize(
    ("folder", "workdir", "message"),
    [
        ("", "scr", "'s' works in 'scr', where none of its inputs is; did you mean 'src'?"),
        ("a", "scr", "'s' works in 'scr', where none of its inputs is; did you mean 'src'?"),
        ("", "web/app", "'s' works in 'web/app', where none of its inputs is"),
        ("", "src", ""),
        ("a", "src", ""),
        ("", "made/here", ""),
    ],
)
def test_a_working_directory_without_inputs_is_an_error(
    tmp_path: Path, folder: str, workdir: str, message: str
) -> None:
    write(tmp_path, "src/a.py", "a/src/a.py")
    stage = Stage(
        name="s",
        image=Image.bash(),
        command=Exec(("true",)),
        declared_at=Location("isol8file.py", 7),
        inputs=("src/**",),
        files=(("made/here/x", b""),),
        folder=folder,
        workdir=workdir,
    )
    inputs = WorkspaceInputs(tmp_path)
    if not message:
        assert inputs.declared(stage)
        return
    with pytest.raises(PlanError) as caught:
        inputs.declared(stage)
    assert (caught.value.message, str(caught.value.where)) == (message, "isol8file.py:7")


def test_links_are_kept_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    write(outside, "secret")
    write(root, "src/a")
    (root / "src/link").symlink_to("a")
    assert find(root, "src/**") == {"src/a": "src/a", "src/link": "-> a"}
    (root / "src/deep").symlink_to("../src", target_is_directory=True)
    assert find(root, "src/**")["src/deep"] == "-> ../src"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside/secret", ".."])
def test_a_link_that_leaves_the_root_is_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    write(root, "a")
    (root / "link").symlink_to(target if target != ".." else "../..")
    with pytest.raises(PlanError, match="is a link that leaves the workspace root"):
        find(root, "**")


@pytest.mark.parametrize("glob", ["link/**", "link/secret", "link/*"])
def test_a_linked_folder_is_not_searched(tmp_path: Path, glob: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    write(outside, "secret")
    write(root, "a")
    (root / "link").symlink_to(outside, target_is_directory=True)
    with pytest.raises(PlanError):
        find(root, glob)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PlanError, match="'pipe' of 's' is not a regular file"):
        find(tmp_path, "pipe")


def test_a_file_swapped_for_a_link_later_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "a", "secret")
    stage_inputs = WorkspaceInputs(tmp_path)
    stage = Stage(
        name="s",
        image=Image.bash(),
        command=Exec(("true",)),
        declared_at=Location("f", 1),
        inputs=("a",),
    )
    (entry,) = stage_inputs.declared(stage)
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic links"):
        content(entry)


def test_the_executable_bit_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "run.sh", "data")
    (tmp_path / "run.sh").chmod(0o755)
    stage = Stage(
        name="s",
        image=Image.bash(),
        command=Exec(("x",)),
        declared_at=Location("f", 1),
        inputs=("*",),
    )
    entries = WorkspaceInputs(tmp_path).declared(stage)
    assert {entry.path: entry.executable for entry in entries} == {"data": False, "run.sh": True}
    assert {entry.kind for entry in entries} == {EntryKind.FILE}


def test_default_inputs_are_what_git_would_track(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "a.pyc", "build/x", "keep/build/y", "sub/a.tmp", "sub/b", "sub/c.tmp")
    (tmp_path / ".gitignore").write_text("*.pyc\n/build/\n")
    (tmp_path / "sub/.gitignore").write_text("*.tmp\n!c.tmp\n")
    write(tmp_path, ".git/config")
    assert list(find(tmp_path, default=True)) == [
        ".gitignore",
        "a.py",
        "keep/build/y",
        "sub/.gitignore",
        "sub/b",
        "sub/c.tmp",
    ]


def test_ignore_files_above_the_task_file_count_too(tmp_path: Path) -> None:
    write(tmp_path, ".git/info/exclude", "sub/.env", "sub/local", "sub/deep/.env", "sub/kept")
    (tmp_path / ".gitignore").write_text(".env\n")
    (tmp_path / ".git/info/exclude").write_text("local\n")
    assert list(find(tmp_path / "sub", default=True)) == ["kept"]
    assert list(find(tmp_path, folder="sub", default=True)) == ["sub/kept"]


def test_default_inputs_of_an_empty_folder_are_none(tmp_path: Path) -> None:
    assert find(tmp_path, default=True) == {}


@pytest.mark.parametrize("glob", [".git/**", ".git/config", "p/.isol8tasks/**", "p/.isol8tasks/a"])
def test_what_is_never_an_input_is_none_by_name_either(tmp_path: Path, glob: str) -> None:
    for path in (".git/config", "p/.isol8tasks/a", "src/a"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    stage = Stage(
        name="a",
        image=Image.bash(),
        command=Exec(("true",)),
        declared_at=Location("isol8file.py", 1),
        inputs=("src/**", glob),
    )
    with pytest.raises(PlanError, match="matches no file"):
        WorkspaceInputs(tmp_path).declared(stage)
