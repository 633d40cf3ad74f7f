"""Checks for a submitted package.

Only the first line is shown by `list`.
"""

from isol8tasks import Image, stage, task

python = Image.python().pip("pytest==8.4.2")


@stage.python(image=Image.python(), inputs=["src/**/*.py"], timeout="10s")
def syntax():
    """Every file parses."""


lint = stage("lint", image=python, run="flake8 src", requires=[syntax], tags=["fast", "style"])
unit = stage("unit", image=python, run="pytest", outputs=["report.xml"], requires=[syntax])
summary = stage("summary", image=python, run=("python", "ci/summary.py"), inputs=["ci/**", unit])
stage("docs", image=Image("example.org/sphinx:7"), run="make html", description="The manual.")

task("checks", lint, unit, summary, default=True)
task("all", "checks", "docs")
