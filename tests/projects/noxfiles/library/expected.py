"""The sessions of noxfile.py, as `isol8tasks init --from-noxfile` read them.

A stage sees the files that git would track and no others, has no network and no variables but its
own, and what it writes is gone afterwards: outputs= keeps files, and inputs= hands them on.
TODO(nox) marks what was not carried over.
"""

from isol8tasks import Image, stage, task

# TODO(nox): noxfile.py:27: the project in '.' is not installed: PYTHONPATH finds its sources; it
#   has no metadata, no commands of its own and no compiled parts
# TODO(nox): noxfile.py:27: the packages of pyproject.toml are a copy: keep both the same
# TODO(nox): noxfile.py:38: session.notify() is not carried over: a stage starts no other: let a
#   task name both, or use requires=
for version in ("3.11", "3.12", "3.13"):
    stage(
        f"tests-{version}",
        image=Image.python(version).pip(
            "attrs>=24.2",
            "tomli; python_version < '3.11'",
            "pytest>=8",
            "numpy",
            "coverage[toml]",
        ),
        run='coverage run -m pytest --cov-config=pyproject.toml "$@"',
        env={"COVERAGE_FILE": f".coverage.{version}", "PYTHONPATH": "src"},
        tags=["quick"],
        posargs=True,
        timeout="10m",
        description="Run the test suite.",
    )

task("tests", "tests-3.11", "tests-3.12", "tests-3.13")

# TODO(nox): noxfile.py:46: `if not session.posargs and any(Path().glob('.coverage.*'))`:
#   `Path().glob('.coverage.*')` is known only when nox runs
#     if not session.posargs and any(Path().glob(".coverage.*")):
#         session.run("coverage", "combine")
stage(
    "coverage",
    image=Image.python().pip("coverage[toml]"),
    run='[ $# -gt 0 ] || set -- report --fail-under=90; coverage "$@"',
    posargs=True,
    timeout="10m",
    description="Combine and report coverage.",
)

stage(
    "lint",
    image=Image.python("3.12").pip("ruff==0.9.1"),
    run=[
        '[ $# -gt 0 ] || set -- src tests noxfile.py; ruff check "$@"',
        '[ $# -gt 0 ] || set -- src tests noxfile.py; ruff format --check "$@"',
        "bash -c '! grep -rn '\"'\"'API_KEY='\"'\"' src'",
    ],
    tags=["quick", "style"],
    posargs=True,
    timeout="10m",
    description="Lint using ruff, and look for secrets.",
)

# TODO(nox): noxfile.py:64: the project in '.' is not installed: PYTHONPATH finds its sources; it
#   has no metadata, no commands of its own and no compiled parts
# TODO(nox): noxfile.py:64: the packages of pyproject.toml are a copy: keep both the same
stage(
    "typing",
    image=Image.python("3.13").pip("attrs>=24.2", "tomli; python_version < '3.11'", "mypy"),
    run=("mypy", "--package", "shapes", "--strict"),
    env={"MYPY_FORCE_COLOR": "1", "PYTHONPATH": "src"},
    timeout="10m",
    description="Check types.",
)

# TODO(nox): noxfile.py:71: the packages of docs/requirements.txt are a copy: keep both the same
# TODO(nox): noxfile.py:71: docs/requirements.txt: requirements.txt: `-c ../constraints.txt` is an
#   option of pip
# TODO(nox): noxfile.py:71: docs/requirements.txt: requirements.txt:
#   `git+https://example.org/theme.git` is not a package of an index
# TODO(nox): noxfile.py:73: `shutil.rmtree('_build', ignore_errors=True)` is Python code, which is
#   not carried over
# TODO(nox): noxfile.py:74: `if os.environ.get('READTHEDOCS')`: `os.environ.get('READTHEDOCS')` is
#   known only when nox runs
#     if os.environ.get("READTHEDOCS"):
#         session.run("sphinx-build", "-b", "html", ".", "_build")
stage(
    "docs",
    image=Image.python().pip("sphinx==8.1.3", "furo"),
    run=[
        "sphinx-build -W -b html . _build || test $? = 2",
        "python -c 'print('\"'\"'built'\"'\"')'",
    ],
    workdir="docs",
    timeout="10m",
    description="Build the documentation.",
)

# TODO(nox): noxfile.py:86: git push needs a network and a stage has none: give it
#   network=Network.allow('its.host.example')
# TODO(nox): noxfile.py:86: git is not of the virtual environment: the image must have it
# TODO(nox): noxfile.py:87: twine upload needs a network and a stage has none: give it
#   network=Network.allow('its.host.example')
stage(
    "release",
    image=Image.python().pip("build", "twine"),
    run=[
        "python -m build",
        "twine check --strict 'dist/*'",
        "git push --tags",
        "twine upload 'dist/*'",
    ],
    timeout="10m",
    description="Build and upload a release.",
)

task("default", "lint", "tests", "typing", default=True)
