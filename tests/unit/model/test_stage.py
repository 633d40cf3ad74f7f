from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isol8tasks.errors import Location
from isol8tasks.model.digest import Digest, digest_of_value
from isol8tasks.model.image import Image
from isol8tasks.model.stage import Shell, Stage

if TYPE_CHECKING:
    from pathlib import Path


def make(**words: Any) -> Stage:
    words = {"name": "a", "image": Image.bash(), "command": Shell(("x",)), **words}
    return Stage(declared_at=Location("isol8file.py", 3), **words)


@pytest.mark.parametrize(
    ("folder", "workdir", "directory"),
    [("", "", ""), ("", "web", "web"), ("sub", "", "sub"), ("sub", "web/a", "sub/web/a")],
)
def test_working_directory(folder: Path, workdir: str, directory: str) -> None:
    assert make(folder=folder, workdir=workdir).working_directory == directory


def test_prerequisites_are_named_once() -> None:
    stage = make(requires=("b", "c"), input_stages=("c", "d", "b"))
    assert stage.prerequisites == ("b", "c", "d")


def test_stages_are_values() -> None:
    assert {make(), make()} == {make()}


def test_locations() -> None:
    assert str(Location("isol8file.py", 3)) == "isol8file.py:3"
    assert str(Location("isol8file.py", 0)) == "isol8file.py"


def test_digests() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Digest.of(b"") == Digest(empty, 0)
    assert str(Digest.of(b"")) == f"sha256:{empty}"
    assert digest_of_value({"b": ["é"], "a": 1}) == Digest.of(b'{"a":1,"b":["\\u00e9"]}')
