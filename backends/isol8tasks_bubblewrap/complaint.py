"""What a failed bake says: the tool's own reason in one sentence, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from isol8tasks.errors import ImageError, OperationError, StoreError
from isol8tasks.model.result import Exit
from isol8tasks_bubblewrap.tree import disk_hint

_LONGEST = 700
_DISK_FULL = re.compile(r"No space left on device|ENOSPC|Disk quota exceeded|os error 28")
_CAUSE = re.compile(r"^\s*(?:cause:|Caused by:|\u2570\u2500\u25b6)\s*")
_MARKS = re.compile(r"^\s*(?:error:|[\u2500-\u25b6\u00d7]+)\s*")
_NPM = re.compile(r"^npm (?:error|ERR!) ?(?:notarget |404 |network )?")
_NPM_NOISE = re.compile(r"A complete log of this run|^\s*(?:code|errno|syscall) |^\s*$")
_ADVICE = (
    (
        re.compile(r"no (?:usable )?wheels|building from source is disabled|only-binary|no-build"),
        "a package without a wheel runs its own code to be built: .pip(…, only_binary=False)",
    ),
    (
        re.compile(r"Failed to fetch|dns error|ENOTFOUND|ECONNREFUSED|EAI_AGAIN|timed out"),
        "check the network, and the index and proxy settings of pip, uv and npm on this host",
    ),
    (
        re.compile(r"certificate|CERT_|SELF_SIGNED", re.IGNORECASE),
        "name the certificates of your authority in SSL_CERT_FILE",
    ),
)


def bake_error(image: str, step: str, lines: list[str], ended: Exit) -> OperationError:
    """The error for a step whose tool failed; `lines` are the end of what it printed."""
    text, hint = _condense(lines)
    reason = text or f"the tool ended with {ended.signal or ended.code}"
    message = f"cannot bake {image}: {step}: {reason}"
    log = "\n".join(lines)
    if _DISK_FULL.search(log):
        return StoreError(f"{message} (the disk is full)", hint=disk_hint(full=True))
    advice = (words for pattern, words in _ADVICE if pattern.search(log))
    return ImageError(message, hint=next(advice, hint), log=log)


def _condense(lines: list[str]) -> tuple[str, str]:
    """The tool's reason and its hint, each in one line."""
    if any(_NPM.match(line) for line in lines):
        said = [_NPM.sub("", line) for line in lines if _NPM.match(line)]
        return _join(line for line in said if not _NPM_NOISE.search(line)), ""
    start = next((n for n, line in enumerate(lines) if re.match(r"\s*(error|\u00d7)", line)), None)
    said = lines[start:] if start is not None else lines[-3:]
    hints = next((n for n, line in enumerate(said) if line.startswith("hint:")), len(said))
    hint = _join(line.removeprefix("hint:") for line in said[hints:])
    return _join(_MARKS.sub("", _CAUSE.sub(": ", line)) for line in said[:hints]), hint


def _join(lines: Iterable[str]) -> str:
    text = " ".join(line.strip() for line in lines if line.strip()).replace(" : ", ": ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
