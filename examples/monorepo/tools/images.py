"""The images that several packages share: each is baked once."""

from isol8tasks import Image

python = Image.python()
linters = python.pip("ruff==0.15.0")
tests = python.pip("pytest==8.4.2", "jsonschema==4.25.1")
builders = python.pip("hatchling==1.27.0")
node = Image.node().npm("typescript@5.9.2", "prettier@3.6.2", "ajv@8.17.1")
