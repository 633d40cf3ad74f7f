"""The prices: a Python library, built as a wheel."""

from isol8tasks import stage, task

from tools import images, lint

style = lint.python()

unit = stage(
    "unit",
    image=images.tests,
    run='pytest -q -p no:cacheprovider "$@"',
    env={"PYTHONPATH": "src"},
    posargs=True,
    inputs=["src/**", "tests/**"],
    description="the unit tests pass on the sources",
)

wheel = stage(
    "wheel",
    image=images.builders,
    run="hatchling build -t wheel",
    inputs=["src/**", "pyproject.toml"],
    outputs=["dist/*.whl"],
    description="what the services install",
)

task("checks", style, unit, wheel, default=True)
