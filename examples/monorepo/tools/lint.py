"""The lint stages, which are the same in every package of a language."""

from pathlib import Path

from isol8tasks import stage

from tools import images

RULES = (Path(__file__).parents[1] / "ruff.toml").read_text()


def python():
    """A stage `lint`: ruff, by the repository's rules, on all that git tracks in the package."""
    return stage(
        "lint",
        image=images.linters,
        run=["ruff check --no-cache", "ruff format --no-cache --check"],
        files={"ruff.toml": RULES},
        tags=["quick"],
        description="ruff has nothing to say",
    )


def javascript():
    """A stage `lint`: prettier, on all that git tracks in the package."""
    return stage(
        "lint",
        image=images.node,
        run="prettier --check .",
        tags=["quick"],
        description="prettier would change nothing",
    )
