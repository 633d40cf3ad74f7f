"""Streams that are full, closed or not UTF-8, and a working directory that is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from tests.cli.conftest import Program

UNWRITTEN = (
    "error: the output cannot be written: No space left on device\n"
    "  hint: look at where it goes: the disk may be full, or the file closed\n"
)
ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


@pytest.fixture
def shell(
    isol8tasks: Program, project: Callable[[str], Path]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `isol8tasks` with what a shell adds to its words."""
    project("verdicts")

    def run(
        words: str, *, before: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        isol8tasks.check(*words.split())
        return subprocess.run(
            ["/bin/sh", "-c", f'{before} "$0" -m isol8tasks {words}', sys.executable],
            cwd=isol8tasks.folder,
            env={**isol8tasks.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("words", ["list", "graph", "--version", "--help", "completion bash"])
def test_a_full_disk_is_no_bug(shell: Callable[..., Any], words: str) -> None:
    ran = shell(f"{words} >/dev/full")
    assert (ran.returncode, ran.stderr) == (3, UNWRITTEN)


@pytest.mark.bubblewrap
@pytest.mark.parametrize("words", ["run passes", "run -v passes", "exec -qe 'print(1)'"])
def test_a_full_disk_under_a_run(shell: Callable[..., Any], words: str) -> None:
    assert shell(f"{words} >/dev/full").returncode == 3


@pytest.mark.parametrize("words", ["list >&-", "--version >&-", "list >&- 2>&- <&-"])
def test_a_closed_stream_leads_nowhere(shell: Callable[..., Any], words: str) -> None:
    ran = shell(words)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.bubblewrap
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_run_without_a_stream(shell: Callable[..., Any], folder: Path, closed: str) -> None:
    assert shell(f"run passes --report r.json {closed}").returncode == 0
    (stage,) = json.loads((folder / "r.json").read_text())["stages"]
    assert (stage["verdict"], stage["stdout"]) == ("passed", "hello\n")
    assert shell(f"exec -q -e 1 {closed}").returncode == 0


@pytest.mark.parametrize("words", ["list", "graph", "run --show-settings", "--show-settings"])
def test_a_working_directory_that_is_gone(shell: Callable[..., Any], words: str) -> None:
    ran = shell(words, before="mkdir gone; cd gone; rmdir ../gone;")
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        2,
        "",
        (
            "error: the current directory cannot be used: No such file or directory\n"
            "  hint: go to a folder that exists: cd\n"
        ),
    )


def test_a_locale_without_unicode(shell: Callable[..., Any], folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        "stage('a', image=Image.bash(), run='true', description='\u00dcn\u00ef')\n",
        encoding="utf-8",
    )
    assert shell("list", env=ASCII).returncode == 0
    assert shell("graph", env=ASCII).returncode == 0
    found = json.loads(shell("list --json", env=ASCII).stdout)
    assert found["stages"][0]["description"] == "\u00dcn\u00ef"
    assert shell("init \u00e9.py", env=ASCII).returncode == 0
    assert (folder / "\u00e9.py").is_file()


@pytest.mark.bubblewrap
def test_a_run_in_a_locale_without_unicode(shell: Callable[..., Any], folder: Path) -> None:
    (folder / "isol8file.py").write_text(
        "from isol8tasks import Image, stage\n"
        r"""stage('a', image=Image.bash(), run='printf "\\303\\251\\n"', inputs=[])"""
    )
    ran = shell("run -j1 --report r.json", env=ASCII)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "  | \\xe9\n" in ran.stdout
    assert json.loads((folder / "r.json").read_text())["stages"][0]["stdout"] == "\u00e9\n"
