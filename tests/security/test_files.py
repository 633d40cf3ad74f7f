"""No way out by files: what a stage leaves behind is a plain copy, or refused with a clear word."""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isol8tasks.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.conftest import Bench, Workspace

SMALL = Limits(disk="32m")
BROKEN_NAME = "has control characters or broken text in its name"
IRREGULAR = r"is (a link or no|not a) regular file"

NAMES = {
    "newline": "a\nb",
    "carriage return": "a\rb",
    "escape": "\x1b]0;owned\x07",
    "invalid UTF-8": b"a\xff\xfeb".decode(errors="surrogateescape"),
}

HARMLESS_NAMES = (
    *("-rf", "--help", "-", "...", "..a", "a..", ".a.", " ", "~", "$HOME", "%s%n", "*", "?", "[a]"),
    *("a\\b", "a:b", "'", '"', "`id`", ";", "CON", "!x", "#x", "n" * 255, "é" * 127),
    *("\u202etxt.exe", "\u200b", "\u2028", "\ufeff", "\U000e0041"),
)

LINKS = {
    "absolute": "os.symlink('/etc/passwd', 'out')",
    "the host's secret": "os.symlink(sys.argv[1], 'out')",
    "relative": "os.symlink('../' * 40 + 'etc/passwd', 'out')",
    "dangling": "os.symlink('nowhere', 'out')",
    "/proc/self": "os.symlink('/proc/self/environ', 'out')",
    "the root of our process": "os.symlink('/proc/self/root/etc/passwd', 'out')",
    "an open file of ours": "os.symlink('/proc/self/fd/0', 'out')",
    "to itself": "os.symlink('out', 'out')",
    "in a circle": "os.symlink('other', 'out'); os.symlink('out', 'other')",
    "to a real output": "open('real', 'w').write('x'); os.symlink('real', 'out')",
    "to a folder": "os.symlink('/etc', 'out')",
    "of a folder of links": "os.mkdir('out'); os.symlink('/etc/passwd', 'out/passwd')",
}

NO_FILES = {
    "FIFO": "os.mkfifo('out')",
    "FIFO that nobody may read": "os.mkfifo('out', 0)",
    "socket": "import socket; socket.socket(socket.AF_UNIX).bind('out')",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_broken_name_is_refused(bench: Bench, name: str, kind: str) -> None:
    path = name if kind == "file" else f"{name}/inside"
    ran = bench.attack(
        f"import os; path = {path!r}\n"
        "if '/' in path: os.mkdir(os.path.dirname(path))\n"
        "open(path, 'w').write('content')"
    )
    assert ran.exit.code == 0, ran.err
    assert BROKEN_NAME in ran.refused
    assert list(ran.into.iterdir()) == []


def test_an_odd_name_is_only_a_name(bench: Bench) -> None:
    ran = bench.attack(
        f"import os\nfor name in {HARMLESS_NAMES!r}:\n"
        "    os.mkdir('d' + name[:200]); open(name, 'w').write(name)\n"
        "    open('d' + name[:200] + '/' + name, 'w').write(name)"
    )
    assert (ran.exit.code, ran.refused) == (0, ""), ran.err
    assert set(os.listdir(ran.into)) >= set(HARMLESS_NAMES)
    assert all(ran.read(name) == name.encode() for name in HARMLESS_NAMES)
    assert len(ran.paths) == 2 * len(HARMLESS_NAMES)


@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS)
def test_a_link_is_refused(bench: Bench, make: str) -> None:
    secret = str(bench.folder / "outside/secret")
    ran = bench.attack(f"import os, sys; {make}", secret, outputs=["out", "out/**"])
    assert ran.exit.code == 0, ran.err
    assert "is a link or no regular file" in ran.refused
    assert [path for path in ran.into.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_regular_file_is_refused(bench: Bench, make: str) -> None:
    ran = bench.attack(f"import os; {make}", outputs=["out"])
    assert ran.exit.code == 0, ran.err
    assert ran.refused.startswith("the output 'out' is ")
    assert ran.refused.endswith("regular file")


def test_a_device_cannot_be_made(bench: Bench) -> None:
    ran = bench.attack(
        "import os, stat\n"
        "for kind in (stat.S_IFCHR, stat.S_IFBLK):\n"
        "    for folder in ('/sandbox', '/tmp', '/dev/shm', '/dev'):\n"
        "        try: os.mknod(f'{folder}/out', kind | 0o666, os.makedev(1, 3))\n"
        "        except OSError as error: print(error.strerror)"
    )
    assert ran.exit.code == 0, ran.err
    assert len(ran.out.splitlines()) == 8
    refused = {"Operation not permitted", "Permission denied", "Read-only file system"}
    assert set(ran.out.splitlines()) <= refused
    assert ran.paths == ()


def test_hard_links_become_copies_and_count_each(bench: Bench) -> None:
    make = (
        "import os; open('a', 'wb').write(b'x' * (1 << 20))\n"
        "for number in range({}): os.link('a', f'b{{number}}')"
    )
    ran = bench.attack(make.format(10), limits=SMALL)
    assert len(ran.paths) == 11
    ran = bench.attack(make.format(40), limits=SMALL)
    assert ran.refused.startswith("the outputs are larger than the disk limit, at ")


def test_nothing_of_the_host_can_be_linked(bench: Bench) -> None:
    ran = bench.attack(
        "import os\n"
        "for name in ('/etc/passwd', '/usr/bin/env', '/proc/self/status', '/dev/null'):\n"
        "    try: os.link(name, 'out'); print('linked', name)\n"
        "    except OSError: pass"
    )
    assert (ran.exit.code, ran.out, ran.paths) == (0, "", ())


SWAP = """
import os, sys, time
open('file', 'w').write('content'); os.symlink(sys.argv[1], 'link')
os.mkdir('folder'); open('folder/passwd', 'w').write('content'); os.symlink('/etc', 'links')
if os.fork() == 0:
    os.setsid()
    while True:
        for one, other in (('file', 'link'), ('folder', 'links')):
            os.rename(one, 'x'); os.rename(other, one); os.rename('x', other)
time.sleep(0.02)
"""


def test_what_swaps_files_and_links_is_dead_before_we_look(bench: Bench) -> None:
    for outputs in (["file"], ["folder/**"], ["file", "folder"], ["**"]) * 2:
        ran = bench.attack(SWAP, str(bench.folder / "outside/secret"), outputs=outputs)
        assert ran.exit.code == 0, ran.err
        assert "regular file" in ran.refused or not ran.refused
        assert {ran.read(path) for path in ran.paths} <= {b"content"}


def test_a_file_that_grows_has_stopped(bench: Bench) -> None:
    ran = bench.attack(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); file = open('out', 'wb', 0)\n"
        "    while True: file.write(b'x' * 4096)\n"
        "while not os.path.exists('out') or not os.stat('out').st_size: time.sleep(0.001)",
        limits=SMALL,
    )
    assert (ran.exit.code, ran.refused, ran.paths) == (0, "", ("out",))
    assert set(ran.read("out")) == set(b"x")


