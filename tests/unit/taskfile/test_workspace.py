from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from isol8tasks.errors import PlanError, TaskFileError, UsageError
from isol8tasks.plan.plan import build
from isol8tasks.plan.select import select
from isol8tasks.taskfile.load import load
from isol8tasks.taskfile.workspace import Problems, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isol8tasks.model.stage import TaskFile

HEAD = (
    "from isol8tasks import Image, stage, task\nran = open(__file__ + '.ran', 'w')\nran.close()\n"
)
SEE_ALL = "run 'isol8tasks list' in the workspace's root to see what is declared"
SEE_LIST = "run 'isol8tasks list' to see what is declared"


def declared(name: str, words: str = "") -> str:
    """A line that declares a stage."""
    return f"stage('{name}', image=Image.bash(), run='x'{words and ', ' + words})\n"


@attrs.frozen
class Tree:
    """A folder of task files, of which each leaves a mark when it runs."""

    root: Path

    def write(self, **files: str) -> None:
        """Task files by their folders, "root" for the root."""
        for name, text in files.items():
            folder = self.root / ("" if name == "root" else name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "isol8file.py").write_text(HEAD + text)

    def files(self, files: Mapping[str, str]) -> None:
        """Any other files by their paths."""
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def at(self, folder: str = "", file: str | None = None) -> Workspace:
        """The workspace as it is from a folder."""
        return Workspace.around(self.root / folder, None if file is None else self.root / file)

    @property
    def ran(self) -> set[str]:
        """The folders whose task files ran since this was last asked."""
        found = list(self.root.rglob("*.ran"))
        for mark in found:
            mark.unlink()
        return {mark.parent.relative_to(self.root).as_posix() for mark in found}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """An empty workspace that we are in."""
    root = tmp_path / "ws"
    root.mkdir()
    monkeypatch.chdir(root)
    (root / "isol8tasks.toml").write_text("")
    return Tree(root)


@pytest.fixture
def chain(tree: Tree) -> Tree:
    """`root` requires `//a:a`, that the task of `//b/c`, and that is of `//b/c:c`; `d` is alone."""
    tree.write(
        root=declared("unit", "requires=['//a:a']") + declared("alone"),
        a=declared("a", "requires=['//b/c:all']"),
        d=declared("d"),
        **{"b/c": declared("c") + "task('all', 'c')\n", "broken": "1 / 0\n"},
    )
    return tree


def error_of(workspace: Workspace, *targets: str) -> tuple[str, str, str]:
    with pytest.raises(UsageError) as caught:
        workspace.request(targets)
    assert not isinstance(caught.value, Problems)
    return str(caught.value.where), caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("start", "targets", "found", "ran"),
    [
        ("", ["unit"], ["unit"], {".", "a", "b/c"}),
        ("", ["alone"], ["alone"], {"."}),
        ("", [], [], {".", "a", "b/c"}),
        ("d", [], [], {"d"}),
        ("d", ["d"], ["//d:d"], {"d"}),
        ("d", ["//b/c:c"], ["//b/c:c"], {"b/c"}),
        ("b", ["c:c"], ["//b/c:c"], {"b/c"}),
        ("b", ["alone"], ["alone"], {"."}),
        ("b", ["c/...", ":alone"], ["//b/c:c", "alone"], {".", "b/c"}),
        ("", ["b/...:c"], ["//b/c:c"], {"b/c"}),
        ("", ["//b/...:all", "d:d"], ["//b/c:all", "//d:d"], {"b/c", "d"}),
    ],
)
def test_only_what_is_needed_runs(
    chain: Tree, start: str, targets: list[str], found: list[str], ran: set[str]
) -> None:
    request = chain.at(start).request(targets)
    assert request.targets == tuple(found)
    assert chain.ran == ran
    assert {"" if folder == "." else folder for folder in ran} == request.taskfile.folders


