"""File layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isol8tasks.errors import ImageError
from isol8tasks.model.image import Image

pytestmark = pytest.mark.bubblewrap


def test_files_of_the_task_folder(bench: Any, no_settings: Path) -> None:
    (bench.base / "data").mkdir()
    (bench.base / "data/one.txt").write_text("one")
    (bench.base / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (bench.base / "run.sh").chmod(0o700)
    image = (
        Image.bash()
        .file("data", "/data/set")
        .file("run.sh", "/opt/isol8tasks/tools/run.sh")
        .file("data/one.txt", "/srv/one.txt")
    )
    baked = bench.bake(image)
    script = "cat /data/set/one.txt /srv/one.txt; /opt/isol8tasks/tools/run.sh"
    assert bench.out(baked, "sh", "-c", script) == "oneoneran"
    (bench.base / "data/one.txt").write_text("two")
    again = bench.bake(image)
    assert again.prepared.identity != baked.prepared.identity
    assert bench.out(again, "cat", "/srv/one.txt") == "two"


def test_a_file_never_leaves_the_tree_through_a_link(
    bench: Any, local_index: Any, open_folder: Path
) -> None:
    target = open_folder / "outside"
    target.mkdir()
    target.chmod(0o777)
    local_index.sdist("linked", f"import os\nos.symlink('{target}', '/opt/isol8tasks/door')\n")
    (bench.base / "f").write_text("x")
    image = Image.python().pip("linked", only_binary=False).file("f", "/opt/isol8tasks/door/f")
    with pytest.raises(ImageError, match="file: "):
        bench.bake(image)
    assert [*target.iterdir()] == []


@pytest.mark.parametrize(
    "destination", ["/usr/x", "/etc/x", "/bin", "/tmp/x", "/sandbox", "/opt", "/opt/isol8tasks"]
)
def test_a_file_in_the_hosts_own_part_is_refused(
    bench: Any, no_settings: Path, destination: str
) -> None:
    (bench.base / "f").write_text("x")
    with pytest.raises(ImageError) as caught:
        bench.bake(Image.bash().file("f", destination))
    assert caught.value.message == (
        f"Image.file(): {destination} cannot be supplied by bubblewrap: that part of a sandbox is "
        "the host's own, read-only, or made anew for each stage"
    )


def test_a_missing_file(bench: Any) -> None:
    with pytest.raises(ImageError) as caught:
        bench.bake(Image.bash().file("nothing", "/data"))
    assert caught.value.message == (
        f"Image.file(): {bench.base}/nothing cannot be read: No such file or directory"
    )
