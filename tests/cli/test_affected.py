"""`--affected` on real git repositories: what a change runs, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Program

PACKAGE = """
from isol8tasks import Image, stage, task
from tools.images import shell

words = {"image": shell, "run": "cat src/a >checked"}
check = stage("check", inputs=["src/**"], outputs=["checked"], **words)
every = stage("every", image=shell, run="true")
task("checks", check, every, default=True)
"""
APP = """
from isol8tasks import Image, stage
from tools.images import configured

stage("test", image=configured, run="true", inputs=["src/**", "//libs/core:check"])
stage("docs", image=configured, run="true", inputs=["docs/**"])
"""
ROOT = """
from isol8tasks import Image, stage
from pathlib import Path
bash, version = Image.bash(), ["VERSION"]
stage("release", image=bash, run="true", inputs=version, requires=["//libs/core:checks"])
stage(Path("NAME").read_text().strip(), image=bash, run="true", inputs=version)
"""
FILES = {
    "isol8tasks.toml": "",
    "isol8file.py": ROOT,
    "NAME": "named\n",
    "VERSION": "1\n",
    "tools/images.py": "from isol8tasks import Image\nfrom tools.base import shell\n"
    "configured = shell.file('tools/rc', '/rc')\n",
    "tools/base.py": "from isol8tasks import Image\nshell = Image.bash()\n",
    "tools/rc": "x\n",
    "libs/core/isol8file.py": PACKAGE,
    "libs/core/src/a": "a\n",
    "libs/core/notes": "n\n",
    "libs/other/isol8file.py": PACKAGE,
    "libs/other/src/a": "b\n",
    "apps/app/isol8file.py": APP,
    "apps/app/src/m": "m\n",
    "apps/app/docs/d": "d\n",
    ".gitignore": "*.log\nchecked\n",
}

CORE, OTHER, APPS = "//libs/core", "//libs/other", "//apps/app"
OF_CORE = {f"{CORE}:check", f"{CORE}:every", "release", f"{APPS}:test"}
OF_OTHER = {f"{OTHER}:check", f"{OTHER}:every"}
ALL = OF_CORE | OF_OTHER | {f"{APPS}:docs", "named"}


class Repository:
    """A repository with the files above as its first commit, on a branch of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path, text in FILES.items():
            self.write(path, text)
        self.git("init", "-q", "-b", "main")
        self.commit()
        self.git("checkout", "-q", "-b", "topic")

    def git(self, *words: str) -> str:
        who = {
            f"GIT_{role}_{what}": "x"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        environ = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}
        ran = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env=environ,
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "a change")

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def append(self, path: str, text: str = "more\n") -> None:
        self.write(path, (self.folder / path).read_text() + text)

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def move(self, old: str, new: str) -> None:
        (self.folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(self.folder / new)


Change = Callable[[Repository], None]

CHANGES: dict[str, tuple[Change, set[str]]] = {
    "nothing": (lambda _: None, set()),
    "a file is added": (lambda r: r.write("libs/core/src/new", ""), OF_CORE),
    "a file is edited": (lambda r: r.append("libs/core/src/a"), OF_CORE),
    "a file is deleted": (lambda r: r.remove("libs/core/src/a"), OF_CORE),
    "a file is renamed": (lambda r: r.move("apps/app/docs/d", "apps/app/docs/e"), {f"{APPS}:docs"}),
    "a file moves to another package": (
        lambda r: r.move("libs/core/src/a", "libs/other/src/b"),
        OF_CORE | OF_OTHER,
    ),
    "a file moves out of sight": (
        lambda r: r.move("apps/app/docs/d", "apps/app/readme"),
        {f"{APPS}:docs"},
    ),
    "a file that only git's view has": (
        lambda r: r.append("libs/core/notes"),
        {f"{CORE}:every", "release"},
    ),
    "a file of the root": (lambda r: r.append("VERSION"), {"release", "named"}),
    "a task file": (
        lambda r: r.append("apps/app/isol8file.py", "# more\n"),
        {f"{APPS}:test", f"{APPS}:docs"},
    ),
    "a task file, which others do not import": (
        lambda r: r.append("libs/other/isol8file.py", "# more\n"),
        OF_OTHER,
    ),
    "a file that a task file reads": (lambda r: r.write("NAME", "named \n"), {"release", "named"}),
    "a shared module": (
        lambda r: r.append("tools/images.py", "# more\n"),
        ALL - {"named"},
    ),
    "a module that the shared one imports": (
        lambda r: r.append("tools/base.py", "# more\n"),
        ALL - {"named"},
    ),
    "an image's file": (lambda r: r.append("tools/rc"), {f"{APPS}:test", f"{APPS}:docs"}),
    "the lock": (lambda r: r.write("isol8tasks.lock", ""), ALL),
    "the workspace file": (lambda r: r.append("isol8tasks.toml", "jobs = 1\n"), ALL),
    "a file that nobody has": (lambda r: r.write("elsewhere/x", ""), set()),
    "an ignored file": (lambda r: r.write("libs/core/src/a.log", ""), set()),
    "a mode": (lambda r: (r.folder / "libs/core/src/a").chmod(0o755), OF_CORE),
    "a package that is new": (
        lambda r: r.write("libs/third/isol8file.py", PACKAGE.replace("src/a", "b")),
        {"//libs/third:check", "//libs/third:every"},
    ),
}


def test_what_a_link_leads_to(isol8tasks: Program, repository: Repository) -> None:
    shared = repository.folder / "libs/shared.py"
    repository.move("libs/other/isol8file.py", "libs/shared.py")
    (repository.folder / "libs/other/isol8file.py").symlink_to("../shared.py")
    repository.commit()
    repository.git("branch", "-f", "main")
    shared.write_text(shared.read_text() + "# more\n")
    assert set(affected(isol8tasks)) == OF_OTHER


def test_a_folder_that_a_task_file_lists(isol8tasks: Program, repository: Repository) -> None:
    listing = "import os\nfrom isol8tasks import Image, stage\nnames = sorted(os.listdir('data'))\n"
    listing += (
        "stage('data', image=Image.bash(), run='true', inputs=[f'data/{n}' for n in names])\n"
    )
    repository.write("isol8file.py", listing)
    repository.write("data/one", "")
    repository.write("data/two", "")
    repository.commit()
    repository.git("branch", "-f", "main")
    repository.git("rm", "-q", "data/two")
    assert set(affected(isol8tasks)) == {"data"}


@pytest.fixture
def repository(folder: Path) -> Repository:
    return Repository(folder)


def affected(isol8tasks: Program, *words: str) -> dict[str, str]:
    ran = isol8tasks("list", "--affected", "--json", *words)
    assert ran.code == 0, ran
    return {stage["name"]: stage["because"] for stage in json.loads(ran.stdout)["stages"]}


@pytest.mark.parametrize("how", ["committed", "staged", "unstaged"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_change(isol8tasks: Program, repository: Repository, what: str, how: str) -> None:
    change, expected = CHANGES[what]
    change(repository)
    if how != "unstaged":
        repository.git("add", "-A")
    if how == "committed":
        repository.git("commit", "-qm", "a change", "--allow-empty")
    found = affected(isol8tasks)
    assert set(found) == expected
    assert all(found.values())


def test_a_scripted_history(isol8tasks: Program, repository: Repository) -> None:
    """Everything since the branch began, and no more than the main branch has not."""
    repository.append("apps/app/docs/d")
    repository.commit()
    repository.move("libs/other/src/a", "libs/other/src/c")
    repository.commit()
    repository.append("VERSION")
    assert set(affected(isol8tasks)) == {f"{APPS}:docs", *OF_OTHER, "release", "named"}
    assert set(affected(isol8tasks, "--since", "HEAD")) == {"release", "named"}
    repository.commit()
    assert set(affected(isol8tasks, "--since", "HEAD~1")) == {"release", "named"}
    repository.git("checkout", "-q", "main")
    repository.append("libs/core/src/a")
    repository.commit()
    repository.git("checkout", "-q", "topic")
    assert set(affected(isol8tasks)) == {f"{APPS}:docs", *OF_OTHER, "release", "named"}


def test_targets_narrow_what_is_affected(isol8tasks: Program, repository: Repository) -> None:
    repository.append("tools/base.py", "# more\n")
    assert set(affected(isol8tasks, "//libs/...:check")) == {f"{CORE}:check", f"{OTHER}:check"}
    assert set(affected(isol8tasks, "//apps/app:docs")) == {f"{APPS}:docs"}


def test_settings_in_pyproject_count_and_its_other_tables_do_not(
    isol8tasks: Program, repository: Repository
) -> None:
    repository.remove("isol8tasks.toml")
    repository.write("pyproject.toml", "[tool.isol8tasks]\nworkspace = true\n")
    repository.commit()
    repository.git("branch", "-f", "main")
    repository.append("pyproject.toml", "[tool.other]\nx = 1\n")
    assert affected(isol8tasks) == {}
    repository.append("pyproject.toml", "[tool.isol8tasks.limits]\ntimeout = '1m'\n")
    assert set(affected(isol8tasks)) == ALL


def test_why(isol8tasks: Program, repository: Repository) -> None:
    repository.append("libs/core/src/a")
    writing = {"PYTHONDONTWRITEBYTECODE": ""}
    ran = isol8tasks("list", "--affected", env=writing)
    assert f"  {CORE}:check" in ran.stdout
    assert "    libs/core/src/a changed\n" in ran.stdout
    assert f"    requires {CORE}:check, which is affected\n" in ran.stdout
    assert ran.stderr.startswith("1 changed file since the merge base with main (")
    assert list(repository.folder.glob("tools/__pycache__/*.pyc")), "which nobody ignores"
    assert isol8tasks("list", "--affected", env=writing).stderr == ran.stderr


def test_a_broken_task_file_may_be_affected(isol8tasks: Program, repository: Repository) -> None:
    repository.write("libs/other/isol8file.py", "1 / 0\n")
    ran = isol8tasks("list", "--affected")
    assert (ran.code, ran.stdout) == (2, "")
    assert "libs/other/isol8file.py:1" in ran.stderr


def test_without_git(isol8tasks: Program, folder: Path) -> None:
    (folder / "isol8file.py").write_text(APP.replace("tools.images", "isol8tasks"))
    ran = isol8tasks("list", "--affected")
    assert ran.code == 2
    assert "Traceback" not in ran.stderr


def test_since_needs_affected(isol8tasks: Program, repository: Repository) -> None:
    ran = isol8tasks("list", "--since", "main")
    assert (ran.code, ran.stderr) == (
        2,
        "error: --since needs --affected\n  hint: add --affected, or leave --since out\n",
    )


@pytest.mark.bubblewrap
def test_it_runs_what_it_lists(isol8tasks: Program, repository: Repository) -> None:
    nothing = isol8tasks("run", "--affected", "--backend", "bubblewrap")
    assert (nothing.code, nothing.stdout) == (0, "")
    assert nothing.stderr.endswith("nothing to run\n")
    repository.append("libs/other/src/a")
    report = repository.folder.parent / "report.json"
    ran = isol8tasks("run", "--affected", "--backend", "bubblewrap", "--report", str(report))
    assert ran.code == 0, ran
    found = json.loads(report.read_text())
    stages = {stage["name"]: stage["verdict"] for stage in found["stages"]}
    assert stages == dict.fromkeys(OF_OTHER, "passed")
    assert found["notices"][0].endswith("2 of 8 stages affected")
    assert set(affected(isol8tasks)) == OF_OTHER, "what a run leaves is no change"
