"""Bakes that race, die, are cancelled or late, or run as somebody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from isol8tasks.errors import Cancelled, ImageError
from isol8tasks.model.image import Image

pytestmark = pytest.mark.bubblewrap

HERE = Path(__file__).parent
SLOW = "import time\ntime.sleep(60)\n"


def staging(root: Path) -> list[Path]:
    return [*(root / "tmp").glob("*")]


def recipe(image: Image) -> str:
    layers = [[each.kind.value, list(each.arguments), each.unsafe] for each in image.layers]
    return json.dumps({"kind": image.kind.value, "reference": image.reference, "layers": layers})


def start(root: Path, base: Path, image: Image) -> subprocess.Popen[str]:
    places = [str(HERE.parents[2]), str(HERE.parents[2] / "backends")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, str(HERE / "bake_once.py"), str(root), str(base), recipe(image)]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_bake_once(local_index: Any, root: Path, tmp_path: Path) -> None:
    local_index.wheel("raced")
    image = Image.python().pip("raced")
    racing = [start(root, tmp_path, image) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in racing]
    assert sorted(each["baked"] for each in results) == [False, True]
    assert len({each["identity"] for each in results}) == 1


def test_a_killed_bake_leaves_nothing_in_the_way(bench: Any, local_index: Any, root: Path) -> None:
    local_index.sdist("fatal", SLOW)
    image = Image.python().pip("fatal", only_binary=False)
    process = start(root, bench.base, image)
    _wait_for(lambda: [*root.glob("tmp/*/tree/.bake/uv/sdists*/**/backend.py")])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = staging(root)
    assert left
    local_index.sdist("fatal", "")
    assert bench.bake(image).prepared.baked
    assert not any(path.exists() for path in left)


def test_a_bake_can_be_cancelled(bench: Any, local_index: Any, bakes: Any, root: Path) -> None:
    local_index.sdist("endless", SLOW)
    cancel = bakes.Never()
    threading.Timer(1.0, cancel.cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        bench.bake(Image.python().pip("endless", only_binary=False), cancel=cancel)
    assert time.monotonic() - started < 10
    assert staging(root) == []


def test_a_bake_has_a_time_limit(bench: Any, local_index: Any, root: Path) -> None:
    bench.bake(Image.python())
    local_index.sdist("tedious", SLOW)
    with pytest.raises(ImageError, match=r"took longer than 1\.50s$"):
        bench.bake(Image.python().pip("tedious", only_binary=False), timeout=1.5)
    assert staging(root) == []
