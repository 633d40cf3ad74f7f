"""What a quote looks like: one JSON schema, for both languages."""

from isol8tasks import stage, task

from tools import images, lint

style = lint.javascript()

bundle = stage(
    "bundle",
    image=images.node,
    run="node src/bundle.js dist/quotes.schema.json",
    inputs=["src/**", "package.json"],
    outputs=["dist/quotes.schema.json"],
    description="the schema from its parts",
)

unit = stage(
    "unit",
    image=images.node,
    run="node --test --test-reporter=spec",
    inputs=["tests/**", "package.json", bundle],
    description="the schema tells good from bad",
)

task("checks", style, bundle, unit, default=True)