def test_a_file_runs_once(tree: Tree) -> None:
    tree.write(
        root="with open('runs', 'a') as runs:\n    print(end='x', file=runs)\n"
        + declared("a")
        + declared("b"),
        p=declared("c", "requires=['//:a', '//:b']"),
    )
    workspace = tree.at()
    workspace.request(["//p:c", "a", "//...:b"], skip=["b"])
    workspace.request([], below="")
    assert (tree.root / "runs").read_text() == "x"


def test_skipped_names_are_looked_up_too(chain: Tree) -> None:
    request = chain.at("b/c").request(["c"], skip=["//d:d", "...:c"])
    assert request.skip == ("//d:d", "//b/c:c")
    assert chain.ran == {"b/c", "d"}


def test_the_same_name_twice_is_one(chain: Tree) -> None:
    targets = ["//d:d", "d:d", "//...:d"]
    (chain.root / "broken/isol8file.py").unlink()
    assert chain.at().request(targets).targets == ("//d:d",)


def test_a_pattern_without_a_name_is_what_runs_by_default(tree: Tree) -> None:
    tree.write(
        root=declared("a"),
        p=declared("b") + declared("c") + "task('t', 'b', default=True)\n",
        q=declared("d") + declared("e"),
    )
    assert tree.at().request(["//..."]).targets == ("a", "//p:t", "//q:d", "//q:e")
    assert tree.at("p").request(["..."]).targets == ("//p:t",)


@pytest.mark.parametrize(
    ("start", "targets", "message", "hint"),
    [
        ("", ["zz:a"], "there is no 'zz:a': there is no zz/isol8file.py", SEE_ALL),
        ("", ["//b:a"], "there is no '//b:a': there is no b/isol8file.py", SEE_ALL),
        ("b", ["//zz:a"], "there is no '//zz:a': there is no zz/isol8file.py", SEE_ALL),
        ("b", ["zz:a"], "there is no 'zz:a': there is no b/zz/isol8file.py", SEE_ALL),
        ("", ["//zz/..."], "'//zz/...' matches no task file", SEE_ALL),
        ("", ["d/...:x"], "'d/...:x' matches no stage and no task", SEE_ALL),
        (
            "",
            ["b/...:al"],
            "'b/...:al' matches no stage and no task; did you mean 'all'?",
            SEE_ALL,
        ),
        (
            "",
            ["//d"],
            "'//d' names no stage and no task",
            "write //d:NAME, or //d/... for all below it",
        ),
    ],
)
def test_targets_that_are_not_there(
    chain: Tree, start: str, targets: list[str], message: str, hint: str
) -> None:
    assert error_of(chain.at(start), *targets) == ("None", message, hint)


@pytest.fixture
def patterns(tree: Tree) -> Tree:
    """A root whose tasks stand for what two packages declare."""
    tasks = "task('all', '//s/...', 'unit')\ntask('checks', '...:checks')\n"
    text = declared("unit") + declared("lint") + "task('checks', 'unit', default=True)\n"
    tree.write(root=declared("unit") + tasks, **{"s/a": text, "s/b": text})
    return tree


@pytest.mark.parametrize(
    ("target", "task", "members"),
    [
        ("all", "all", ("//s/a:checks", "//s/b:checks", "unit")),
        ("checks", "checks", ("//s/a:checks", "//s/b:checks")),
    ],
)
def test_a_pattern_as_a_member(
    patterns: Tree, target: str, task: str, members: tuple[str, ...]
) -> None:
    found = patterns.at().request([target]).taskfile
    assert {each.name: each.members for each in found.tasks}[task] == members
    assert patterns.ran == {".", "s/a", "s/b"}
    root = ["unit"] if target == "all" else []
    assert sorted(_planned(found, target)) == ["//s/a:unit", "//s/b:unit", *root]


def _planned(found: TaskFile, target: str) -> list[str]:
    return [stage.name for stage in build(found, [target]).stages]


