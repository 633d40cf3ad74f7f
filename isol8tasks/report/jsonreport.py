"""The report of a run as JSON; `docs/report.md` is its description."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

from isol8tasks.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from isol8tasks.model.result import RunReport, StageResult

SCHEMA = 1
"""Changes when a key changes its meaning or goes away; new keys do not change it."""


def document(report: RunReport, *, version: str) -> dict[str, Any]:
    """The report as JSON values; `version` is that of isol8tasks."""
    import cattrs  # noqa: PLC0415 -- only who writes a report pays for it

    plain = cattrs.Converter().unstructure
    return {
        "schema": SCHEMA,
        "isol8tasks": version,
        "run": report.run_id,
        "backend": report.backend,
        "verdict": plain(report.verdict),
        "stopped": plain(report.stopped),
        "seconds": report.seconds,
        "notices": list(report.notices),
        "stages": [_stage(result, plain(result)) for result in report.stages],
    }


def write(report: RunReport, path: Path, *, version: str) -> None:
    """Write the report whole or not at all; StoreError where that is not possible."""
    text = json.dumps(document(report, version=version), indent=2) + "\n"
    try:
        _write(path.resolve(), text)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def check_place(path: Path) -> None:
    """StoreError where `write` would fail: no folder, no permission, or a folder of that name."""
    try:
        place = path.resolve()
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not place.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "its folder does not exist")
        if not _is_special(place):
            partial = _partial(place)
            partial.touch()
            partial.unlink()
        elif not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def _unwritable(path: Path, why: str) -> StoreError:
    return StoreError(
        f"the report {str(path)!r} cannot be written: {why}",
        hint="give --report a file in a folder that exists and that you may write to",
    )


def _stage(result: StageResult, fields: dict[str, Any]) -> dict[str, Any]:
    for stream in ("stdout", "stderr"):
        fields[f"{stream}_size"] = fields[stream]["size"]
        fields[stream] = fields[stream]["text"]
    fields["truncated"] = result.stdout.truncated or result.stderr.truncated
    fields["durations"] = {phase.value: seconds for phase, seconds in result.durations}
    fields["outputs"] = list(fields["outputs"])
    fields["unenforced"] = list(fields["unenforced"])
    return fields


def _write(path: Path, text: str) -> None:
    if _is_special(path):
        path.write_text(text, encoding="utf-8")
        return
    partial = _partial(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """A device or a pipe, which must stay what it is."""
    return path.exists() and not path.is_file()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
