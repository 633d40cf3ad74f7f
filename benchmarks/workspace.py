"""A workspace of 1,000 packages and 3,000 stages: listing, choosing, and looking at changes.

Loading all task files is timed apart, in a process of its own: `list --affected` may cost that, and
2.5 times `git status`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bench

PACKAGES = 1000
SHARED = """
from isol8tasks import Image
python = Image.python()
tests = python.pip("pytest==8.4.2")
"""
TASK_FILE = '''"""Checks of one package."""

from isol8tasks import stage, task
from tools.images import python, tests

syntax = stage("syntax", image=python, run="python -m compileall -q src", inputs=["src/**"])
lint = stage("lint", image=tests, run="ruff check src", inputs=["src/**"], tags=["quick"])
unit = stage(
    "unit",
    image=tests,
    run="pytest -q",
    inputs=["src/**", "tests/**"],
    requires=[syntax, {needs}],
)
task("checks", lint, unit, default=True)
'''
NOXFILE = f"""
import nox
for number in range({PACKAGES}):
    for name in ("syntax", "lint", "unit"):
        @nox.session(name=f"pkg{{number:04}}-{{name}}", venv_backend="none")
        def session(session):
            session.run("true", external=True)
"""
LOAD = """
import sys
from pathlib import Path
from isol8tasks.taskfile.workspace import Workspace
workspace = Workspace.around(Path.cwd())
files, errors = workspace.load_all(workspace.everything(""))
assert len(files) == int(sys.argv[1]) and not errors
"""


def main() -> None:
    rounds = bench.rounds(10, __doc__)
    ours = bench.program("isol8tasks")
    if ours is None:
        sys.exit("isol8tasks is not installed beside this Python")
    with bench.workplace() as place:
        tree = generated(place / "workspace")
        commands = {
            "python -c pass": ((sys.executable, "-c", "pass"), tree),
            "git status": (("git", "status", "--short"), tree),
            "load all task files": ((sys.executable, "-c", LOAD, str(PACKAGES)), tree),
            "isol8tasks list": ((ours, "list"), tree),
            "isol8tasks list --affected": ((ours, "list", "--affected"), tree),
            "run //pkg0500:unit --dry-run": (
                (ours, "run", "//pkg0500:unit", "--dry-run", "--backend", "bubblewrap"),
                tree,
            ),
        }
        if nox := bench.program("nox"):
            folder = bench.written(place / "nox", "noxfile.py", NOXFILE)
            commands["nox -l of 3,000 sessions"] = ((nox, "-l"), folder)
        competitors = {
            name: bench.command(*words, cwd=cwd) for name, (words, cwd) in commands.items()
        }
        results = bench.race(competitors, rounds=rounds)
    bench.table("Against python -c pass", results, base="python -c pass")
    compared = {
        name: results[name]
        for name in ("git status", "isol8tasks list", "isol8tasks list --affected")
    }
    bench.table("Against git status", compared, base="git status")
    if nox:
        pair = {name: results[name] for name in ("nox -l of 3,000 sessions", "isol8tasks list")}
        bench.table("Against nox -l", pair, base="nox -l of 3,000 sessions")
    allowed = results["load all task files"].min + 2.5 * results["git status"].min
    ratio = results["isol8tasks list --affected"].min / allowed
    print(
        f"\nlist --affected / (load + 2.5 git status), of minima: {ratio:.2f} (target: at most 1)"
    )


def generated(root: Path) -> Path:
    """The packages, committed, and one file changed."""
    bench.written(root, "isol8tasks.toml", "[limits]\ntimeout = '1m'\n")
    bench.written(root / "tools", "images.py", SHARED)
    for number in range(PACKAGES):
        folder = root / f"pkg{number:04}"
        needs = f'"//pkg{number // 2:04}:unit"' if number and number % 3 == 0 else ""
        bench.written(folder, "isol8file.py", TASK_FILE.replace("{needs}", needs))
        for module in ("one", "two", "three"):
            bench.written(folder / "src", f"{module}.py", "x = 1\n")
        bench.written(folder / "tests", "test_one.py", "def test_one(): pass\n")
    nobody = ("-c", "user.name=x", "-c", "user.email=x")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*nobody, "commit", "-qm", "one")):
        subprocess.run(["git", *words], cwd=root, check=True, env={**os.environ, "LC_ALL": "C"})
    with (root / "pkg0250/src/one.py").open("a") as file:
        file.write("y = 2\n")
    return root


if __name__ == "__main__":
    main()