@pytest.mark.parametrize("target", ["unit", "//s/a:checks", "checks"])
def test_a_pattern_that_nobody_asked_for(patterns: Tree, target: str) -> None:
    found = patterns.at().request([target]).taskfile
    assert _planned(found, target)
    assert (
        patterns.ran
        == {
            "unit": {"."},
            "//s/a:checks": {"s/a"},
            "checks": {".", "s/a", "s/b"},
        }[target]
    )


def test_without_a_target_only_what_runs_by_default_is_needed(patterns: Tree) -> None:
    patterns.write(broken="1 / 0\n", root=declared("unit") + "task('all', '//...')\n")
    found = patterns.at().request([]).taskfile
    assert select(found) == ("unit",)
    assert patterns.ran == {"."}


def test_a_pattern_that_matches_nothing(tree: Tree) -> None:
    tree.write(p=declared("a") + "task('t', 'a', '...:b', '//q/...')\n")
    assert error_of(tree.at(), "//p:t") == (
        "p/isol8file.py:5",
        "'//p/...:b' matches no stage and no task",
        SEE_ALL,
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            declared("a", "requires=['//zz:x']"),
            4,
            "stage '//p:a' requires '//zz:x': there is no zz/isol8file.py",
        ),
        (
            declared("a", "inputs=['//zz:x']"),
            4,
            "stage '//p:a' requires '//zz:x': there is no zz/isol8file.py",
        ),
        (
            declared("b") + "task('a', 'b', '//zz:x')\n",
            5,
            "task '//p:a' has the member '//zz:x': there is no zz/isol8file.py",
        ),
        (
            declared("a", "requires=['q:x']"),
            4,
            "stage '//p:a' requires '//p/q:x': there is no p/q/isol8file.py",
        ),
        (
            declared("a", r"requires=['//zz\0:x']"),
            4,
            "stage '//p:a' requires '//zz\0:x': there is no zz\0/isol8file.py",
        ),
        (
            declared("a", "requires=['//' + 'z' * 300 + ':x']"),
            4,
            f"stage '//p:a' requires '//{'z' * 300}:x': there is no {'z' * 300}/isol8file.py",
        ),
    ],
)
def test_a_prerequisite_in_no_task_file(tree: Tree, text: str, line: int, message: str) -> None:
    tree.write(p=text)
    assert error_of(tree.at(), "//p:a") == (f"p/isol8file.py:{line}", message, SEE_ALL)


def test_a_prerequisite_in_a_broken_file_is_that_files_error(tree: Tree) -> None:
    tree.write(p=declared("a", "requires=['//q:b']"), q="\n1 / 0\n")
    assert error_of(tree.at(), "//p:a") == (
        "q/isol8file.py:5",
        "ZeroDivisionError: division by zero",
        "run 'PYTHONPATH=. python q/isol8file.py' to see the whole traceback",
    )


def test_a_broken_file_elsewhere_is_no_concern(chain: Tree) -> None:
    chain.at().request(["unit", "//d:d"])
    chain.at().request(["b/...:c"])


def test_patterns_meet_every_broken_file(chain: Tree) -> None:
    assert error_of(chain.at(), "//...:d")[:2] == (
        "broken/isol8file.py:4",
        "ZeroDivisionError: division by zero",
    )
    chain.write(other="x = \n")
    for words in ({"targets": ["//...:d"]}, {"targets": [], "below": ""}):
        with pytest.raises(Problems) as caught:
            chain.at().request(**words)
        assert caught.value.message == "2 task files are wrong"
        assert [str(error.where) for error in caught.value.errors] == [
            "broken/isol8file.py:4",
            "other/isol8file.py:4",
        ]


