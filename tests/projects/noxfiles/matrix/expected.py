"""The sessions of noxfile.py, as `isol8tasks init --from-noxfile` read them.

A stage sees the files that git would track and no others, has no network and no variables but its
own, and what it writes is gone afterwards: outputs= keeps files, and inputs= hands them on.
TODO(nox) marks what was not carried over.
"""

from isol8tasks import Image, stage, task

for version in ("3.11", "3.12"):
    stage(
        f"build-{version}",
        image=Image.python(version),
        run=("python", "-m", "compileall", "-q", "app"),
        tags=["ci"],
        timeout="10m",
        description="Compile the sources.",
    )

task("build", "build-3.11", "build-3.12")

# nox: tests-3.11(django='4.2', database='sqlite'), tests-3.11(django='5.1', database='sqlite'),
#   tests-3.12(django='4.2', database='sqlite'), tests-3.12(django='5.1', database='sqlite')
for version in ("3.11", "3.12"):
    for django in ("4.2", "5.1"):
        stage(
            f"tests-{version}-django-{django}-database-sqlite",
            image=Image.python(version).pip(f"django~={django}.0", "pytest-django"),
            run='pytest -q --ds=app.settings.sqlite "$@"',
            env={"DATABASE": "sqlite"},
            requires=[f"build-{version}"],
            tags=["ci"],
            posargs=True,
            timeout="10m",
            description="The tests with each Django and each database.",
        )

# nox: tests-3.11(django='4.2', database='postgres'), tests-3.11(django='5.1', database='postgres'),
#   tests-3.12(django='4.2', database='postgres'), tests-3.12(django='5.1', database='postgres')
for version in ("3.11", "3.12"):
    for django in ("4.2", "5.1"):
        stage(
            f"tests-{version}-django-{django}-database-postgres",
            image=Image.python(version).pip(
                f"django~={django}.0",
                "pytest-django",
                "psycopg[binary]",
            ),
            run='pytest -q --ds=app.settings.postgres "$@"',
            env={"DATABASE": "postgres"},
            requires=[f"build-{version}"],
            tags=["ci"],
            posargs=True,
            timeout="10m",
            description="The tests with each Django and each database.",
        )

task(
    "tests",
    "tests-3.11-django-4.2-database-sqlite",
    "tests-3.11-django-5.1-database-sqlite",
    "tests-3.12-django-4.2-database-sqlite",
    "tests-3.12-django-5.1-database-sqlite",
    "tests-3.11-django-4.2-database-postgres",
    "tests-3.11-django-5.1-database-postgres",
    "tests-3.12-django-4.2-database-postgres",
    "tests-3.12-django-5.1-database-postgres",
)

# nox: browsers(ff)
stage(
    "browsers-ff",
    image=Image.python().pip("selenium"),
    run=(
        "python",
        "click.py",
        "--browser",
        "firefox",
        "--size=1024x768",
        "--title",
        "firefox at 1024x768",
    ),
    requires=["tests"],
    tags=["ci", "slow"],
    timeout="10m",
    description="Click through the pages.",
)

# nox: browsers(small chrome), browsers(big chrome)
for name, size in (("browsers-small-chrome", "1024x768"), ("browsers-big-chrome", "4k")):
    stage(
        name,
        image=Image.python().pip("selenium"),
        run=(
            "python",
            "click.py",
            "--browser",
            "chrome",
            f"--size={size}",
            "--title",
            f"chrome at {size}",
        ),
        requires=["tests"],
        tags=["ci", "slow", "chrome"],
        timeout="10m",
        description="Click through the pages.",
    )

task("browsers", "browsers-ff", "browsers-small-chrome", "browsers-big-chrome")

# nox: strict(warnings='error'), strict(warnings='error::DeprecationWarning'),
#   strict(warnings="ignore:it's old")
for name, warnings in (
    ("strict-warnings-error", "error"),
    ("strict-warnings-error-DeprecationWarning", "error::DeprecationWarning"),
    ("strict-warnings-ignore-it-s-old", "ignore:it's old"),
):
    stage(
        name,
        image=Image.python(),
        run=("python", "-W", warnings, "-m", "app"),
        timeout="10m",
    )

task(
    "strict",
    "strict-warnings-error",
    "strict-warnings-error-DeprecationWarning",
    "strict-warnings-ignore-it-s-old",
)

# TODO(nox): noxfile.py:57: it uses the programs of this machine: choose an image that has them
# TODO(nox): noxfile.py:58: the tag 'two words' is not one word
stage(
    "migrations",
    image=Image.python(),
    run=[
        "DEBUG=0 python manage.py makemigrations --check",
        "DEBUG=1 python manage.py check --deploy",
    ],
    env={"MODE": "ci"},
    timeout="10m",
    description="No model lacks a migration.",
)

# TODO(nox): noxfile.py:68: requires='nowhere': there is no such stage
# nox: load(n=1), load(n=2)
for n in ("1", "2"):
    stage(
        f"load-n-{n}",
        image=Image.python(),
        run=[f"python load.py --users={n} ada", f"python load.py --users={n} grace"],
        timeout="10m",
    )

task("load", "load-n-1", "load-n-2")

task("default", "build", "tests", "browsers", default=True)
