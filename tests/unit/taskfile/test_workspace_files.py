"""Where a workspace is and where we are in it, and which task files it has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from isol8tasks.errors import PlanError, TaskFileError
from isol8tasks.taskfile.load import load
from isol8tasks.taskfile.workspace import Workspace
from tests.unit.taskfile.conftest import MARKING_HEAD, Tree, declared


@pytest.mark.parametrize(
    ("start", "root", "folder", "package"),
    [("", "", "", ""), ("b", "", "b", ""), ("b/c", "", "b/c", "b/c"), ("d/e/f", "", "d/e/f", "d")],
)
def test_where_we_are(chain: Tree, start: str, root: str, folder: str, package: str) -> None:
    (chain.root / start).mkdir(parents=True, exist_ok=True)
    workspace = chain.at(start)
    assert workspace.root == chain.root / root
    assert (workspace.folder, workspace.package) == (folder, package)


def test_no_task_file_here(tree: Tree) -> None:
    tree.write(p=declared("a"))
    workspace = tree.at()
    assert (workspace.folder, workspace.package) == ("", None)
    assert workspace.request(["//p:a"]).targets == ("//p:a",)
    assert workspace.request(["p:a", "...:a"]).targets == ("//p:a",)
    message = f"no isol8file.py in '{tree.root}' or above it, up to the workspace's root"
    hint = "name a target, such as //... for everything; "
    hint += "run 'isol8tasks init' to write a first one"
    for targets in ([], ["a"]):
        with pytest.raises(TaskFileError) as caught:
            tree.at().request(targets)
        assert (caught.value.message.replace("/.'", "'"), caught.value.hint) == (message, hint)


def test_no_workspace_at_all(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        Workspace.around(tmp_path)
    assert caught.value.message == f"no isol8file.py in '{tmp_path}' or above it"


def test_a_nested_workspace_does_not_look_above_itself(chain: Tree) -> None:
    chain.files({"nested/isol8tasks.toml": ""})
    workspace = chain.at("nested")
    assert (workspace.root, workspace.package) == (chain.root / "nested", None)
    assert workspace.everything("") == ()


def test_another_file_by_name(tree: Tree) -> None:
    tree.write(p=declared("a"), q=declared("b", "requires=['//p:other']"))
    (tree.root / "p/other.py").write_text(MARKING_HEAD + declared("other"))
    workspace = tree.at("q", file="p/other.py")
    assert (workspace.root, workspace.package, workspace.folder) == (tree.root, "p", "q")
    request = workspace.request(["other", "//q:b"])
    assert request.targets == ("//p:other", "//q:b")
    assert request.taskfile.path == str(tree.root / "p/other.py")
    assert workspace.everything("") == ("p", "q")


def test_from_outside_by_name(tree: Tree, tmp_path: Path) -> None:
    tree.write(p=declared("a"))
    workspace = Workspace.around(tmp_path, tree.root / "p/isol8file.py")
    assert (workspace.root, workspace.package, workspace.folder) == (tree.root, "p", "p")
    assert workspace.request([".:a"]).targets == ("//p:a",)


NOT_SEARCHED = [".hidden", "node_modules", "__pycache__", "env/lib/site-packages", "p/.venv"]


def test_what_is_searched_without_git(tree: Tree) -> None:
    for name in ("root", "p", "p/q", "venv/lib", "link-target", *NOT_SEARCHED):
        tree.write(**{name: declared("a")})
    tree.files({"venv/pyvenv.cfg": ""})
    (tree.root / "link").symlink_to("link-target")
    workspace = tree.at()
    assert workspace.everything() == ("", "link-target", "p", "p/q")
    assert workspace.everything("p") == ("p", "p/q")
    assert tree.at("p/q").everything() == ("p/q",)


def test_what_is_searched_with_git(tree: Tree) -> None:
    tree.write(root=declared("a"), p=declared("b"), out=declared("c"), gone=declared("d"))
    git = ("git", "-C", str(tree.root), "-c", "init.defaultBranch=main")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "gone", "p"], check=True)
    (tree.root / ".gitignore").write_text("out/\n")
    (tree.root / "gone/isol8file.py").unlink()
    assert tree.at().everything() == ("", "p")
    assert tree.at("out").everything() == ("out",)
    assert tree.at().request(["//out:c"]).targets == ("//out:c",)


def test_a_file_alone_is_its_own_root(tree: Tree) -> None:
    tree.write(p=declared("a"))
    alone = load(tree.root / "p/isol8file.py")
    assert [stage.name for stage in alone.stages] == ["a"]
    assert (alone.folder, alone.folders) == ("", frozenset({""}))
    within = load(tree.root / "p/isol8file.py", root=tree.root)
    assert [stage.name for stage in within.stages] == ["//p:a"]
    assert (within.folder, within.folders) == ("p", frozenset({"p"}))


def test_a_folder_with_a_directory_for_a_task_file(tree: Tree) -> None:
    (tree.root / "p/isol8file.py").mkdir(parents=True)
    with pytest.raises(PlanError, match=r"there is no p/isol8file\.py"):
        tree.at().request(["//p:a"])
