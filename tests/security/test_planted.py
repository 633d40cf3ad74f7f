"""Nothing that a stage left behind is ever run by us, nor by what we run outside of a sandbox."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.conftest import Bench, Workspace

SCRIPTS = (
    *("git", "sh", "bash", "bwrap", "prlimit", "setpriv", "python", "python3", "pip", "uv"),
    *("node", "npm", "chmod", "rm", "env", "docker", "podman", "newuidmap", "isol8tasks"),
)
MODULES = (
    *("sitecustomize", "usercustomize", "isol8tasks", "isol8file", "attrs", "attr", "click"),
    *("json", "pathspec", "_holder", "ctypes", "conftest", "site", "encodings"),
)

PLANT = """
import compileall, os, pathlib
script = "#!/bin/sh\\ntouch CANARY\\n"
program = "open('CANARY', 'w').close()\\n"
def plant(path, text):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
for name in SCRIPTS:
    for folder in (".", "bin", ".venv/bin", "node_modules/.bin"):
        plant(f"{folder}/{name}", script)
for name in MODULES:
    plant(f"{name}.py", program)
    plant(f"lib/{name}/__init__.py", program)
for name in ("x.pth", "lib/python3.11/site-packages/x.pth", "distutils-precedence.pth"):
    plant(name, f"import os; {program}")
for name in ("post-checkout", "pre-commit", "post-index-change", "fsmonitor"):
    plant(f".git/hooks/{name}", script)
    plant(f".githooks/{name}", script)
plant(".git/HEAD", "ref: refs/heads/main\\n")
plant(".git/config", "[core]\\n\\tfsmonitor = touch CANARY\\n\\thooksPath = .githooks\\n")
plant(".gitconfig", "[core]\\n\\tfsmonitor = touch CANARY\\n\\tpager = touch CANARY\\n")
plant(".gitattributes", "* filter=evil\\n")
plant(".npmrc", "script-shell=CANARY\\n")
plant("pip.conf", "[global]\\nindex-url = file:CANARY\\n")
plant("pyproject.toml", "[tool.isol8tasks]\\nbackend = 'evil'\\n")
plant("isol8tasks.toml", "backend = 'evil'\\n")
plant(".bashrc", script)
plant(".profile", script)
plant(".isol8tasks/judge.py", program)
plant(".isol8tasks/.gitignore", "")
plant(".isol8tasks/.staging/x.lock", "")
compileall.compile_dir(".", quiet=2)
"""

FILE = """
plant = stage("plant", image=IMAGE, inputs=[], outputs=["**"], run=("python", "-c", PLANT))
stage("use", image=IMAGE, inputs=[plant], run="test -e sitecustomize.py")

@stage.python(image=IMAGE, inputs=[plant])
def judge():
    print("judged")
"""


@pytest.fixture
def planted(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace in which a stage produces all that a program could trip over."""
    program = PLANT.replace("CANARY", str(tmp_path / "canary"))
    program = program.replace("SCRIPTS", repr(SCRIPTS)).replace("MODULES", repr(MODULES))
    workspace.declare(f"PLANT = {program!r}\n{FILE}")
    return workspace


def test_outputs_are_never_run(planted: Workspace, tmp_path: Path) -> None:
    for _ in range(2):  # the second run finds the outputs of the first
        _, stages = planted.run("plant", "use")
        assert {name: stage["verdict"] for name, stage in stages.items()} == {
            "plant": "passed",
            "use": "passed",
        }, stages
        paths = {output["path"] for output in stages["plant"]["outputs"]}
        assert {"bin/git", "x.pth", "sitecustomize.py", ".git/config"} <= paths
        assert f"__pycache__/json.{sys.implementation.cache_tag}.pyc" in paths
    for words in (["list"], ["graph"], ["doctor"], ["run", "--dry-run"], ["exec", "-e", "1"]):
        assert planted(*words).code == 0, words
    assert not (tmp_path / "canary").exists()


def test_outputs_do_not_replace_a_program_of_ours(planted: Workspace, tmp_path: Path) -> None:
    _, stages = planted.run("judge")
    assert stages["judge"]["verdict"] == "error"
    assert "two inputs give the path '.isol8tasks/judge.py'" in stages["judge"]["reason"]
    assert not (tmp_path / "canary").exists()


def test_outputs_stay_in_the_folder_of_their_stage(planted: Workspace) -> None:
    before = {path.name for path in planted.folder.iterdir()}
    planted.run("plant")
    after = {path.name for path in planted.folder.iterdir()}
    assert after - before == {".isol8tasks", "report.json"}
    ours = {path.name for path in (planted.folder / ".isol8tasks").iterdir()}
    assert ours == {".gitignore", ".staging", "plant"}
    assert (planted.folder / ".isol8tasks/.gitignore").read_text() == "*\n"


# Variables that make a program load foreign code: they are for the stage's program alone.

VARIABLES = (
    *("LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "ENV", "PYTHONPATH", "PYTHONHOME", "NODE_OPTIONS"),
    *("GIT_SSH_COMMAND", "LOCPATH", "GCONV_PATH", "TMPDIR", "PATH", "XDG_CONFIG_HOME"),
)


def test_the_environment_of_a_stage_is_not_ours(workspace: Workspace) -> None:
    environment = dict.fromkeys(VARIABLES, "/sandbox/evil")
    workspace.declare(
        f"stage('first', image=IMAGE, inputs=[], env={environment!r}, run=('/bin/true',))\n"
        "stage('second', image=IMAGE, inputs=[], run='env')\n"
    )
    ran, stages = workspace.run("-j", "1")
    assert ran.code == 0, stages
    assert "evil" not in stages["second"]["stdout"]


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_AUDIT"])
def test_what_is_preloaded_is_loaded_by_the_program_alone(bench: Bench, variable: str) -> None:
    said = bytearray()
    with bench.sandbox(env=((variable, "/sandbox/evil.so"),)) as sandbox:
        sandbox.run(("true",), stdin=b"", sink=lambda _, piece: said.extend(piece))
    assert said.count(b"evil.so") == 1