def test_a_deep_tree_is_refused_and_removed(bench: Bench) -> None:
    ran = bench.attack(
        "import os\n"
        "for _ in range(3000): os.mkdir('d'); os.chdir('d')\n"
        "open('out', 'w').write('content')\n"
        "for _ in range(3000): os.chdir('..'); os.chmod('d', 0)"
    )
    assert ran.exit.code == 0, ran.err
    assert ran.refused == "folders nested deeper than 100"


def test_modes_hide_nothing_and_stop_nothing(bench: Bench) -> None:
    ran = bench.attack(
        "import os\n"
        "os.makedirs('a/b/c'); open('a/b/c/file', 'w').write('content')\n"
        "open('file', 'w').close()\n"
        "for name in ('file', 'a/b/c/file', 'a/b/c', 'a/b', 'a', '.'): os.chmod(name, 0)"
    )
    assert ran.exit.code == 0, ran.err
    assert ran.paths == ("a/b/c/file", "file")
    assert ran.read("a/b/c/file") == b"content"


def test_special_bits_do_not_come_out(bench: Bench) -> None:
    ran = bench.attack(
        "import os\n"
        "os.mkdir('d')\n"
        "for name in ('a', 'd/b'): open(name, 'w').close(); os.chmod(name, 0o7777)\n"
        "os.chmod('d', 0o7777)"
    )
    assert (ran.exit.code, ran.paths) == (0, ("a", "d/b"))
    for path in (ran.into / "d", ran.into / "a", ran.into / "d/b"):
        assert oct(path.stat().st_mode)[-4:] == "0755"


def test_thousands_of_outputs(bench: Bench) -> None:
    make = "for number in range({}): open(str(number), 'w').close()"
    limits = Limits(disk="64m")
    assert len(bench.attack(make.format(5000), limits=limits).paths) == 5000
    ran = bench.attack(make.format(10_001), limits=limits)
    assert ran.refused == "more than 10000 output files"


@pytest.mark.parametrize("size", [(32 << 20) + 1, 1 << 40, (1 << 62)])
def test_a_huge_sparse_file_is_refused(bench: Bench, size: int) -> None:
    ran = bench.attack(f"import os; os.truncate(os.open('out', 65), {size})", limits=SMALL)
    assert ran.exit.code == 0, ran.err
    assert ran.refused == "the outputs are larger than the disk limit, at 'out'"


