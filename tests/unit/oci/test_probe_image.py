"""The image that engines are tried with."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from isol8tasks_oci import probe_image

from isol8tasks.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.oci.conftest import MemoryEngine

GLIBC = """\
\tlinux-vdso.so.1 (0x00007ffd7c1e6000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c3a000000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1c3a3f4000)
"""
MUSL = """\
\t/lib/ld-musl-x86_64.so.1 (0x7f8c6a5e1000)
\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f8c6a5e1000)
"""


@pytest.mark.parametrize(
    ("said", "paths"),
    [
        (GLIBC, ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2")),
        (MUSL, ("/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1")),
        ("\tstatically linked\n", ()),
        ("\tnot a dynamic executable\n", ()),
        ("\tlibgone.so => not found\n", ()),
        ("", ()),
    ],
    ids=["glibc", "musl", "static", "static too", "not found", "nothing"],
)
def test_the_libraries_of_a_program(said: str, paths: tuple[str, ...]) -> None:
    assert probe_image.libraries(said) == paths


def test_it_is_made_once(engine: MemoryEngine) -> None:
    first = probe_image.ensure(engine)
    assert probe_image.ensure(engine) == first
    assert [tag for tag, _ in engine.loaded] == list(first.tags)
    assert first.tags[0].startswith(f"{probe_image.REPOSITORY}:")


def test_it_is_the_same_on_the_same_host(engine: MemoryEngine) -> None:
    probe_image.ensure(engine)
    engine.kept.clear()
    probe_image.ensure(engine)
    assert engine.loaded[0] == engine.loaded[1]


def test_an_engine_that_loses_it_is_an_error(engine: MemoryEngine) -> None:
    engine.forgetful = True
    with pytest.raises(SandboxError, match="memory does not show the image isol8tasks/probe:"):
        probe_image.ensure(engine)


def _archive(engine: MemoryEngine) -> tarfile.TarFile:
    probe_image.ensure(engine)
    return tarfile.open(fileobj=io.BytesIO(engine.loaded[0][1]))


def test_it_holds_plain_files_that_any_uid_can_run(engine: MemoryEngine) -> None:
    with _archive(engine) as archive:
        members = archive.getmembers()
    assert {"bin/sh", "bin/sleep", "bin/tar", "tmp", "proc"} <= {each.name for each in members}
    assert len({each.name for each in members}) == len(members), (
        "docker refuses a path that comes twice"
    )
    assert {each.mode for each in members} == {0o755}
    assert {(each.uid, each.gid) for each in members} == {(0, 0)}
    assert all(each.isfile() or each.isdir() for each in members)
    assert sum(each.size for each in members) < 32 << 20


def test_every_folder_comes_before_what_is_in_it(engine: MemoryEngine) -> None:
    with _archive(engine) as archive:
        names = archive.getnames()
    for place, name in enumerate(names):
        folder = os.path.dirname(name)
        assert not folder or folder in names[:place], name


@pytest.mark.root
def test_its_tools_run_in_it(engine: MemoryEngine, tmp_path: Path) -> None:
    with _archive(engine) as archive:
        archive.extractall(tmp_path, filter="tar")
    script = "cd tmp; echo a >b; chmod 600 b; tar cf - b | tar tvf -; sleep 0 && echo slept"
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
    argv = [chroot, str(tmp_path), "/bin/sh", "-c", script]
    ran = subprocess.run(argv, capture_output=True, text=True, env={"PATH": "/bin"}, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("-rw-------")
    assert ran.stdout.endswith(" b\nslept\n")
