from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.model.units import (
    format_duration,
    format_size,
    parse_count,
    parse_cpus,
    parse_duration,
    parse_size,
)

DURATION = "write 500ms, 30s, 2m, 1h or seconds"
SIZE = "write 64k, 512m, 1g or bytes"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("90", 90.0),
        ("1.5", 1.5),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_durations(written: Any, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)
    assert isinstance(parse_duration(written), float)


@pytest.mark.parametrize(
    ("written", "size"),
    [("1", 1), ("64k", 65536), ("512m", 536870912), ("1G", 1 << 30), ("2t", 2 << 40), (100, 100)],
)
def test_sizes(written: Any, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    ("parse", "written", "message"),
    [
        (parse_duration, "30 s", f"'30 s' is not a duration: {DURATION}"),
        (parse_duration, "-1s", f"'-1s' is not a duration: {DURATION}"),
        (parse_duration, "1e3s", f"'1e3s' is not a duration: {DURATION}"),
        (parse_duration, "30s\n", f"'30s\\n' is not a duration: {DURATION}"),
        (parse_duration, None, f"None is not a duration: {DURATION}"),
        (parse_duration, "0.0s", f"'0.0s' is not a duration above zero: {DURATION}"),
        (parse_duration, -1, f"-1 is not a duration above zero: {DURATION}"),
        (parse_duration, float("nan"), f"nan is not a duration above zero: {DURATION}"),
        (parse_duration, float("inf"), f"inf is not a duration above zero: {DURATION}"),
        (parse_duration, "8785h", f"'8785h' is too large for a duration: {DURATION}"),
        (parse_size, "1kb", f"'1kb' is not a size: {SIZE}"),
        (parse_size, "1.5g", f"'1.5g' is not a size: {SIZE}"),
        (parse_size, 1.0, f"1.0 is not a size: {SIZE}"),
        (parse_size, True, f"True is not a size: {SIZE}"),
        (parse_size, 0, f"0 is not a size above zero: {SIZE}"),
        (parse_size, "0g", f"'0g' is not a size above zero: {SIZE}"),
        (parse_size, "8388608t", f"'8388608t' is too large for a size: {SIZE}"),
        (parse_count, "3", "'3' is not a whole number: write 1, 2, 3 …"),
        (parse_count, 3.0, "3.0 is not a whole number: write 1, 2, 3 …"),
        (parse_count, 0, "0 is not a whole number above zero: write 1, 2, 3 …"),
        (parse_count, 1 << 63, f"{1 << 63} is too large for a whole number: write 1, 2, 3 …"),
        (parse_cpus, "1", "'1' is not a number of cpus: write 0.5, 1, 2 …"),
        (parse_cpus, 0, "0 is not a number of cpus above zero: write 0.5, 1, 2 …"),
    ],
)
def test_no_units(parse: Any, written: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(written)
    assert str(caught.value) == message


def test_other_numbers() -> None:
    assert (parse_count(3), parse_cpus(0.5), parse_cpus(2)) == (3, 0.5, 2.0)


@given(st.integers(1, 999), st.sampled_from(["ms", "s", "m", "h"]))
def test_durations_are_numbers_and_units(number: int, unit: str) -> None:
    factor = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * factor)


@given(st.integers(1, (1 << 63) - 1))
def test_a_formatted_size_is_that_size(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) > 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.00s"),
        (0.424, "0.42s"),
        (9.994, "9.99s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (3720, "1h02m"),
    ],
)
def test_shown_durations(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0"), (1000, "1000"), (1024, "1k"), (512 << 20, "512m"), (3 << 30, "3g"), (1 << 40, "1t")],
)
def test_shown_sizes(size: int, shown: str) -> None:
    assert format_size(size) == shown
