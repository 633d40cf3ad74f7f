"""A submission: parse it, then run it."""

from isol8tasks import Image, stage, task

python = Image.python()


@stage.python(image=python, inputs=["src/**/*.py"], timeout="10s")
def syntax():
    """Every file parses."""
    import ast  # noqa: PLC0415 -- the body runs alone
    import pathlib  # noqa: PLC0415

    for path in sorted(pathlib.Path("src").rglob("*.py")):
        ast.parse(path.read_text(), str(path))


unit = stage("unit", image=python, run="python src/main.py", inputs=["src/**"], requires=[syntax])
stage("after", image=python, run="echo after", inputs=[], requires=[unit])

task("checks", unit, "after", default=True)
