"""Makes what strangers' code printed harmless for a terminal and for the log of a CI service."""

from __future__ import annotations

import re

_SHOWN = (
    *range(0x09),  # C0 but for tab and newline
    *range(0x0B, 0x20),
    *range(0x7F, 0xA0),  # DEL, C1
    *(0x2028, 0x2029),  # line separators
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # text direction
    *range(0xE0000, 0xE0080),  # invisible tags
    *range(0xD800, 0xE000),  # half of a surrogate pair, which no stream takes
)
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _SHOWN}
"""Characters as Python writes them in a string."""

# Azure and TeamCity find theirs anywhere in a line, GitHub its old form too:
# https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
_HASH_COMMAND = re.compile(r"##([A-Za-z]*)\[")
# GitHub ignores white space before its newer form.
_COLON_COMMAND = re.compile(r"^([^\S\n]*)::", re.MULTILINE)
# GitLab and Travis fold their logs by these.
_FOLD_COMMAND = re.compile(r"\b(section_(?:start|end)|travis_fold:(?:start|end)|travis_time):")
# Buildkite opens a group at these, and only at the start of a line.
_GROUP_COMMAND = re.compile(r"^(?=(?:---|\+\+\+|~~~|\^\^\^)(?:\s|$))", re.MULTILINE)


def neutralise(text: str) -> str:
    r"""Show control codes as text (`\x1b`) and break what a CI service takes for a command.

    Lines and tabs stay. What only works at the very start of a line (Buildkite's `--- `, as in any
    diff) is left to the caller, who indents.
    """
    text = text.replace("\r\n", "\n").translate(_ESCAPES)
    text = _HASH_COMMAND.sub(r"##\1\\[", text)
    text = _FOLD_COMMAND.sub(r"\1\\:", text)
    return _COLON_COMMAND.sub(r"\1\\::", text)


def neutralise_bare(text: str) -> str:
    """`neutralise`, for text whose lines are printed without anything before them."""
    return _GROUP_COMMAND.sub(r"\\", neutralise(text))


def one_line(text: str) -> str:
    r"""`neutralise`, with line ends shown as `\n`: for names and reasons."""
    return neutralise_bare(text.strip()).replace("\n", r"\n")
