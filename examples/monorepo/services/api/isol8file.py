"""The web service, tested with the wheel of the prices."""

from isol8tasks import stage, task

from tools import images, lint

style = lint.python()

unit = stage(
    "unit",
    image=images.tests,
    run='PYTHONPATH="src:$(echo ../../libs/core/dist/*.whl)" pytest -q -p no:cacheprovider "$@"',
    posargs=True,
    inputs=["src/**", "tests/**", "//libs/core:wheel", "//libs/schema:bundle"],
    description="the unit tests pass with the wheel; answers are what the schema says",
)

task("checks", style, unit, default=True)
