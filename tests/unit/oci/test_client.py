"""What becomes of an engine's words."""

from __future__ import annotations

import pytest
from isol8tasks_oci.client import EngineError, NoAnswer


@pytest.mark.parametrize("kind", [EngineError, NoAnswer])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("docker: no such image", "docker: no such image"),
        ("ä 'ß' →", "ä 'ß' →"),
        ("two\nlines\r\n\tand\x0b more \n", "two lines and more"),
        ("\x1b[31mred\x1b[0m \x00\u202e", "\ufffd[31mred\ufffd[0m \ufffd\ufffd"),
        ("\udcff", "\ufffd"),
        ("x" * 500, "x" * 500),
    ],
)
def test_a_message_is_one_printable_line(kind: type[EngineError], said: str, told: str) -> None:
    error = kind(said, status=500, hint="do this")
    assert (error.message, str(error)) == (told, told)
    assert (error.status, error.hint) == (500, "do this")


def test_of_a_long_one_both_ends_are_told() -> None:
    message = EngineError(f"docker: failed {'x' * 1_000_000}\n: no such file").message
    assert len(message) == 500
    assert message.startswith("docker: failed x")
    assert message.endswith("x : no such file")
