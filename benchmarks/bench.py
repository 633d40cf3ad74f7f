"""Measuring competitors in turn, and printing what came out as a Markdown table."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import attrs

Competitor = Callable[[], object]
"""Does once what is measured; what it returns is dropped."""


@attrs.frozen
class Timing:
    """Seconds: the fastest round shows what the code costs, the median what is usual here."""

    min: float
    median: float

    def minus(self, other: Timing) -> Timing:
        """The difference of two."""
        return Timing(self.min - other.min, self.median - other.median)

    def per(self, count: int) -> Timing:
        """The cost of one of `count` equal parts."""
        return Timing(self.min / count, self.median / count)


def race(
    competitors: Mapping[str, Competitor], *, rounds: int, warm_up: bool = True
) -> dict[str, Timing]:
    """Time the competitors in turn, A B C A B C…: other work of the machine hits all of them.

    The first round warms files and caches up and does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(rounds + warm_up):
        for name, compete in competitors.items():
            start = time.perf_counter()
            compete()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(min(spent), median(spent)) for name, spent in seconds.items()}


def table(title: str, results: Mapping[str, Timing], *, base: str) -> None:
    """Print milliseconds, with ratios of minima and of medians to the competitor `base`."""
    print(f"\n### {title}\n")
    print("| ms | min | median | ratio of min | of median |\n|---|--:|--:|--:|--:|")
    for name, timing in results.items():
        ratios = timing.min / results[base].min, timing.median / results[base].median
        print(
            f"| {name} | {milliseconds(timing.min)} | {milliseconds(timing.median)} "
            f"| {ratios[0]:.2f} | {ratios[1]:.2f} |",
            flush=True,
        )


def milliseconds(seconds: float) -> str:
    """Three digits, or all before the point."""
    shown = seconds * 1e3
    return f"{shown:.3g}" if abs(shown) < 100 else f"{shown:.0f}"


def rounds(default: int, description: str | None) -> int:
    """The rounds asked for on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=default, help=f"default: {default}")
    return max(1, int(parser.parse_args().rounds))


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that sandboxes of other uids can pass; removed at the end.

    What this process starts keeps our cache there, and compiled Python, as if all were installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="isol8tasks-bench-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        os.environ["ISOL8TASKS_CACHE"] = str(folder / "cache")
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        yield folder
    finally:
        shutil.rmtree(folder)


def program(name: str) -> str | None:
    """A program of this Python's environment, else of PATH; None, with a word, when not there."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        print(f"{name} is not installed: left out")
    return found


def command(*argv: str, cwd: Path | None = None) -> Competitor:
    """A competitor that runs a program, which must succeed."""
    return lambda: checked(argv, cwd=cwd)


def checked(argv: Sequence[str], **options: Any) -> None:
    """Run a program with nothing on its streams; show what it said when it fails."""
    ended = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **options,
    )
    if ended.returncode:
        sys.exit(f"{argv[0]} ended with {ended.returncode}:\n{ended.stdout.decode()[-2000:]}")


def written(folder: Path, name: str, text: str) -> Path:
    """A folder that holds one file, such as a task file; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder
