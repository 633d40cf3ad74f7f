"""The sessions of noxfile.py, as `isol8tasks init --from-noxfile` read them.

A stage sees the files that git would track and no others, has no network and no variables but its
own, and what it writes is gone afterwards: outputs= keeps files, and inputs= hands them on.
TODO(nox) marks what was not carried over.
"""

from isol8tasks import Image, stage, task

stage(
    "unit-3.11",
    image=Image.python("3.11").pip("pytest>=8", "httpx"),
    run='[ $# -gt 0 ] || set -- tests -x; python -m pytest "$@"',
    posargs=True,
    timeout="10m",
    description="Unit tests.",
)

stage(
    "unit-3.12",
    image=Image.python("3.12").pip("pytest>=8", "httpx"),
    run=['[ $# -gt 0 ] || set -- tests -x; python -m pytest "$@"', "python tools/bench.py --quick"],
    posargs=True,
    timeout="10m",
    description="Unit tests.",
)

task("unit", "unit-3.11", "unit-3.12")

# TODO(nox): noxfile.py:32: `install(session, 'test')` is given the session: what it does is missing
# TODO(nox): noxfile.py:33: session.create_tmp() is not carried over: a sandbox has a /tmp of its
#   own
# TODO(nox): noxfile.py:35: docker is not of the virtual environment: the image must have it
# TODO(nox): noxfile.py:36: `finally`: carried over as if it came after a success only
# TODO(nox): noxfile.py:37: `env={'TMP': tmp, 'SERVICE': 'http://localhost:8000'}` is not carried
#   over: the value of `tmp` is known only when nox runs (line 33)
# TODO(nox): noxfile.py:39: docker is not of the virtual environment: the image must have it
stage(
    "integration",
    image=Image.python(),
    run=[
        "cd deploy && docker compose up -d",
        "pytest integration",
        "docker compose -f deploy/compose.yaml down",
    ],
    timeout="10m",
    description="Against a running service.",
)

# TODO(nox): noxfile.py:42: it uses the programs of this machine: choose an image that has them
# nox: web ui
stage(
    "web-ui",
    image=Image.python(),
    run=["npm test", "npm run lint"],
    workdir="web",
    timeout="10m",
    description="The web interface.",
)

# TODO(nox): noxfile.py:53: venv_backend='conda': an image has no packages of conda
# TODO(nox): noxfile.py:54: there is no image for the Python 'pypy3.10'
# TODO(nox): noxfile.py:55: session.conda_install() is not carried over: an image has no layer for
#   conda: use .pip(…), or an Image that has them
# Not carried over: science-pypy3.10
stage(
    "science-3.12",
    image=Image.python("3.12"),
    run=("python", "science.py"),
    timeout="10m",
)

task("science", "science-3.12")

# TODO(nox): noxfile.py:62: the packages of group 'test' are a copy: keep both the same
# TODO(nox): noxfile.py:63: pip-audit needs a network and a stage has none: give it
#   network=Network.allow('its.host.example')
# TODO(nox): noxfile.py:64: `for path in sorted(os.listdir('requirements'))`:
#   `os.listdir('requirements')` is known only when nox runs
#     for path in sorted(os.listdir("requirements")):
#         session.run("pip-audit", "-r", path)
stage(
    "audit",
    image=Image.python().pip("pip-audit", "pytest>=8", "httpx"),
    run=("pip-audit", "--strict"),
    tags=["security"],
    timeout="10m",
    description="Known weaknesses of what is installed.",
)

# The session 'clean' is not carried over.
# TODO(nox): noxfile.py:72: `shutil.rmtree('dist', ignore_errors=True)` is Python code, which is not
#   carried over
# TODO(nox): noxfile.py:73: `if CI`: the value of `CI` is known only when nox runs (line 10)
#     if CI:
#         session.error("not in CI")

# TODO(nox): noxfile.py:79: `if session.posargs`: carried over as it is without arguments after `--`
#     if session.posargs:
#         session.run("python", "-m", "service", *session.posargs)
#     else:
#         session.run("python", "-m", "service", "--port", "0", "--once")
stage(
    "serve",
    image=Image.python(),
    run=("python", "-m", "service", "--port", "0", "--once"),
    timeout="10m",
)

task("default", "unit", "integration", "web-ui", "science-3.12", "audit", default=True)