def test_the_working_directory_may_go(bench: Bench) -> None:
    for replace in ("pass", "os.symlink('/etc', '/sandbox/a')", "open('/sandbox/a', 'w')"):
        ran = bench.attack(
            f"import os, shutil; os.chdir('/'); shutil.rmtree('/sandbox/a'); {replace}",
            workdir="a/b",
        )
        assert (ran.exit.code, ran.paths, ran.refused) == (0, (), ""), ran.err


# Through the real program, where outputs become inputs and reports.

LONG_PATH = """
stage("plant", image=IMAGE, inputs=[], outputs=["**"], run=("python", "-c", '''
import os; OTHER
for number in range(90):
    os.mkdir("x" * 250)
    os.chdir("x" * 250)
open("out", "w").close()
'''))
"""


@pytest.mark.parametrize("other", ["", "open('other', 'w').close()"])
def test_a_path_that_nobody_can_open_is_refused(workspace: Workspace, other: str) -> None:
    workspace.declare(LONG_PATH.replace("OTHER", other))
    ran, stages = workspace.run()
    assert (ran.code, stages["plant"]["verdict"]) == (1, "failed"), stages
    assert stages["plant"]["reason"] == "an output has a path longer than 2048 bytes"


def test_hostile_input_names_go_in_as_they_are(workspace: Workspace) -> None:
    folder = workspace.folder / "in"
    folder.mkdir()
    for name in (*NAMES.values(), *HARMLESS_NAMES):
        (folder / name).write_text("content")
    workspace.declare(
        "stage('count', image=IMAGE, inputs=['in/**'], "
        "run='python -c \"import os; print(len(os.listdir(\\'in\\')))\"')"
    )
    _, stages = workspace.run()
    assert stages["count"]["stdout"] == f"{len(NAMES) + len(HARMLESS_NAMES)}\n"


def _link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def _device(path: Path) -> None:
    os.mknod(path, 0o20666, os.makedev(1, 3))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (_link_to("/etc/passwd"), "is a link that leaves the workspace root"),
        (_link_to("../../../etc/passwd"), "is a link that leaves the workspace root"),
        (_link_to("../x/../../y"), "is a link that leaves the workspace root"),
        (os.mkfifo, "is not a regular file"),
        (_socket, "is not a regular file"),
        pytest.param(_device, "is not a regular file", marks=pytest.mark.root),
    ],
)
def test_an_input_that_is_no_file_is_refused(
    workspace: Workspace, make: Callable[[Path], None], word: str
) -> None:
    (workspace.folder / "in").mkdir()
    make(workspace.folder / "in/out")
    workspace.declare("stage('reads', image=IMAGE, inputs=['in/**'], run='cat in/*')")
    ran = workspace("run")
    assert ran.code == 2
    assert word in ran.err
    assert "root:" not in ran.out


def test_inputs_that_do_not_fit_are_an_error(workspace: Workspace) -> None:
    (workspace.folder / "big").write_bytes(bytes(2 << 20))
    workspace.declare(
        "stage('big', image=IMAGE, inputs=['big'], run='true', disk='1m')\n"
        "stage('beside', image=IMAGE, inputs=[], run='true')\n"
    )
    ran, stages = workspace.run("--allow-unenforced", "disk")
    assert ran.code == 3
    why = "cannot place the inputs: No space left on device"
    assert stages["big"]["reason"] in {why, f"{why}: they are more than disk=1m holds"}
    assert stages["beside"]["verdict"] == "passed"


_ADD_KEY, _KEYCTL, _UNLINK, _USER_KEYRING = 248, 250, 9, -4
"""System calls of x86-64, see keyctl(2)."""


def test_no_key_of_ours_is_in_sight(bench: Bench) -> None:
    """Its name is what /proc/keys tells of it, to everything that has our uid."""
    libc, name = ctypes.CDLL(None, use_errno=True), f"isol8tasks-{secrets.token_hex(8)}"
    added = libc.syscall(_ADD_KEY, b"user", name.encode(), b"secret", 6, _USER_KEYRING)
    try:
        assert added < 0 or name in Path("/proc/keys").read_text()
        ran = bench.attack("print(open('/proc/keys').read())", outputs=[])
        assert name not in ran.out + ran.err
        assert (ran.exit.code, ran.out.strip()) in {(1, ""), (0, "")}
    finally:
        if added > 0:
            libc.syscall(_KEYCTL, _UNLINK, added, _USER_KEYRING)