def test_all_that_can_be_loaded_is(chain: Tree) -> None:
    workspace = chain.at()
    files, errors = workspace.load_all(workspace.everything())
    assert [file.folder for file in files] == ["", "a", "b/c", "d"]
    assert [str(error.where) for error in errors] == ["broken/isol8file.py:4"]
    together = workspace.together(files)
    assert [stage.name for stage in together.stages] == [
        "unit",
        "alone",
        "//a:a",
        "//b/c:c",
        "//d:d",
    ]
    assert (together.root, together.folder) == (str(chain.root), "")


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
    (tree.root / "p/other.py").write_text(HEAD + declared("other"))
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


def test_sources(tree: Tree) -> None:
    tree.files(
        {
            "tools/images.py": "from isol8tasks import Image\nbash = Image.bash()\n",
            "shared/__init__.py": "from shared.deep import x\n",
            "shared/deep.py": "import json\nx = 1\n",
            "p/beside.py": "from pathlib import Path\nPath('../names.txt').read_text()\n",
            "p/data.json": "{}",
            "names.txt": "a b",
            "q/unused.py": "",
        }
    )
    tree.write(
        p="import os\nos.chdir(os.path.dirname(__file__))\n"
        "from tools.images import bash\nimport beside, shared, zipfile\n"
        "from pathlib import Path\nPath('data.json').read_bytes()\nopen('../w', 'w').close()\n"
        "os.scandir('.').close()\nstage('a', image=bash, run='x')\n",
        q=declared("b"),
    )
    want = {
        "p/isol8file.py",
        "tools/images.py",
        "p/beside.py",
        "shared/__init__.py",
        "shared/deep.py",
        "names.txt",
        "p/data.json",
        "p/",  # was listed, and not only by imports
    }
    for _ in range(2):  # the second time from .pyc files
        assert tree.at().load("p").sources == want
        os.chdir(tree.root)
    assert tree.at().load("q").sources == {"q/isol8file.py"}
    workspace = tree.at()
    both = workspace.together([workspace.load("p"), workspace.load("q")])
    assert both.sources == {*want, "q/isol8file.py"}


def test_the_working_directory_is_given_back(tree: Tree) -> None:
    tree.write(p="import os\nos.chdir(os.path.dirname(__file__))\n" + declared("a"))
    tree.at().load("p")
    assert Path.cwd() == tree.root


def test_neighbours_of_one_name_do_not_clash(tree: Tree) -> None:
    tree.files({"p/names.py": "A = 'from-p'\n", "q/names.py": "A = 'from-q'\n"})
    text = "import names\nstage(names.A, image=Image.bash(), run='x')\n"
    tree.write(p=text, q=text)
    workspace = tree.at()
    for folder in ("p", "q"):
        (found,) = workspace.load(folder).stages
        assert found.name == f"//{folder}:from-{folder}"
    assert "names" not in sys.modules


def test_a_neighbour_comes_before_the_root(tree: Tree) -> None:
    tree.files({"names.py": "A = 'root'\n", "q/names.py": "A = 'own'\n"})
    text = "import names\nstage(names.A, image=Image.bash(), run='x')\n"
    tree.write(root=text, p=text, q=text)
    files, errors = tree.at().load_all(["", "p", "q"])
    assert errors == []
    assert [stage.name for file in files for stage in file.stages] == [
        "root",
        "//p:root",
        "//q:own",
    ]


def test_a_package_over_both_folders_is_the_neighbours(tree: Tree) -> None:
    tree.files({"tools/__init__.py": "A = 'root'\n", "p/tools/__init__.py": "A = 'own'\n"})
    text = "import tools\nstage(tools.A, image=Image.bash(), run='x')\n"
    tree.write(p=text, q=text)
    files, _ = tree.at().load_all(["p", "q"])
    assert [stage.name for file in files for stage in file.stages] == ["//p:own", "//q:root"]


@pytest.mark.parametrize("kind", ["namespace", "package"])
def test_the_state_of_a_module_is_not_shared(tree: Tree, kind: str) -> None:
    tree.files({"tools/state.py": "seen = []\n"})
    if kind == "package":
        tree.files({"tools/__init__.py": ""})
    text = "from tools.state import seen\nassert seen == [], seen\nseen.append(1)\n"
    tree.write(p=text + declared("a"), q=text + declared("b"))
    assert tree.at().load_all(["p", "q"])[1] == []
    assert not {"tools", "tools.state"} & sys.modules.keys()


