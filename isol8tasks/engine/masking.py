"""Taking secret values out of a stream of bytes, in whatever common form they appear."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable

MASK = b"***"
_SHORTEST = 4
_UNQUOTED = ("", "/", "!'()*", "/!'()*")
"""What is left as it is by Python, by JavaScript's encodeURIComponent, and by both."""
_PERCENT = re.compile(r"%[0-9A-F]{2}")


class Mask:
    """Replaces secret values, also where they are encoded or split across writes.

    Known forms: as it is, base64 and its URL-safe alphabet at each of three offsets, or cut into
    lines, hexadecimal, URL-, JSON- and Python-escaped. A value shorter than 4 bytes is masked as it
    is, but not its encodings, which would hit innocent text.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret.encode())}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None
        self._longest = len(ordered[0]) if ordered else 0

    def apply(self, content: bytes) -> bytes:
        """The content without the secrets; for content that is complete."""
        return self._pattern.sub(MASK, content) if self._pattern else content

    def text(self, content: str) -> str:
        """The same for text."""
        if self._pattern is None:
            return content
        return self.apply(content.encode(errors="surrogateescape")).decode(errors="replace")

    def stream(self) -> MaskedStream:
        """A filter for content that comes in pieces."""
        return MaskedStream(self)

    def split(self, content: bytes) -> tuple[bytes, bytes]:
        """What is certain, masked, and what may be the beginning of a secret."""
        if self._pattern is None:
            return content, b""
        done, start = bytearray(), 0
        hold = max(0, len(content) - self._longest + 1)
        for match in self._pattern.finditer(content):
            if match.start() >= hold:
                break
            done += content[start : match.start()] + MASK
            start = match.end()
        hold = max(hold, start)
        return bytes(done + content[start:hold]), content[hold:]


class MaskedStream:
    """One stream on its way through a mask; holds back what may be the beginning of a secret."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be passed on after this piece."""
        done, self._held = self._mask.split(self._held + piece)
        return done

    def finish(self) -> bytes:
        """The rest."""
        rest, self._held = self._mask.apply(self._held), b""
        return rest


def _forms(value: bytes) -> set[bytes]:
    forms = {value, *(line for line in value.splitlines() if len(line) >= _SHORTEST)}
    if len(value) < _SHORTEST:
        return forms
    text = value.decode(errors="replace")
    forms |= {value.hex().encode(), value.hex().upper().encode()}
    quoted = {urllib.parse.quote(value, safe=safe) for safe in _UNQUOTED}
    quoted.add(urllib.parse.quote_plus(value))
    forms |= {form.encode() for form in quoted}
    forms |= {_PERCENT.sub(lambda found: found[0].lower(), form).encode() for form in quoted}
    strings = {json.dumps(text, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)}
    strings |= {json.dumps(form)[1:-1] for form in strings}  # JSON in JSON
    forms |= {form.encode() for form in strings}
    forms |= {form.replace("/", "\\/").encode() for form in strings}
    forms |= {ascii(text)[1:-1].encode(), repr(text)[1:-1].encode()}  # as refusals show names
    forms.add(repr(value)[2:-1].encode())
    lines = base64.encodebytes(value).splitlines()
    forms.update(line for line in lines if len(lines) > 1 and len(line) >= 2 * _SHORTEST)
    for offset in range(3):
        forms |= _base64_core(value, offset)
    return forms


def _base64_core(value: bytes, offset: int) -> set[bytes]:
    """The characters that depend on the value alone when it starts at this offset modulo 3."""
    padded = bytes(offset) + value
    start = -(-offset * 8 // 6)
    end = len(padded) * 8 // 6
    return {encode(padded)[start:end] for encode in (base64.b64encode, base64.urlsafe_b64encode)}
