"""What task files of a workspace import and read: whose it is, and that it is not shared."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from tests.unit.taskfile.conftest import Tree, declared, error_of


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
