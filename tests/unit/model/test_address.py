from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.model.address import canonical, is_below, local, split

NAMES = st.text("abcXYZ019._+-", min_size=1)
FOLDERS = st.lists(st.text("ab:. \u00e4", min_size=1), max_size=3).map("/".join)


@pytest.mark.parametrize(
    ("folder", "name", "full"),
    [
        ("", "unit", "unit"),
        ("api", "unit", "//api:unit"),
        ("services/api", "unit-3.11", "//services/api:unit-3.11"),
        ("odd:folder", "unit", "//odd:folder:unit"),
    ],
)
def test_a_name_and_its_folder(folder: str, name: str, full: str) -> None:
    assert canonical(folder, name) == full
    assert split(full) == (folder, name)
    assert local(full) == name


@given(FOLDERS, NAMES)
def test_no_two_places_share_a_name(folder: str, name: str) -> None:
    assert split(canonical(folder, name)) == (folder, name)


@pytest.mark.parametrize(
    ("folder", "top", "below"),
    [
        ("", "", True),
        ("a/b", "", True),
        ("a", "a", True),
        ("a/b", "a", True),
        ("a", "a/b", False),
        ("ab", "a", False),
        ("", "a", False),
    ],
)
def test_below(folder: str, top: str, below: bool) -> None:
    assert is_below(folder, top) is below
