"""Checks for a submitted package: five patterns that run strangers' code.

Run them with `isol8tasks run`. Only `timeout` is stated, so that every host can hold what is asked.
"""

from isol8tasks import Image, stage, task

python = Image.python().pip("pytest==8.4.2", "flake8==7.3.0")
node = Image.node().npm("typescript@5.9.2")


@stage.python(image=Image.python(), inputs=["src/**/*.py", "tests/**/*.py"], timeout="10s")
def syntax():
    """Every file parses: the cheap gate before anything else."""
    import ast
    import pathlib

    files = sorted(pathlib.Path().glob("*/**/*.py"))
    for path in files:
        ast.parse(path.read_text(), str(path))
    print(f"{len(files)} files parse")


lint = stage(
    "lint",
    image=python,
    run="flake8 src tests --max-line-length=100",
    inputs=["src/**", "tests/**"],
    requires=[syntax],
    timeout="1m",
    description="flake8 has nothing to say",
)

unit = stage(
    "unit",
    image=python.env(PYTHONPATH="src"),
    run="pytest -q -p no:cacheprovider --junitxml=report.xml",
    inputs=["src/**", "tests/**"],
    outputs=["report.xml"],
    requires=[syntax],
    timeout="1m",
    description="the unit tests pass; their JUnit report is kept",
)

build = stage(
    "build",
    image=node,
    run="tsc --noEmit",
    inputs=["web/**"],
    workdir="web",
    requires=[syntax],
    timeout="2m",
    description="the TypeScript part compiles",
)

summary = stage(
    "summary",
    image=Image.python(),
    run=("python", "ci/summary.py", "report.xml"),
    inputs=["ci/**", unit],
    timeout="30s",
    description="one line about the unit tests, from their report",
)

task("checks", syntax, lint, unit, build, summary, default=True)
