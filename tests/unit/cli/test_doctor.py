"""`doctor` and `sweep` with several backends, some of them broken."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks import __version__
from isol8tasks.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.unit.cli.conftest import Installed

pytestmark = pytest.mark.usefixtures("folder")

DOWN = 'return Probe(reason="the engine is not running", remedy="start it")'
RAISES = r'raise ImageError("it answers\x1b[2J\n nonsense", hint="restart it")'
BROKEN = "import no_such_sdk"
IMAGES = {"ISOL8TASKS_IMAGES": "python:3.12=localhost/python:3.12,node=mirror.example/node:22"}

HEAD = (
    f"isol8tasks {__version__}, Python {platform.python_version()},"
    f" {platform.system()} {platform.release()} {platform.machine()}\n"
)
GIVEN = """\
    sandboxes run as unprivileged users of their own
    limits:
      timeout       enforced     by the engine
      memory        enforced
      cpus          enforced
      pids          enforced
      disk          enforced
      output_limit  enforced     by the engine
    networks: allow, host, none
    images: bash, dockerfile, node, python, reference, rootfs
    layers: apt, env, file, npm, pip, run
"""
UNIMPORTABLE = """\
  docker: does not work here
    reason: docker cannot be imported: No module named 'no_such_sdk'
    remedy: reinstall isol8tasks or the package that brings this backend
"""


def three(install: Installed) -> None:
    install("podman")
    install("docker", start=BROKEN)
    install("bubblewrap", probe=RAISES)
    install("zeta")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_each_has_a_part_of_its_own(install: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    three(install)
    text = f"""
  bubblewrap: does not work here
    reason: it answers\\x1b[2J\\n nonsense
    remedy: restart it

{UNIMPORTABLE}
* podman 2: works
    chosen: the first one that works
{GIVEN}
  zeta 2: works
    not chosen: 'podman' comes first
{GIVEN}"""
    assert asked(capsys, "doctor") == (0, HEAD + text, "")
    assert [call for call in install.calls if "close" in call] == [
        "bubblewrap: close",
        "podman: close",
        "zeta: close",
    ]


def test_one_was_asked_for(install: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    install("podman", probe=DOWN)
    install("docker")
    text = f"""
  docker 2: works
    not chosen: 'podman' was asked for
{GIVEN}
  podman: does not work here
    reason: the engine is not running
    remedy: start it
"""
    assert asked(capsys, "doctor", "--backend", "podman") == (3, HEAD + text, "")


def test_one_that_is_not_there_was_asked_for(
    install: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    install("docker")
    code, _, error = asked(capsys, "doctor", "--backend", "dokcer")
    assert (code, error.splitlines()[0]) == (
        3,
        "error: there is no backend named 'dokcer'; did you mean 'docker'?",
    )


def test_none_is_there(install: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "doctor") == (3, HEAD + "no backend is installed\n", "")
    assert install.calls == []


def test_what_images_stand_for(
    install: Installed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("docker", start=BROKEN)
    for name, value in IMAGES.items():
        monkeypatch.setenv(name, value)
    text = f"""
{UNIMPORTABLE}
what the names of images stand for:
    node         mirror.example/node:22
    python:3.12  localhost/python:3.12
"""
    assert asked(capsys, "doctor") == (3, HEAD + text, "")


def documented(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(asked(capsys, "doctor", "--json")[1])


def test_json(
    install: Installed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    three(install)
    document = documented(capsys)
    assert (document["schema"], document["images"]) == (1, {})
    assert [
        (item["name"], item["works"], item["chosen"], item["why"]) for item in document["backends"]
    ] == [
        ("bubblewrap", False, False, "it answers\x1b[2J\n nonsense"),
        ("docker", False, False, "docker cannot be imported: No module named 'no_such_sdk'"),
        ("podman", True, True, "the first one that works"),
        ("zeta", True, False, "'podman' comes first"),
    ]
    for name, value in IMAGES.items():
        monkeypatch.setenv(name, value)
    assert documented(capsys)["images"] == {
        "node": "mirror.example/node:22",
        "python:3.12": "localhost/python:3.12",
    }


def test_a_backend_is_told_what_images_stand_for(
    install: Installed, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    install("docker", probe="return Probe(reason=repr(self._options.images))")
    (folder / "isol8tasks.toml").write_text("[images]\n'b' = 'y:1'\n'a:2' = 'x:1'\n")
    _, text, _ = asked(capsys, "doctor")
    assert "\n    reason: (('a:2', 'x:1'), ('b', 'y:1'))\n" in text


FAILING = """raise OperationError("it does\\n not answer", hint="restart it")"""
SWEEPS = [
    ({"docker": {}, "bubblewrap": {}}, 0, "removed 2 leftovers\n", ""),
    (
        {"bubblewrap": {"sweep": FAILING}, "docker": {"start": BROKEN}, "podman": {}},
        3,
        "removed 1 leftover\n",
        (
            "error: bubblewrap: it does not answer\n  hint: restart it\n"
            "error: docker cannot be imported: No module named 'no_such_sdk'\n"
            "  hint: reinstall isol8tasks or the package that brings this backend\n"
        ),
    ),
]


@pytest.mark.parametrize(("backends", "code", "out", "err"), SWEEPS)
def test_sweep_goes_on_after_one_that_could_not(
    install: Installed,
    capsys: pytest.CaptureFixture[str],
    backends: dict[str, dict[str, str]],
    code: int,
    out: str,
    err: str,
) -> None:
    for name, parts in backends.items():
        install(name, **parts)
    assert asked(capsys, "sweep") == (code, out, err)
    swept: Sequence[str] = [call for call in install.calls if "sweep" in call or "close" in call]
    working = [name for name in sorted(backends) if "start" not in backends[name]]
    assert swept == [f"{name}: {verb}" for name in working for verb in ("sweep", "close")]
