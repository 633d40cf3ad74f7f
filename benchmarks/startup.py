"""How long a command takes before it does anything: `--version`, and `list` of 100 stages."""

from __future__ import annotations

import sys
from pathlib import Path

import bench

TASK_FILE = """
from isol8tasks import Image, stage
for number in range(100):
    stage(f"stage-{number}", image=Image.bash(), run="true", inputs=[])
"""

NOXFILE = """
import nox
for number in range(100):
    @nox.session(name=f"stage-{number}", venv_backend="none")
    def session(session):
        session.run("true", external=True)
"""

DODO = """
def task_stages():
    for number in range(100):
        yield {"basename": f"stage-{number}", "actions": [["true"]]}
"""

FILES = (
    ("isol8tasks", ("list",), "isol8file.py", TASK_FILE),
    ("nox", ("-l",), "noxfile.py", NOXFILE),
    ("doit", ("list",), "dodo.py", DODO),
)


def main() -> None:
    rounds = bench.rounds(20, __doc__)
    with bench.workplace() as place:
        competitors = _competitors(place)
        results = bench.race(competitors, rounds=rounds)
    pure = "python -c pass"
    version = {name: results[name] for name in (pure, "isol8tasks --version")}
    bench.table("Start, against python -c pass (target: at most 2.5)", version, base=pure)
    lists = {name: samples for name, samples in results.items() if name not in version}
    base = "nox -l" if "nox -l" in lists else "isol8tasks list"
    bench.table(f"List of 100, against {base} (target: at most 0.8)", lists, base=base)


def _competitors(place: Path) -> dict[str, bench.Competitor]:
    found = {"python -c pass": bench.command(sys.executable, "-c", "pass")}
    if ours := bench.program("isol8tasks"):
        found["isol8tasks --version"] = bench.command(ours, "--version")
    for name, arguments, file, text in FILES:
        if path := bench.program(name):
            folder = bench.written(place / name, file, text)
            label = " ".join((name, *arguments))
            found[label] = bench.command(path, *arguments, cwd=folder)
    return found


if __name__ == "__main__":
    main()
