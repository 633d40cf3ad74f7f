"""The project's own checks, in sandboxes: what needs no sandbox of its own."""

from isol8tasks import Image, stage, task

python = Image.python()
linters = python.pip("ruff>=0.9")
tests = python.pip(
    "attrs>=24.2",
    "cattrs>=24.1",
    "click>=8.1.7",
    "hypothesis>=6.115",
    "pathspec>=1.0",
    "platformdirs>=4.2",
    "pytest-timeout>=2.3",
    "pytest>=8.3",
    "rich>=13.7",
    "structlog>=24.4",
    "uv>=0.8",
)
code = ["isol8tasks/**", "backends/**", "tests/**", "docs/**", "pyproject.toml"]

lint = stage(
    "lint",
    image=linters,
    run=["ruff check --no-cache", "ruff format --no-cache --check"],
    inputs=[*code, "benchmarks/**", "examples/**", "scripts/**", "*.py"],
    timeout="1m",
    description="ruff has nothing to say",
)

unit = stage(
    "unit",
    image=tests.env(PYTHONPATH="/sandbox:/sandbox/backends"),
    run='pytest -q -p no:cacheprovider -m "not bubblewrap and not network" "$@" tests/unit/engine '
    "tests/unit/model tests/unit/plan tests/unit/store tests/unit/taskfile tests/unit/report",
    inputs=code,
    posargs=True,
    timeout="5m",
    description="the unit tests that start no sandbox",
)

task("checks", lint, unit, default=True)
