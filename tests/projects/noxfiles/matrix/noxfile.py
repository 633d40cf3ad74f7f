# A Django application: stacked parameters, requirements between sessions, tags.
import nox
from nox import param, parametrize, session

DJANGO = {"4.2": ["3.11"], "5.1": ["3.11", "3.12"]}

nox.options.tags = ["ci"]


@session(python=["3.11", "3.12"], tags=["ci"])
def build(session):
    """Compile the sources."""
    session.run("python", "-m", "compileall", "-q", "app")


@session(python=["3.11", "3.12"], requires=["build-{python}"], tags=["ci"])
@parametrize("database", ["sqlite", "postgres"])
@parametrize("django", ["4.2", "5.1"])
def tests(session, django, database):
    """The tests with each Django and each database."""
    session.install(f"django~={django}.0", "pytest-django")
    if database == "postgres":
        session.install("psycopg[binary]")
    session.env["DATABASE"] = database
    session.run("pytest", "-q", f"--ds=app.settings.{database}", *session.posargs)


@session(tags=["ci", "slow"], requires=["tests"])
@parametrize(
    "browser, size",
    [
        param("firefox", "1024x768", id="ff"),
        param("chrome", "1024x768", id="small chrome", tags=["chrome"]),
        param("chrome", "4k", id="big chrome", tags=["chrome"]),
    ],
)
def browsers(session, browser, size):
    """Click through the pages."""
    session.install("selenium")
    session.run(
        "python",
        "click.py",
        "--browser",
        browser,
        f"--size={size}",
        "--title",
        f"{browser} at {size}",
    )


@session
@parametrize("warnings", ["error", "error::DeprecationWarning", "ignore:it's old"])
def strict(session, warnings):
    session.run("python", "-W", warnings, "-m", "app")


@session(python=False, tags=["two words"])
def migrations(session):
    """No model lacks a migration."""
    session.run(
        "python", "manage.py", "makemigrations", "--check", env={"MODE": "ci", "DEBUG": "0"}
    )
    session.run("python", "manage.py", "check", "--deploy", env={"MODE": "ci", "DEBUG": "1"})


@session(requires=["nowhere"])
@parametrize("n", [1, 2])
def load(session, n):
    for user in ["ada", "grace"]:
        session.run("python", "load.py", f"--users={n}", user)
