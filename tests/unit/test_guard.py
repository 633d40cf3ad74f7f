"""The guard of tests/conftest.py, tried on itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MARK = "import pytest\npytestmark = pytest.mark.bubblewrap\n"
PROBLEM = """
import subprocess
def test_sneaky():
    try:
        subprocess.run(["bwrap", "--version"])
    except Exception:
        pass
"""


@pytest.mark.parametrize("mark", ["", MARK])
def test_a_test_without_the_mark_cannot_start_bwrap(
    tmp_path: Path, pytestconfig: pytest.Config, mark: str
) -> None:
    conftest = pytestconfig.rootpath / "tests" / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    bubblewrap: engines\n")
    (tmp_path / "test_it.py").write_text(mark + PROBLEM)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == (0 if mark else 1), ran.stdout
    assert ("started without a mark" in ran.stdout) is not bool(mark)
