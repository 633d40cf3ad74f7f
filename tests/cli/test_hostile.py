"""The programs of examples/hostile are contained as the table in its README says."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.cli.conftest import reduced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Program

EXAMPLE = Path(__file__).parents[2] / "examples/hostile"
CONTAINED = 3
KILLED_ITSELF = 128 + signal.SIGTERM
AS_ROOT = os.geteuid() == 0
CONTROLS = {"neighbour", "planter"}
LONGEST = 100.0
"""Seconds for all of it."""

ENGINES = ("docker", "podman")
IN_A_CONTAINER = reduced("sys_admin", "sys_ptrace")
DELEGATED = (
    *("systemd-run", *(() if AS_ROOT else ("--user",))),
    *("--scope", "--quiet", "--property=Delegate=yes"),
)
MODES = (
    pytest.param("bubblewrap", (), marks=pytest.mark.bubblewrap),
    pytest.param("bubblewrap", IN_A_CONTAINER, marks=(pytest.mark.bubblewrap, pytest.mark.root)),
    pytest.param(
        "bubblewrap",
        DELEGATED,
        marks=(
            pytest.mark.bubblewrap,
            pytest.mark.skipif(not Path("/run/systemd/system").is_dir(), reason="no systemd here"),
        ),
    ),
    pytest.param("docker", (), marks=(pytest.mark.docker, pytest.mark.root)),
    pytest.param("podman", (), marks=pytest.mark.podman),
)
COLUMNS = {
    ("bubblewrap", True): "bubblewrap, root",
    ("bubblewrap", False): "bubblewrap, user",
    ("docker", True): "Docker, root",
    ("podman", True): "Podman, root",
    ("podman", False): "Podman, rootless",
}


@attrs.frozen
class Row:
    tries: str
    verdict: str
    in_outputs: bool


def table(backend: str = "bubblewrap", *, as_root: bool = AS_ROOT) -> dict[str, Row]:
    """The rows of the README, with the verdicts for a backend and who we are."""
    text = (EXAMPLE / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = next(row for row in cells if row[0] == "stage")
    column = head.index(COLUMNS[backend, as_root])
    rows = {}
    for row in cells:
        if row[0].startswith("`"):
            cell = row[column]
            name = row[0].strip("`")
            rows[name] = Row(row[1], cell.split("`")[1], cell.endswith("(outputs)"))
    return rows


@attrs.frozen
class Host:
    """What the programs look for. `mark` is on the command line of each of their processes."""

    mark: str
    secret: str
    folders: tuple[Path, ...]
    port: int
    sockets: tuple[socket.socket, ...]

    @property
    def env(self) -> dict[str, str]:
        return {
            "HOSTILE_MARK": self.mark,
            "HOSTILE_SECRET": self.secret,
            "HOSTILE_FOLDERS": ":".join(map(str, self.folders)),
            "HOSTILE_PORT": str(self.port),
            "HOSTILE_SOCKET": self.mark,
        }

    def heard(self) -> list[socket.socket]:
        """The sockets that somebody reached."""
        return [each for each in self.sockets if _reached(each)]


def _reached(server: socket.socket) -> bool:
    try:
        server.accept() if server.type == socket.SOCK_STREAM else server.recv(1)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-hostile-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def host(folder: Path, cache: Path) -> Iterator[Host]:
    """A copy of the example, private files beside it, and sockets that listen."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=_ours)
    for place in (folder, cache):
        (place / "private.txt").write_text("private")
    mark = f"hostile-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = server.getsockname()[1]
        sockets = [server]
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port)),
            (socket.AF_INET6, socket.SOCK_STREAM, ("::1", port)),
            (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", port)),
            (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{mark}"),
        ):
            if family != socket.AF_INET6 or socket.has_dualstack_ipv6():
                sockets.append(stack.enter_context(socket.socket(family, kind)))
                sockets[-1].bind(address)
                if kind == socket.SOCK_STREAM:
                    sockets[-1].listen()
        for each in sockets:
            each.setblocking(False)
        secret = f'{mark}"/wörd+of&a=host?'
        yield Host(mark, secret, (folder, cache), port, tuple(sockets))


def _ours(_folder: str, names: list[str]) -> set[str]:
    return {".isol8tasks", "__pycache__"} & set(names)


def test_the_table_has_every_stage(isol8tasks: Program, host: Host) -> None:
    ran = isol8tasks("list", "--json", env=host.env)
    stages = {stage["name"]: stage["description"] for stage in json.loads(ran.stdout)["stages"]}
    assert {name: row.tries for name, row in table().items()} == stages
    verdicts = {name: row.verdict for name, row in table().items()}
    assert {name for name in verdicts if verdicts[name] == "passed"} == CONTROLS


@pytest.mark.parametrize(
    "program", ["network tcp", "network families", "network unix", "look read", "calls rights"]
)
def test_without_a_sandbox_they_escape(program: str, host: Host, folder: Path) -> None:
    """Those that do no harm: that they are contained is the sandbox's doing."""
    name, word = program.split()
    ran = subprocess.run(
        [sys.executable, folder / f"programs/{name}.py", word],
        env={**os.environ, **host.env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout[:8]) == (0, "ESCAPED:"), ran


@pytest.mark.timeout(2 * LONGEST)
@pytest.mark.parametrize(("backend", "under"), MODES)
def test_they_are_contained_as_the_table_says(
    isol8tasks: Program,
    host: Host,
    folder: Path,
    cache: Path,
    backend: str,
    under: tuple[str, ...],
) -> None:
    before = _free(cache)
    start = time.monotonic()
    words = ("run", "-j2", "--cache", str(cache), "--report", "r.json", "--color", "never")
    process = isol8tasks.start(*words, "--backend", backend, env=host.env, under=under)
    while not _processes(host.mark) and process.poll() is None:
        time.sleep(0.01)
    out, err = process.communicate(timeout=LONGEST)
    left = (_processes(host.mark), host.heard(), _left(cache, folder, process.pid, backend))
    assert time.monotonic() - start < LONGEST
    assert process.returncode == 1, err
    assert left == ([], [], [])
    stages = json.loads((folder / "r.json").read_text())["stages"]
    rows = table(backend, as_root=under == DELEGATED or (AS_ROOT and not under))
    _check_verdicts({stage["name"]: stage for stage in stages}, rows)
    _check_words((out + err).decode())
    _check_files(folder / ".isol8tasks")
    _check_secret(host.secret, [out, err, *_everything(folder / ".isol8tasks", folder / "r.json")])
    _check_free(before, cache)


def _check_verdicts(stages: dict[str, Any], rows: dict[str, Row]) -> None:
    assert {n: stage["verdict"] for n, stage in stages.items()} == {
        name: row.verdict for name, row in rows.items()
    }
    assert {n for n, stage in stages.items() if stage["phase"] == "outputs"} == {
        name for name, row in rows.items() if row.in_outputs
    }
    for name, stage in stages.items():
        last = (stage["stdout"].splitlines() or [""])[-1]
        if stage["phase"] == "outputs":
            assert (stage["exit_code"], last) == (0, "the trap is set"), name
        elif stage["exit_code"] == KILLED_ITSELF and name == "init-kill":
            continue  # a container's init passes signals on to the program
        elif stage["verdict"] == "failed":
            assert (stage["exit_code"], last[:10]) == (CONTAINED, "contained:"), stage
    assert stages["neighbour"]["stdout"] == "unharmed\n"
    assert stages["daemon"]["outputs"] == []
    assert stages["pipe-held-open"]["durations"]["run"] < 5


def _check_words(shown: str) -> None:
    """No control codes, and no workflow commands at the start of a line."""
    assert {char for char in shown if not char.isprintable()} == {"\n"}
    assert re.findall(r"^\s*(::|##vso\[|##teamcity\[).*", shown, flags=re.MULTILINE) == []


def _check_files(folder: Path) -> None:
    """What came out is ours: plain files and folders without special bits."""
    modes = {path: path.lstat() for path in folder.rglob("*")}
    assert [path for path, found in modes.items() if found.st_mode & 0o7000] == []
    assert {stat.S_IFMT(found.st_mode) for found in modes.values()} == {stat.S_IFREG, stat.S_IFDIR}
    assert {found.st_uid for found in modes.values()} == {os.geteuid()}
    assert (folder / "output-setuid/outputs/out/shell").stat().st_mode & 0o777 == 0o755
    assert not Path("/tmp/hostile-owned").exists()


def _everything(folder: Path, report: Path) -> Iterator[bytes]:
    yield report.read_bytes()
    for path in folder.rglob("*"):
        yield os.fsencode(path)
        if path.is_file():
            yield path.read_bytes()


def _check_secret(secret: str, texts: list[bytes]) -> None:
    value = secret.encode()
    forms = {value, value.hex().encode(), urllib.parse.quote(secret, safe="").encode()}
    forms |= {value.hex().upper().encode(), urllib.parse.quote_plus(secret).encode()}
    forms |= {
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
    }
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(bytes(offset) + value)[4 * (offset > 0) : -4])
    assert [form for form in forms for text in texts if form in text] == []


def _processes(mark: str) -> list[str]:
    """The pids of all processes of this machine with that word on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


def _left(cache: Path, folder: Path, pid: int, backend: str) -> list[object]:
    """Folders, mounts, control groups and containers of the run of this process."""
    mounts = [line for line in _lines("/proc/self/mountinfo") if str(cache) in line]
    groups = Path("/sys/fs/cgroup").rglob(f"isol8tasks-*-{pid}-*")
    return [
        *(path for place in ("runs", f"{backend}-runs") for path in (cache / place).glob("*/")),
        *(folder / ".isol8tasks/.staging").iterdir(),
        *mounts,
        *groups,
        *(_containers(backend, pid) if backend in ENGINES else ()),
    ]


def _containers(engine: str, pid: int) -> list[str]:
    label = f"label=isol8tasks.pid={pid}"
    listing = [engine, "ps", "--all", "--quiet", "--filter", label]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _free(folder: Path) -> tuple[int, int]:
    """Bytes of memory and of disk that are free."""
    (memory,) = (line.split()[1] for line in _lines("/proc/meminfo") if "MemAvailable" in line)
    return int(memory) << 10, shutil.disk_usage(folder).free


def _check_free(before: tuple[int, int], folder: Path) -> None:
    """The kernel frees what was mounted a moment after the last process."""
    deadline = time.monotonic() + 5
    while not _within(before, _free(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _within(before, _free(folder)), (before, _free(folder))


def _within(before: tuple[int, int], after: tuple[int, int]) -> bool:
    return all(late > early * 0.9 for early, late in zip(before, after, strict=True))
