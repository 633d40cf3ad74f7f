"""Quotes in TypeScript: a library, packed as npm would publish it."""

from isol8tasks import stage, task

from tools import images, lint

style = lint.javascript()

package = stage(
    "package",
    image=images.node,
    run=["tsc", "npm pack --silent"],
    inputs=["src/**", "*.json"],
    outputs=["dist/**", "*.tgz"],
    description="compiles, and is packed for the apps",
)

unit = stage(
    "unit",
    image=images.node,
    run="node --test --test-reporter=spec",
    inputs=["tests/**", "package.json", package, "//libs/schema:bundle"],
    description="the unit tests pass",
)

task("checks", style, package, unit, default=True)
