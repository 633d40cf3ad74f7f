from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend.contract import BackendOptions

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine_cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach, which pytest's own folders are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engine_options(engine_cache: Path) -> BackendOptions:
    """With the images that scripts/engines.sh made, by the names that a task file uses."""
    pairs = os.environ.get("ISOL8TASKS_IMAGES", "").split(",")
    images = tuple((name, image) for name, _, image in (p.partition("=") for p in pairs) if image)
    return BackendOptions(cache=engine_cache, images=images)