def test_a_module_that_was_imported_before_is_not_shared(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.files({"before_all.py": "seen = []\n"})
    """As in a noxfile, whose own process runs the task file."""
    monkeypatch.syspath_prepend(str(tree.root))
    before_all = importlib.import_module("before_all")
    monkeypatch.setitem(sys.modules, "before_all", before_all)
    text = "from before_all import seen\nassert seen == [], seen\nseen.append(1)\n"
    tree.write(p=text + declared("a"), q=text + declared("b"))
    files, errors = tree.at().load_all(["p", "q"])
    assert errors == []
    assert all("before_all.py" in file.sources for file in files)
    assert sys.modules["before_all"] is before_all
    assert before_all.seen == []


def test_a_search_path_of_a_task_file_is_its_own(tree: Tree) -> None:
    tree.files({"p/more/only_for_p.py": ""})
    path = "import sys, os\nsys.path.insert(0, os.path.dirname(__file__) + '/more')\n"
    tree.write(p=path + "import only_for_p\n" + declared("a"), q="import only_for_p\n")
    before = list(sys.path)
    _, errors = tree.at().load_all(["p", "q"])
    assert [error.message for error in errors] == [
        "ModuleNotFoundError: No module named 'only_for_p'"
    ]
    assert sys.path == before


def test_a_module_that_declares_declares_for_each(tree: Tree) -> None:
    tree.files(
        {
            "tools/common.py": "from isol8tasks import Image, stage\n"
            "lint = stage('lint', image=Image.bash(), run='x')\n"
        }
    )
    text = "from tools.common import lint\n" + declared("unit", "requires=[lint]")
    tree.write(root=text, p=text)
    files, _ = tree.at().load_all(["", "p"])
    found = [stage for file in files for stage in file.stages]
    assert [(stage.name, stage.folder, stage.requires) for stage in found] == [
        ("lint", "", ()),
        ("unit", "", ("lint",)),
        ("//p:lint", "p", ()),
        ("//p:unit", "p", ("//p:lint",)),
    ]
    assert str(found[2].declared_at) == "tools/common.py:2"


def test_a_workspace_below_the_prefix_of_python_is_the_users(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /usr/src/app is for a system's own Python."""
    monkeypatch.setattr(sys, "prefix", str(tree.root.parent))
    tree.files({"p/names.py": "A = 'from-p'\n", "q/names.py": "A = 'from-q'\n"})
    text = "import names\nstage(names.A, image=Image.bash(), run='x')\n"
    tree.write(p=text, q=text)
    files, _ = tree.at().load_all(["p", "q"])
    sys.modules.pop("names", None)
    assert [stage.name for file in files for stage in file.stages] == ["//p:from-p", "//q:from-q"]
    assert files[0].sources == {"p/isol8file.py", "p/names.py"}


def test_what_is_installed_stays(tree: Tree) -> None:
    tree.files({"lib/site-packages/installed_here.py": "seen = []\n"})
    path = "import sys\nsys.path.append('lib/site-packages')\n"
    text = path + "import installed_here\n"
    tree.write(p=text + declared("a"))
    try:
        assert tree.at().load("p").sources == {"p/isol8file.py"}
        assert "installed_here" in sys.modules
    finally:
        sys.modules.pop("installed_here", None)


def test_a_broken_module_names_its_own_line(tree: Tree) -> None:
    tree.files({"tools/images.py": "\n1 / 0\n"})
    tree.write(p="from tools import images\n" + declared("a"))
    assert error_of(tree.at(), "//p:a")[:2] == (
        "tools/images.py:2",
        "ZeroDivisionError: division by zero",
    )


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
