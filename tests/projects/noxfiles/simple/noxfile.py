import nox


@nox.session(python=False)
def unit(session):
    """Run what needs no packages."""
    session.run("python", "-m", "unittest", "-q", *session.posargs, env={"GREETING": "it's me"})
    session.run("sh", "-c", "exit 3", success_codes=[0, 3])


@nox.session(requires=["unit"])
def words(session):
    session.chdir("src")
    session.run("python", "-c", "import sys; print(sys.argv[1:])", "a b", "$HOME", "'*'", "~")


@nox.session(default=False)
def fails(session):
    session.run("false")
