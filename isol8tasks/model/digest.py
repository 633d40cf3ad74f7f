"""Content addresses."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Digest:
    """A SHA-256, in hexadecimal, and the size in bytes of what it was taken of.

    The pair is the Remote Execution API's `Digest`.
    """

    hash: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of these bytes."""
        import hashlib  # noqa: PLC0415 -- a listing needs no digests

        return cls(hashlib.sha256(content).hexdigest(), len(content))

    def __str__(self) -> str:
        return f"sha256:{self.hash}"


def digest_of_value(value: Any) -> Digest:
    """The digest of a JSON value in its one canonical form: sorted keys, no white space, ASCII."""
    import json  # noqa: PLC0415 -- see above

    return Digest.of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
