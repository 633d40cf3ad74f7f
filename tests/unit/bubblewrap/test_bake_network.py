"""Bakes of what only the real registries have."""

from __future__ import annotations

from typing import Any

import pytest

from isol8tasks.errors import ImageError
from isol8tasks.model.image import Image

pytestmark = [pytest.mark.bubblewrap, pytest.mark.network]


def test_node_from_its_wheel(bench: Any) -> None:
    baked = bench.bake(Image.node("22"))
    assert bench.out(baked, "node", "--version").startswith("v22.")
    assert bench.out(baked, "npm", "--version")
    assert bench.out(baked, "npx", "--version")


def test_a_node_layer_and_its_programs(bench: Any) -> None:
    baked = bench.bake(Image.node().npm("typescript@5.9.2"))
    assert bench.out(baked, "tsc", "--version") == "Version 5.9.2"
    script = "console.log(require('typescript').version)"
    assert bench.out(baked, "node", "-e", script) == "5.9.2"


def test_pip_and_npm_in_one_image(bench: Any) -> None:
    baked = bench.bake(Image.python().pip("pyflakes==3.4.0").npm("is-odd@3.0.1"))
    assert bench.out(baked, "python", "-m", "pyflakes", "--version").startswith("3.4.0")
    assert bench.out(baked, "node", "-e", "console.log(require('is-odd')(3))") == "true"
    assert dict(baked.env) == {"NODE_PATH": "/opt/isol8tasks/node/lib/node_modules"}


def test_an_unknown_npm_package(bench: Any) -> None:
    with pytest.raises(ImageError, match="No matching version found") as caught:
        bench.bake(Image.node().npm("typescript@0.0.99"))
    assert "typescript@0.0.99" in caught.value.message
