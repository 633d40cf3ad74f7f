"""The web page: the TypeScript client shows what the Python job made."""

from isol8tasks import stage, task

from tools import images, lint

style = lint.javascript()

build = stage(
    "build",
    image=images.node,
    run=["npm install --offline --no-audit --no-save ../../libs/client/*.tgz", "tsc"],
    inputs=["src/**", "*.json", "//libs/client:package"],
    outputs=["dist/**", "node_modules/**"],
    description="installs the packed client, and compiles",
)

unit = stage(
    "unit",
    image=images.node,
    run="node --test --test-reporter=spec",
    inputs=["tests/**", "package.json", build],
    description="the unit tests pass",
)

page = stage(
    "page",
    image=images.node,
    run="node render.js ../../services/batch/quotes.json > page.html",
    inputs=["render.js", "package.json", build, "//services/batch:quotes"],
    outputs=["page.html"],
    description="the quotes of the nightly job as HTML",
)

task("checks", style, build, unit, page, default=True)
