from __future__ import annotations

import base64
import json
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.engine.masking import MASK, Mask

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = 'pa/ss"wörd+12'

ENCODINGS = {
    "plain": lambda secret: secret.encode(),
    "hex": lambda secret: secret.encode().hex().encode(),
    "HEX": lambda secret: secret.encode().hex().upper().encode(),
    "url": lambda secret: urllib.parse.quote(secret, safe="").encode(),
    "form": lambda secret: urllib.parse.quote_plus(secret).encode(),
    "json": lambda secret: json.dumps(secret)[1:-1].encode(),
    "url path": lambda secret: urllib.parse.quote(secret).encode(),
    "encodeURIComponent": lambda secret: urllib.parse.quote(secret, safe="!'()*").encode(),
    "url in small letters": lambda secret: (
        urllib.parse.quote(secret, safe="")
        .replace("%2F", "%2f")
        .replace("%2B", "%2b")
        .replace("%C3%B6", "%c3%b6")
        .encode()
    ),
    "json of php": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
    "json in json": lambda secret: json.dumps(json.dumps(secret)[1:-1])[1:-1].encode(),
    "bytes of python": lambda secret: repr(secret.encode())[2:-1].encode(),
    "repr of python": lambda secret: repr(secret)[1:-1].encode(),
    "json utf-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_encodings_are_masked(encode: Callable[..., bytes]) -> None:
    assert Mask([SECRET]).apply(b"<" + encode(SECRET) + b">") == b"<***>"


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_masked_at_every_offset(
    before: str, after: str, encode: Callable[..., bytes]
) -> None:
    encoded = encode((before + SECRET + after).encode())
    masked = Mask([SECRET]).apply(encoded)
    assert MASK in masked
    core = len(SECRET.encode()) * 8 // 6 - 2
    assert len(masked) <= len(encoded) - core + len(MASK)


def test_base64_in_lines_is_masked() -> None:
    secret = "".join(f"{number:04d}" for number in range(50))
    assert Mask([secret]).apply(base64.encodebytes(secret.encode())) == b"***\n" * 4


@given(
    st.text(min_size=4, max_size=12),
    st.lists(st.text(max_size=20), max_size=4),
    st.integers(min_value=1, max_value=9),
)
def test_pieces_never_let_a_secret_through(secret: str, around: list[str], size: int) -> None:
    content = secret.join(around).encode()
    mask = Mask([secret])
    stream = mask.stream()
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    got = b"".join(stream.feed(piece) for piece in pieces) + stream.finish()
    assert got == mask.apply(content)
    assert secret.encode() not in got.replace(MASK, b"\0")


def test_the_longest_secret_wins() -> None:
    assert Mask(["abcd", "abcdef"]).apply(b"abcdefg") == b"***g"


def test_a_short_secret_is_masked_but_not_its_encodings() -> None:
    assert Mask(["ab"]).apply(b"ab 6162") == b"*** 6162"


def test_lines_of_a_secret_are_masked() -> None:
    assert Mask(["first-line\nsecond-line"]).apply(b"> second-line") == b"> ***"


def test_nothing_to_mask() -> None:
    mask = Mask([""])
    assert mask.apply(b"text") == b"text"
    assert mask.stream().feed(b"text") == b"text"
    assert mask.text("text") == "text"
