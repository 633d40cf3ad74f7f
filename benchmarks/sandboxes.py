"""What one more sandboxed stage costs: `true` under bubblewrap, beside the same bwrap by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import bench
from bare import BareBwrap, bare_bwrap

FEW, MANY = 10, 100
NOX_ROUNDS = 2
"""`nox -j` starts a nox per session: one round takes longer than one of all the others."""

TASK_FILE = """
from isol8tasks import Image, stage, task
stages = [
    stage(f"stage-{{number}}", image=Image.bash(), run=("true",), inputs=[])
    for number in range({count})
]
task("all", *stages, default=True)
"""

NOXFILE = """
import nox
for number in range({count}):
    @nox.session(name=f"stage-{{number}}", venv_backend="none")
    def session(session):
        session.run(*{command!r}, external=True)
"""

DODO = """
from doit.action import CmdAction
def task_stages():
    for number in range({count}):
        action = CmdAction({command!r}, shell=False, **{identity!r})
        yield {{"basename": f"stage-{{number}}", "actions": [action]}}
"""

Sized = Callable[[int], bench.Competitor]
"""Makes the competitor that starts this many sandboxes."""


def main() -> None:
    rounds = bench.rounds(5, __doc__)
    with bench.workplace() as place, bare_bwrap(place, "true") as bare:
        everyone = {**dict(_isol8tasks(place)), **dict(_bare(bare)), **dict(_doit(place, bare))}
        _report("", everyone, rounds=rounds)
        two = {name: everyone[name] for name in everyone if name.endswith("-j2")}
        beside_nox = {**two, **dict(_nox(place, bare))}
        _report(" beside nox", beside_nox, rounds=min(rounds, NOX_ROUNDS), warm_up=False)


def _report(
    title: str, competitors: dict[str, Sized], *, rounds: int, warm_up: bool = True
) -> None:
    """Totals, and by how much they grow with one more sandbox."""
    sized = {
        f"{name} {count}": make(count)
        for name, make in competitors.items()
        for count in (FEW, MANY)
    }
    results = bench.race(sized, rounds=rounds, warm_up=warm_up)
    totals = {name: results[f"{name} {MANY}"] for name in competitors}
    bare = next(name for name in competitors if name.startswith("bare"))
    bench.table(f"{MANY} times true{title}", totals, base=bare)
    one = {
        name: total.minus(results[f"{name} {FEW}"]).per(MANY - FEW)
        for name, total in totals.items()
    }
    bench.table(f"One more sandbox: ({MANY} - {FEW}) / {MANY - FEW}{title}", one, base=bare)
    for jobs in ("-j1", "-j2"):
        ours, base = one.get(f"isol8tasks run {jobs}"), one.get(f"bare bwrap {jobs}")
        if ours and base:
            low, usual = (ours.min - base.min) * 1e3, (ours.median - base.median) * 1e3
            print(f"\n{jobs}: {low:.1f} ms (min), {usual:.1f} ms (median) over bare bwrap")


def _bare(bare: BareBwrap) -> Iterator[tuple[str, Sized]]:
    yield "bare bwrap -j1", lambda count: partial(_one_by_one, bare, count)
    yield "bare bwrap -j2", lambda count: partial(_two_at_a_time, bare, count)


def _one_by_one(bare: BareBwrap, count: int) -> None:
    for _ in range(count):
        bare.run()


def _two_at_a_time(bare: BareBwrap, count: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        for running in [pool.submit(bare.run) for _ in range(count)]:
            running.result()


def _isol8tasks(place: Path) -> Iterator[tuple[str, Sized]]:
    if path := bench.program("isol8tasks"):
        for jobs in ("-j1", "-j2"):
            name, argv = f"isol8tasks run {jobs}", (path, "run", jobs)
            yield name, _generated(place / name, "isol8file.py", TASK_FILE.format, argv)


def _doit(place: Path, bare: BareBwrap) -> Iterator[tuple[str, Sized]]:
    if path := bench.program("doit"):
        text = partial(DODO.format, command=list(bare.command), identity={})
        yield "doit", _generated(place / "doit", "dodo.py", text, (path,))


def _nox(place: Path, bare: BareBwrap) -> Iterator[tuple[str, Sized]]:
    if path := bench.program("nox"):
        text = partial(NOXFILE.format, command=bare.command)
        yield "nox", _generated(place / "nox", "noxfile.py", text, (path,))
        parallel = (path, "-j2", "--allow-parallel")
        yield "nox -j2", _generated(place / "nox -j2", "noxfile.py", text, parallel)


def _generated(place: Path, file: str, text: Callable[..., str], argv: tuple[str, ...]) -> Sized:
    """A command line in a folder that is made for each count, with one file in it."""

    def make(count: int) -> bench.Competitor:
        folder = bench.written(place / str(count), file, text(count=count))
        return bench.command(*argv, cwd=folder)

    return make


if __name__ == "__main__":
    main()
