"""The nightly job: a file of orders becomes a file of quotes."""

from isol8tasks import stage, task

from tools import images, lint

style = lint.python()
wheel = "//libs/core:wheel"
path = 'export PYTHONPATH="src:$(echo ../../libs/core/dist/*.whl)"; '

unit = stage(
    "unit",
    image=images.tests,
    run=path + 'pytest -q -p no:cacheprovider "$@"',
    posargs=True,
    inputs=["src/**", "tests/**", wheel],
    description="the unit tests pass with the wheel",
)

quotes = stage(
    "quotes",
    image=images.python,
    run=path + "python -m parcels_batch < orders.csv > quotes.json",
    inputs=["src/**", "orders.csv", wheel],
    outputs=["quotes.json"],
    description="the job runs on real orders",
)

task("checks", style, unit, quotes, default=True)
