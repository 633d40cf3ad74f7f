"""The example of a monorepo, as somebody who follows its README meets it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Program

MONOREPO = Path(__file__).parents[2] / "examples/monorepo"
CORE = "libs/core/src/parcels/__init__.py"
ENGINES = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=getattr(pytest.mark, name))
        for name in ("bubblewrap", "docker", "podman")
    ],
)


@pytest.fixture(autouse=True)
def monorepo(folder: Path) -> Path:
    """A copy of the example."""
    left = shutil.ignore_patterns(".isol8tasks", ".nox", "__pycache__")
    shutil.copytree(MONOREPO, folder, dirs_exist_ok=True, ignore=left)
    return folder


@pytest.fixture
def git(monorepo: Path) -> None:
    """Its files in a repository."""
    words = ("-c", "user.name=Ada", "-c", "user.email=ada@invalid")
    run = ["git", *words, "-C", str(monorepo)]
    subprocess.run([*run, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*run, "add", "--all"], check=True)
    subprocess.run([*run, "commit", "-q", "-m", "all of it"], check=True)


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    """A cache that the uid of a sandbox can reach, with images that more than one test needs."""
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-monorepo-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has changed: {old!r}"
    path.write_text(text.replace(old, new))


def nox(isol8tasks: Program, *words: str) -> tuple[int, str, str]:
    ours = ("NOX", "FORCE_COLOR", "CI")
    ran = subprocess.run(
        [sys.executable, "-m", "nox", *words],
        cwd=isol8tasks.folder,
        env={n: v for n, v in isol8tasks.environ.items() if not n.startswith(ours)},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_six_packages_have_checks(isol8tasks: Program) -> None:
    ran = isol8tasks("list", "--json")
    listed = json.loads(ran.stdout)
    tasks = {task["name"] for task in listed["tasks"] if task["default"]}
    packages = {stage["folder"] for stage in listed["stages"]} - {""}
    assert (ran.code, ran.stderr, len(packages)) == (0, "", 6)
    assert tasks == {"checks", *(f"//{package}:checks" for package in packages)}


def test_a_task_of_the_whole_is_a_session(isol8tasks: Program) -> None:
    code, out, err = nox(isol8tasks, "-l")
    assert (code, err) == (0, "")
    assert re.findall(r"^([*-]) (\w+) .*->", out, re.MULTILINE) == [
        ("*", "checks"),
        ("-", "lint"),
        ("-", "all"),
    ]


@ENGINES
@pytest.mark.network
@pytest.mark.timeout(400)
def test_everything_passes(isol8tasks: Program, monorepo: Path, cache: Path, engine: str) -> None:
    """What one package makes is what another one used."""
    words = ("run", "all", "--backend", engine, "--cache", str(cache), "--color", "never")
    process = isol8tasks.start(*words)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    assert out.decode().splitlines()[-1].startswith("19 passed in ")
    page = outputs(monorepo, "apps/web", "page") / "page.html"
    assert '<th colspan="2">Total</th><th>€40.50</th>' in page.read_text()
    (wheel,) = outputs(monorepo, "libs/core", "wheel").glob("dist/*.whl")
    (packed,) = outputs(monorepo, "libs/client", "package").glob("*.tgz")
    sums = (outputs(monorepo, "", "release") / "SHA256SUMS").read_text()
    made = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, packed, page)]
    assert [line.split()[0] for line in sums.splitlines()] == made


def outputs(root: Path, package: str, stage: str) -> Path:
    return root / package / ".isol8tasks" / stage / "outputs"


@ENGINES
@pytest.mark.network
@pytest.mark.timeout(400)
def test_nox_runs_the_checks_and_names_what_fails(
    isol8tasks: Program, monorepo: Path, cache: Path, engine: str
) -> None:
    words = ("-s", "checks", "--", "--backend", engine, "--cache", str(cache), "-q")
    code, out, err = nox(isol8tasks, *words)
    assert (code, out.splitlines()[-1][:13]) == (0, "18 passed in "), (out, err)
    edit(monorepo / "libs/core/tests/test_parcels.py", '("city", 1, 470)', '("city", 1, 471)')
    code, out, err = nox(isol8tasks, *words, "-x")
    assert code == 1
    assert "assert 470 == 471" in out
    assert "\n✗ //libs/core:unit " in out
    assert "nox > Session checks aborted: //libs/core:unit: failed, exit code 1" in err


RELEASED = {"release", "//apps/web:page"}
BY_THE_JOB = {"//services/batch:quotes", *RELEASED}


@pytest.mark.usefixtures("git")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(
            CORE,
            {
                *("//libs/core:lint", "//libs/core:unit", "//libs/core:wheel"),
                *("//services/api:unit", "//services/batch:unit", *BY_THE_JOB),
            },
            id="a library",
        ),
        pytest.param(
            "libs/schema/src/zone.json",
            {
                *("//libs/schema:lint", "//libs/schema:bundle", "//libs/schema:unit"),
                *("//libs/client:unit", "//services/api:unit"),
            },
            id="the schema",
        ),
        pytest.param(
            "libs/client/src/index.ts",
            {
                *("//libs/client:lint", "//libs/client:package", "//libs/client:unit"),
                *("//apps/web:build", "//apps/web:unit", *RELEASED),
            },
            id="another library",
        ),
        pytest.param(
            "services/api/tests/test_api.py",
            {"//services/api:lint", "//services/api:unit"},
            id="a test",
        ),
        pytest.param(
            "services/batch/orders.csv", {"//services/batch:lint", *BY_THE_JOB}, id="data"
        ),
        pytest.param("README.md", set(), id="what nobody reads"),
    ],
)
def test_what_a_change_affects(
    isol8tasks: Program, monorepo: Path, path: str, expected: set[str]
) -> None:
    append(monorepo / path)
    assert affected(isol8tasks) == expected


@pytest.mark.usefixtures("git")
@pytest.mark.parametrize("path", ["tools/images.py", "ruff.toml", "isol8tasks.toml"])
def test_what_all_share_affects_all(isol8tasks: Program, monorepo: Path, path: str) -> None:
    append(monorepo / path)
    assert len(affected(isol8tasks)) == 19


def append(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


def affected(isol8tasks: Program) -> set[str]:
    ran = isol8tasks("list", "--affected", "--json")
    assert ran.code == 0, ran
    return {stage["name"] for stage in json.loads(ran.stdout)["stages"]}


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("git")
def test_what_is_affected_runs_with_what_it_requires(isol8tasks: Program, monorepo: Path) -> None:
    append(monorepo / CORE)
    ran = isol8tasks("run", "--affected", "--dry-run", "--backend", "bubblewrap")
    required = {"//apps/web:build", "//libs/client:package", "//libs/schema:bundle"}
    planned = set(re.findall(r"^  (\S+) ", ran.stdout, re.MULTILINE))
    assert planned == affected(isol8tasks) | required, ran
    assert "8 of 19 stages affected" in ran.stderr


PACKAGE = "services/mail/isol8file.py"


@pytest.mark.bubblewrap
def test_the_readme_shows_how_to_add_a_package(isol8tasks: Program, monorepo: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (monorepo / "README.md").read_text(), re.DOTALL)
    sources = {
        PACKAGE: blocks[-1],
        "services/mail/src/parcels_mail/__init__.py": "",
        "services/mail/tests/test_mail.py": "",
    }
    for name, text in sources.items():
        (monorepo / name).parent.mkdir(parents=True, exist_ok=True)
        (monorepo / name).write_text(text)
    ran = isol8tasks("run", "--dry-run", "--backend", "bubblewrap")
    planned = re.findall(r"^  //services/mail:(\w+) ", ran.stdout, re.MULTILINE)
    assert (ran.code, sorted(planned)) == (0, ["lint", "unit"]), ran
