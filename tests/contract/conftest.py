from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine_cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach, which pytest's own folders are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
