"""What earlier runs found out: one small file per workspace, in the user's state folder.

It is a help and no record: whatever is wrong with it, a run goes on as if it were the first.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from isol8tasks.errors import StoreError
from isol8tasks.model.digest import Digest
from isol8tasks.model.result import Phase, RunReport, StageResult, Verdict

SCHEMA = 1
"""Changes with the form of the file, and with a new verdict; another one's file is not read."""

_MOST_SECONDS = 5
_MOST_NAMES = 10_000
_KEPT_FOR = 90 * 24 * 3600  # seconds
_POLL_SECONDS = 0.02
_OWN = frozenset({Phase.INPUTS, Phase.RUN, Phase.OUTPUTS})
_UNJUDGED = frozenset({Verdict.CANCELLED, Verdict.SKIPPED, Verdict.ERROR})


@attrs.frozen(kw_only=True)
class Past:
    """What is known of one stage.

    `verdict` is that of the last run that had it, also when it did not get to run there. `seconds`
    are those of the last few runs that really ran and were judged, the newest last: the time for
    its inputs, its command and its outputs, without waiting and baking.
    """

    verdict: Verdict
    seconds: tuple[float, ...] = ()


@attrs.frozen
class _Entry:
    past: Past
    seen: int  # seconds since 1970, when a run last had the stage


class RunHistory:
    """The stages of one workspace and how they did; safe for several runs at a time.

    `patience` is how many seconds `record` waits for another run that is recording.
    """

    def __init__(self, file: Path, *, patience: float = 5.0) -> None:
        self._file = file
        self._patience = patience

    @classmethod
    def of_workspace(cls, root: Path, state: Path) -> RunHistory:
        """The history of the workspace at `root`, whatever links lead there, below `state`."""
        real = os.path.realpath(root)
        slug = re.sub(r"[^A-Za-z0-9_]+", "-", Path(real).name)[:40].strip("-") or "workspace"
        return cls(state / "history" / f"{slug}-{Digest.of(os.fsencode(real)).hash[:16]}.json")

    def read(self) -> Mapping[str, Past]:
        """What is known, by stage; nothing when there is no file, or none that can be read."""
        try:
            entries = self._entries()
        except OSError:
            return {}
        return {name: entry.past for name, entry in entries.items()}

    def failed(self) -> frozenset[str] | None:
        """The stages that did not pass when a run last had them; None without any history.

        That is also what was skipped or cancelled, and may name stages that are no more.
        """
        known = self.read()
        if not known:
            return None
        return frozenset(n for n, past in known.items() if past.verdict is not Verdict.PASSED)

    def durations(self) -> Mapping[str, float]:
        """The median of the seconds of each stage that ever ran to its end."""
        return {name: _median(past.seconds) for name, past in self.read().items() if past.seconds}

    def record(self, report: RunReport) -> None:
        """Add what a run found out, beside what other runs do; StoreError when it cannot be kept.

        Stages that the run did not have stay as they are; after 90 days without a run they go.
        """
        try:
            _make_own(self._file.parent)
            with _locked(self._file.with_suffix(".lock"), self._patience):
                now = int(time.time())
                entries = self._entries()
                for result in report.stages:
                    older = entries.get(result.name)
                    past = _updated(older.past.seconds if older else (), result)
                    entries[result.name] = _Entry(past, now)
                self._write(_kept(entries, now))
        except OSError as error:
            raise StoreError(
                f"cannot keep the run history in {self._file.parent}: {error.strerror}",
                hint="--last-failed and --shard go by it: make the folder and what is in it yours "
                "to write, or set XDG_STATE_HOME to another folder",
            ) from error

    def _entries(self) -> dict[str, _Entry]:
        """OSError when there is a file and it cannot be read: not to be taken for damaged."""
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        return _parsed(content)

    def _write(self, entries: Mapping[str, _Entry]) -> None:
        from isol8tasks.backend.folders import draft_of  # noqa: PLC0415 -- not for `list`

        document = {
            "schema": SCHEMA,
            "stages": {name: _plain(entry) for name, entry in entries.items()},
        }
        content = json.dumps(document, sort_keys=True, separators=(",", ":"))
        draft = draft_of(self._file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="ascii") as file:
                file.write(content + "\n")
            draft.replace(self._file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _updated(seconds: tuple[float, ...], result: StageResult) -> Past:
    """A stage that did not get to run keeps its times, but has not passed."""
    ran = any(phase is Phase.RUN for phase, _ in result.durations)
    if ran and not result.cached and result.verdict not in _UNJUDGED:
        spent = sum(seconds for phase, seconds in result.durations if phase in _OWN)
        seconds = (*seconds, round(spent, 3))[-_MOST_SECONDS:]
    return Past(verdict=result.verdict, seconds=seconds)


def _kept(entries: Mapping[str, _Entry], now: int) -> Mapping[str, _Entry]:
    """Without what is old, and of too many names those seen last, failures first."""
    fresh = [item for item in entries.items() if now - item[1].seen <= _KEPT_FOR]
    fresh.sort(key=lambda item: (-item[1].seen, item[1].past.verdict is Verdict.PASSED, item[0]))
    return dict(fresh[:_MOST_NAMES])


def _parsed(content: bytes) -> dict[str, _Entry]:
    """The entries in a file; none when it is damaged in any way, or of another schema."""
    try:
        document = json.loads(content)
        if document["schema"] != SCHEMA:
            return {}
        return {name: _entry(plain) for name, plain in document["stages"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _entry(plain: Any) -> _Entry:
    seconds = tuple(_number(value) for value in plain["seconds"])
    past = Past(verdict=Verdict(plain["verdict"]), seconds=seconds)
    return _Entry(past, int(_number(plain["seen"])))


def _plain(entry: _Entry) -> dict[str, Any]:
    past = entry.past
    return {"verdict": past.verdict.value, "seconds": past.seconds, "seen": entry.seen}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return float(value)


def _median(seconds: tuple[float, ...]) -> float:
    """The mean of the two in the middle when they are even."""
    ordered = sorted(seconds)
    upper, lower = ordered[len(ordered) // 2], ordered[(len(ordered) - 1) // 2]
    return (upper + lower) / 2


def _make_own(folder: Path) -> None:
    """Make a folder that nobody else can look into, as the XDG base directories are to be made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _locked(path: Path, patience: float) -> Iterator[None]:
    """Be the only one who records, which takes others milliseconds; one that is stopped, longer."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + patience
        while not _taken(lock):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, f"another process holds {path.name}")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
