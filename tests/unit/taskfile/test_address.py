from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.model.address import split
from isol8tasks.taskfile.address import NAME_HINT, Address, is_pattern, parse
from isol8tasks.taskfile.wrong import Wrong

FORMS = "write unit, path/to/package:unit or //path/from/the/root:unit"


def read(text: str, *, package: str = "services", folder: str = "services/src") -> Address:
    return parse(text, package=package, folder=folder)


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("unit", "//services:unit"),
        (":unit", "//services:unit"),
        ("unit-3.11+x_y", "//services:unit-3.11+x_y"),
        (".:unit", "//services/src:unit"),
        ("api:unit", "//services/src/api:unit"),
        ("./api/v1:unit", "//services/src/api/v1:unit"),
        ("api/:unit", "//services/src/api:unit"),
        ("//:unit", "unit"),
        ("//api:unit", "//api:unit"),
        ("//a/b/:unit", "//a/b:unit"),
        ("//a/./b:unit", "//a/b:unit"),
        ("//a:b:unit", "//a:b:unit"),
        ("//a b:unit", "//a b:unit"),
    ],
)
def test_one_name(text: str, full: str) -> None:
    address = read(text)
    assert (address.canonical, address.deep) == (full, False)


@pytest.mark.parametrize(
    ("text", "folder", "name"),
    [
        ("//...", "", ""),
        ("//...:checks", "", "checks"),
        ("//services/...:unit", "services", "unit"),
        ("//services/api/...", "services/api", ""),
        ("...", "services/src", ""),
        ("...:unit", "services/src", "unit"),
        ("api/...", "services/src/api", ""),
        ("./...:unit", "services/src", "unit"),
    ],
)
def test_a_pattern(text: str, folder: str, name: str) -> None:
    assert read(text) == Address(folder=folder, name=name, deep=True)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("", "is not the address of a stage or a task", NAME_HINT),
        (":", "is not the address of a stage or a task", NAME_HINT),
        ("a:", "is not the address of a stage or a task", NAME_HINT),
        ("//a:", "is not the address of a stage or a task", NAME_HINT),
        ("//a:-x", "is not the address of a stage or a task", NAME_HINT),
        ("//a:x/y", "is not the address of a stage or a task", NAME_HINT),
        ("//...:*", "is not the address of a stage or a task", NAME_HINT),
        ("a:\u00e4", "is not the address of a stage or a task", NAME_HINT),
        ("-x", "is not the address of a stage or a task", NAME_HINT),
        ("x" * 101, "is not the address of a stage or a task", NAME_HINT),
        ("a/b", "is not the address of a stage or a task", FORMS),
        ("a//b", "is not the address of a stage or a task", FORMS),
        ("/a:b", "is not the address of a stage or a task", FORMS),
        ("///a:b", "is not the address of a stage or a task", FORMS),
        ("//a/../b:x", "is not the address of a stage or a task", FORMS),
        ("../b:x", "is not the address of a stage or a task", FORMS),
        ("..:x", "is not the address of a stage or a task", FORMS),
        ("//.../a:x", "is not the address of a stage or a task", FORMS),
        ("//.../...:x", "is not the address of a stage or a task", FORMS),
        ("//a", "names no stage and no task", "write //a:NAME, or //a/... for all below it"),
        ("//a/", "names no stage and no task", "write //a/:NAME, or //a/... for all below it"),
        ("//", "names no stage and no task", "write //:NAME, or //... for all below it"),
    ],
)
def test_no_address(text: str, what: str, hint: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(text)
    assert (caught.value.message, caught.value.hint) == (f"{text!r} {what}", hint)


@given(st.text("ab/.:"))
def test_an_address_never_leaves_the_root(text: str) -> None:
    try:
        address = read(text)
    except Wrong:
        return
    parts = address.folder.split("/") if address.folder else []
    assert not {"", ".", "..", "..."} & set(parts)
    if not address.deep:
        assert split(address.canonical) == (address.folder, address.name)
        assert parse(f"//{address.folder}:{address.name}", package="x", folder="y") == address


@pytest.mark.parametrize("text", ["//...", "//...:unit", "...", "api/...:unit", "//a/..."])
def test_the_canonical_name_of_a_pattern(text: str) -> None:
    address = read(text)
    name = address.canonical
    assert is_pattern(name)
    assert parse(name, package="x", folder="y") == address
    assert split(name)[0].split("/")[-1] == "..."


@pytest.mark.parametrize("text", ["unit", "a...b", "//a:x...", "//a...:x", "//:unit"])
def test_no_pattern(text: str) -> None:
    assert not is_pattern(read(text).canonical)
