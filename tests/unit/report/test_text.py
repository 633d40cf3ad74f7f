"""Output of strangers, made harmless."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.report.text import neutralise, neutralise_bare, one_line

CASES = [
    ("plain", "plain"),
    ("two\nlines\tand a tab\n", "two\nlines\tand a tab\n"),
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    ("real\rfake", r"real\rfake"),
    ("dos\r\nline\r\n", "dos\nline\n"),
    ("\x9b2J", r"\x9b2J"),
    ("a\x7f\x08", r"a\x7f\x08"),
    ("nul\x00", r"nul\x00"),
    ("\u202etxt.exe", r"\u202etxt.exe"),
    ("\u2066a\u2069", r"\u2066a\u2069"),
    ("line\u2028separator", r"line\u2028separator"),
    ("\U000e0041", r"\U000e0041"),
    ("\ud800", r"\ud800"),
    ("ünïcödé 漢字 👩‍🚀", "ünïcödé 漢字 👩‍🚀"),
    ("::error file=a::b", r"\::error file=a::b"),
    ("  ::set-output name=a::b", r"  \::set-output name=a::b"),
    ("tests/test_a.py::test_b", "tests/test_a.py::test_b"),
    ("##[group]x", r"##\[group]x"),
    ("text ##[add-matcher]x", r"text ##\[add-matcher]x"),
    ("##vso[task.setvariable variable=a]b", r"##vso\[task.setvariable variable=a]b"),
    ("x ##teamcity[testFailed name='a']", r"x ##teamcity\[testFailed name='a']"),
    ("section_start:1560896352:a\r\x1b[0K", r"section_start\:1560896352:a\r\x1b[0K"),
    ("travis_fold:start:a", r"travis_fold:start\:a"),
]

COMMAND = re.compile(
    r"^\s*::|##[a-z]*\[|^section_(start|end):|^travis_fold:\w+:|^(---|\+\+\+|~~~|\^\^\^)\s",
    re.MULTILINE | re.IGNORECASE,
)
TEXT = st.text() | st.lists(
    st.sampled_from(
        [*(case for case, _ in CASES), "\n", "\r", " ", "#", "##", "::", "[", "--- a", "+++ ", "x"]
    )
).map("".join)


@pytest.mark.parametrize(("text", "harmless"), CASES)
def test_neutralise(text: str, harmless: str) -> None:
    assert neutralise(text) == harmless


def test_a_diff_stays_readable_behind_a_bar_and_breaks_no_log_without_one() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    assert neutralise(diff) == diff
    assert neutralise_bare(diff) == "\\--- a/x\n\\+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"


def test_one_line() -> None:
    assert one_line("  a\nb\x1b[2J \n") == r"a\nb\x1b[2J"


@given(TEXT)
def test_nothing_that_acts_remains(text: str) -> None:
    harmless = neutralise_bare(text)
    controls = {c for c in harmless if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}}
    assert controls <= {"\n", "\t"}
    assert not COMMAND.search(harmless)
    harmless.encode()


@given(TEXT)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert neutralise_bare(neutralise_bare(text)) == neutralise_bare(text)


@given(TEXT)
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
