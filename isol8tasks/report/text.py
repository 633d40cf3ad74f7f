"""Makes what strangers' code printed harmless for a terminal and for the log of a CI service."""

from __future__ import annotations

import re

_CONTROLS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and newline, DEL, C1
    "\u2028\u2029"  # line separators
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # text direction
    "\U000e0000-\U000e007f"  # invisible tags
    "\ud800-\udfff"  # half of a surrogate pair, which no stream takes
    "]"
)

# Azure and TeamCity find theirs anywhere in a line, GitHub its old form too:
# https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
_HASH_COMMAND = re.compile(r"##([A-Za-z]*)\[")
# GitHub ignores white space before its newer form.
_COLON_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)
# GitLab and Travis fold their logs by these.
_FOLD_COMMAND = re.compile(r"\b(section_(?:start|end)|travis_fold:(?:start|end)|travis_time):")
# Buildkite opens a group at these, and only at the start of a line.
_GROUP_COMMAND = re.compile(r"^(?=(?:---|\+\+\+|~~~|\^\^\^)(?:\s|$))", re.MULTILINE)


def _escape(match: re.Match[str]) -> str:
    """The character as Python writes it in a string."""
    return match[0].encode("unicode_escape").decode()


def neutralise(text: str) -> str:
    r"""Show control codes as text (`\x1b`) and break what a CI service takes for a command.

    Lines and tabs stay. What only works at the very start of a line (Buildkite's `--- `, as in any
    diff) is left to the caller, who indents.
    """
    text = _CONTROLS.sub(_escape, text.replace("\r\n", "\n"))
    text = _HASH_COMMAND.sub(r"##\1\\[", text)
    text = _FOLD_COMMAND.sub(r"\1\\:", text)
    return _COLON_COMMAND.sub(r"\1\\::", text)


def neutralise_bare(text: str) -> str:
    """`neutralise`, for text whose lines are printed without anything before them."""
    return _GROUP_COMMAND.sub(r"\\", neutralise(text))


def one_line(text: str) -> str:
    r"""`neutralise`, with line ends shown as `\n`: for names and reasons."""
    return neutralise_bare(text.strip()).replace("\n", r"\n")
