"""Which of several backends runs a plan, and what is said when none can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isol8tasks.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.unit.cli.conftest import Installed

BASH_ONLY = """return Probe(
            version="1", capabilities=attrs.evolve(EVERYTHING, images=frozenset({ImageKind.BASH}))
        )"""
DOWN = 'return Probe(reason="the engine is not running", remedy="start it")'
RAISES = r'raise ImageError("it answers\n nonsense", hint="restart it")'
GONE = 'return Probe(reason="podman is not installed", remedy="install it")'
BROKEN = "import no_such_sdk"

BASH = "from isol8tasks import Image, stage\nstage('one', image=Image.bash(), run='true')\n"
REFERENCE = BASH.replace("Image.bash()", "Image('busybox:1')")
HOST = BASH.replace("run=", "network=Network.host(), run=").replace("stage\n", "stage, Network\n")
IMAGE_HINT = "use Image.python(), Image.node() or Image.bash(), or a backend that has such images"


def dry_run(folder: Path, taskfile: str, *words: str) -> int:
    (folder / "isol8file.py").write_text(taskfile)
    return run(["run", "--dry-run", *words])


CHOSEN = [
    (BASH, {"docker": {}, "bubblewrap": {}}, "bubblewrap (the first that can run this plan)"),
    (BASH, {"zeta": {}, "alpha": {}}, "alpha (the first that can run this plan)"),
    (BASH, {"alpha": {}, "podman": {}}, "podman (the first that can run this plan)"),
    (
        REFERENCE,
        {"bubblewrap": {"probe": BASH_ONLY}, "docker": {}},
        "docker (bubblewrap cannot supply images of kind reference)",
    ),
    (
        REFERENCE,
        {"bubblewrap": {"probe": BASH_ONLY}, "docker": {"probe": DOWN}, "podman": {}},
        (
            "podman (bubblewrap cannot supply images of kind reference;"
            " docker: the engine is not running)"
        ),
    ),
    (
        BASH,
        {"bubblewrap": {"probe": RAISES}, "docker": {"start": BROKEN}, "podman": {}},
        (
            "podman (bubblewrap: it answers nonsense;"
            " docker cannot be imported: No module named 'no_such_sdk')"
        ),
    ),
]


@pytest.mark.parametrize(("taskfile", "backends", "first"), CHOSEN)
def test_the_first_that_can_run_the_plan(
    folder: Path,
    install: Installed,
    capsys: pytest.CaptureFixture[str],
    taskfile: str,
    backends: dict[str, dict[str, str]],
    first: str,
) -> None:
    for name, parts in backends.items():
        install(name, **parts)
    code = dry_run(folder, taskfile)
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    assert captured.out.splitlines()[0] == f"{first} would run"


def test_what_follows_the_chosen_one_is_not_even_imported(folder: Path, install: Installed) -> None:
    install("bubblewrap", probe=BASH_ONLY)
    install("docker")
    install("podman")
    dry_run(folder, REFERENCE)
    assert install.calls == [
        "bubblewrap: import",
        "bubblewrap: probe",
        "bubblewrap: close",
        "docker: import",
        "docker: probe",
        "docker: close",
    ]


def test_a_run_says_why_too(
    folder: Path, install: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    install("bubblewrap", probe=DOWN)
    install("docker")
    (folder / "isol8file.py").write_text(BASH.replace("'true'", "('true',)"))
    assert run(["run", "-j1"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(" · docker (bubblewrap: the engine is not running)")


NONE = [
    (
        BASH,
        {},
        (),
        "error: no backend is installed\n  hint: see 'isol8tasks doctor'\n",
        3,
    ),
    (
        BASH,
        {
            "bubblewrap": {"probe": DOWN},
            "docker": {"start": BROKEN},
            "podman": {"probe": GONE},
        },
        (),
        (
            "error: bubblewrap: the engine is not running;"
            " docker cannot be imported: No module named 'no_such_sdk'; podman is not installed\n"
            "  hint: start it; reinstall isol8tasks or the package that brings this backend;"
            " install it\n"
        ),
        3,
    ),
    (
        REFERENCE,
        {"bubblewrap": {"probe": DOWN}, "docker": {"probe": BASH_ONLY}, "podman": {"probe": GONE}},
        (),
        (
            "error: docker cannot supply the image 'busybox:1' of 'one'\n  --> isol8file.py:2\n"
            f"  hint: {IMAGE_HINT};"
            " bubblewrap: the engine is not running; podman is not installed\n"
        ),
        2,
    ),
    (
        REFERENCE,
        {"bubblewrap": {"probe": BASH_ONLY}, "docker": {}},
        ("--backend", "bubblewrap"),
        (
            "error: bubblewrap cannot supply the image 'busybox:1' of 'one'\n  --> isol8file.py:2\n"
            f"  hint: {IMAGE_HINT}\n"
        ),
        2,
    ),
    (
        BASH,
        {"bubblewrap": {}, "docker": {"start": BROKEN}},
        ("--backend", "docker"),
        (
            "error: docker cannot be imported: No module named 'no_such_sdk'\n"
            "  hint: reinstall isol8tasks or the package that brings this backend\n"
        ),
        3,
    ),
    (
        BASH,
        {"bubblewrap": {}, "docker": {}},
        ("--backend", "dokcer"),
        (
            "error: there is no backend named 'dokcer'; did you mean 'docker'?\n"
            "  hint: installed: bubblewrap, docker; a backend is a package that registers under"
            " 'isol8tasks.backends'\n"
        ),
        3,
    ),
]


@pytest.mark.parametrize(("taskfile", "backends", "words", "error", "code"), NONE)
def test_none_can(
    folder: Path,
    install: Installed,
    capsys: pytest.CaptureFixture[str],
    taskfile: str,
    backends: dict[str, dict[str, str]],
    words: Sequence[str],
    error: str,
    code: int,
) -> None:
    for name, parts in backends.items():
        install(name, **parts)
    assert dry_run(folder, taskfile, *words) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", error)


def test_what_needs_consent_is_refused_before_any_backend_is_tried(
    folder: Path, install: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    install("bubblewrap")
    assert dry_run(folder, HOST) == 2
    assert capsys.readouterr().err.endswith(
        "  hint: run again with --allow-host-network if you trust what it runs\n"
    )
    assert install.calls == []
    assert dry_run(folder, HOST, "--allow-host-network") == 0


@pytest.mark.usefixtures("folder")
def test_exec_says_it_in_the_words_of_a_command_line(
    install: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    install("bubblewrap", probe=BASH_ONLY)
    install("docker", probe=DOWN)
    assert run(["exec", "--image", "debian:12", "-e", "1"]) == 2
    assert capsys.readouterr().err == (
        "error: bubblewrap cannot supply the image 'debian:12' of 'exec'\n"
        "  hint: write --image python, --image node or --image bash, or use a backend that has it;"
        " docker: the engine is not running\n"
    )
