"""Which interpreters of the host are found, and which one is taken."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from isol8tasks_bubblewrap.toolchain import find_node, find_python

from isol8tasks.errors import ImageError
from isol8tasks.model.image import ImageKind

OWN = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))
BASE = Path(sys._base_executable)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Only the interpreter that runs us, the system's, and what a test adds to PATH."""
    for name in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME", "NVM_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    return bin_folder


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def pretend(path: Path, version: str, *, supported: bool = True) -> Path:
    """An interpreter of another version, as far as it says itself."""
    prefix = path.parent.parent
    said = {
        "version": version,
        "supported": supported,
        "prefix": str(prefix),
        "executable": str(path),
    }
    return program(path, f"echo '{json.dumps(said)}'")


@pytest.mark.parametrize("version", ["", "3", MINOR, OWN])
def test_the_interpreter_that_runs_us_comes_first(version: str) -> None:
    found = find_python(version)
    assert (found.kind, found.version) == (ImageKind.PYTHON, OWN)
    assert found.executable == os.path.realpath(BASE)
    assert found.prefix == os.path.realpath(sys.base_prefix)
    assert found.visible_at == (() if found.is_system else (found.prefix,))


def test_another_version_on_the_path(nothing_installed: Path) -> None:
    pretend(nothing_installed / "python3.77", "3.77.1")
    assert find_python("3.77").executable == str(nothing_installed / "python3.77")
    assert find_python("3.77.1").prefix == str(nothing_installed.parent)


def test_a_part_of_a_number_is_no_match(nothing_installed: Path) -> None:
    pretend(nothing_installed / "python3", "3.77.12")
    with pytest.raises(ImageError):
        find_python("3.77.1")


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("PYENV_ROOT", "versions/{}/bin/python3"),
        ("UV_PYTHON_INSTALL_DIR", "cpython-{}-linux-x86_64-gnu/bin/python3"),
    ],
)
def test_version_managers_and_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "manager"))
    for version in ("3.77.2", "3.77.10", "3.78.0"):
        pretend(tmp_path / "manager" / folder.format(version), version)
    assert find_python("3.77").version == "3.77.10"
    assert find_python("3.77.2").version == "3.77.2"


def test_shims_and_broken_interpreters_are_passed_over(
    nothing_installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims = tmp_path / "shims"
    pretend(shims / "python3.77", "3.77.0")
    broken = tmp_path / "broken"
    program(broken / "python3.77", "exit 127")
    (broken / "python3").write_text("not a program")
    pretend(nothing_installed / "python3.77", "3.77.1")
    monkeypatch.setenv("PATH", f"{shims}:{broken}:{nothing_installed}:relative")
    assert find_python("3.77").version == "3.77.1"


def test_an_unsupported_interpreter_is_no_match(nothing_installed: Path) -> None:
    pretend(nothing_installed / "python3.77", "3.77.0", supported=False)
    with pytest.raises(ImageError):
        find_python("3.77")


def test_no_match_says_what_there_is(nothing_installed: Path) -> None:
    pretend(nothing_installed / "python3.13", "3.13.99")
    with pytest.raises(ImageError) as caught:
        find_python("3.8")
    message = caught.value.message
    assert message.startswith(
        "there is no CPython 3.8 on this host (3.9 or newer, a final release): "
        f"found python {OWN} ({os.path.realpath(BASE)})"
    )
    assert f"python 3.13.99 ({nothing_installed}/python3.13)" in message
    assert len(set(re.findall(r"\(/\S+\)", message))) == len(re.findall(r"\(/\S+\)", message))
    assert caught.value.hint == (
        "install it (pyenv and uv are looked at too), or name one that is here, such as "
        f"Image.python('{MINOR}')"
    )


def test_a_second_look_starts_no_interpreter(nothing_installed: Path, tmp_path: Path) -> None:
    count, probes = tmp_path / "count", tmp_path / "probes.json"
    path = pretend(nothing_installed / "python3.77", "3.77.0")
    path.write_text(path.read_text() + f"echo x >> {count}\n")
    first, second = find_python("3.77", probes=probes), find_python("3.77", probes=probes)
    assert first == second
    assert count.read_text() == "x\n"
    path.write_text(path.read_text() + "# changed\n")
    changed = find_python("3.77", probes=probes)
    assert count.read_text() == "x\nx\n"
    assert changed.fingerprint != first.fingerprint


@pytest.mark.parametrize("content", ["", "[]", "{]", '{"x": 1}'])
def test_a_damaged_memory_of_probes_is_no_harm(tmp_path: Path, content: str) -> None:
    (tmp_path / "probes.json").write_text(content)
    assert find_python("", probes=tmp_path / "probes.json").version == OWN


def test_a_memory_that_cannot_be_written_is_no_harm(tmp_path: Path) -> None:
    assert find_python("", probes=tmp_path / "nowhere" / "probes.json").version == OWN


def test_a_prefix_behind_a_link_is_visible_at_both_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "var-home"
    pretend(real / "versions/3.77.0/bin/python3", "3.77.0")
    (tmp_path / "linked").symlink_to(real)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "linked"))
    found = find_python("3.77")
    assert found.visible_at == (
        str(real / "versions/3.77.0"),
        str(tmp_path / "linked/versions/3.77.0"),
    )


def test_the_node_of_the_host() -> None:
    found = find_node("")
    if shutil.which("node") is None:
        assert found is None
        return
    assert found is not None
    assert found.kind is ImageKind.NODE
    assert Path(found.npm).name == "npm-cli.js"
    assert find_node(found.version.split(".")[0]) == found


def test_a_node_that_is_not_there() -> None:
    assert find_node("1234") is None


@pytest.mark.parametrize(
    ("version", "with_npm", "usable"),
    [("77.0.0", True, True), ("77.0.0", False, False), ("16.20.2", True, False)],
)
def test_a_node_needs_its_npm_and_an_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, with_npm: bool, usable: bool
) -> None:
    home = tmp_path / "nvm/versions/node" / f"v{version}"
    said = {"version": version, "executable": str(home / "bin/node")}
    program(home / "bin/node", f"echo '{json.dumps(said)}'")
    if with_npm:
        program(home / "lib/node_modules/npm/bin/npm-cli.js", "")
    monkeypatch.setenv("NVM_DIR", str(tmp_path / "nvm"))
    found = find_node(version.split(".", maxsplit=1)[0])
    assert (found is not None) is usable
    if found:
        assert found.prefix == str(home)
