from __future__ import annotations

from typing import Any

import attrs
import pytest

from isol8tasks.model.image import Image, ImageKind, Layer, LayerKind, env_pairs
from isol8tasks.model.network import Network, NetworkMode


@pytest.mark.parametrize(
    ("image", "kind", "reference", "shown"),
    [
        (Image("debian:12"), ImageKind.REFERENCE, "debian:12", "debian:12"),
        (Image.python(), ImageKind.PYTHON, "", "python"),
        (Image.python("3.12"), ImageKind.PYTHON, "3.12", "python:3.12"),
        (Image.node("22"), ImageKind.NODE, "22", "node:22"),
        (Image.bash(), ImageKind.BASH, "", "bash"),
        (Image.rootfs("a/b.tar"), ImageKind.ROOTFS, "a/b.tar", "rootfs:a/b.tar"),
        (Image.dockerfile("ci"), ImageKind.DOCKERFILE, "ci", "dockerfile:ci"),
        (Image.python().pip("a", "b"), ImageKind.PYTHON, "", "python + pip(a, b)"),
    ],
)
def test_bases(image: Any, kind: Any, reference: Any, shown: str) -> None:
    assert (image.kind, image.reference, str(image)) == (kind, reference, shown)


def test_each_layer_makes_a_new_image() -> None:
    base = Image.python()
    image = (
        base.pip("a==1", only_binary=False)
        .npm("b")
        .npm("b", ignore_scripts=False)
        .apt("c")
        .run("make x")
        .env(B="2", A="1")
        .file("src", "/dest")
    )
    assert base.layers == ()
    assert image.layers == (
        Layer(LayerKind.PIP, ("a==1",), unsafe=True),
        Layer(LayerKind.NPM, ("b",)),
        Layer(LayerKind.NPM, ("b",), unsafe=True),
        Layer(LayerKind.APT, ("c",)),
        Layer(LayerKind.RUN, ("make x",), unsafe=True),
        Layer(LayerKind.ENV, ("A=1", "B=2")),
        Layer(LayerKind.FILE, ("src", "/dest")),
    )


def test_later_variables_win() -> None:
    image = Image.bash().env(B="1", A="x=y").env(B="2")
    assert image.environment == (("A", "x=y"), ("B", "2"))


def test_recipes() -> None:
    image = Image.python().pip("a")
    assert image.recipe == Image.python().pip("a").recipe
    others = [
        Image.python(),
        Image.python("3.12").pip("a"),
        Image.node().pip("a"),
        Image.python().npm("a"),
        Image.python().pip("a", only_binary=False),
        Image.python().pip("a", "b"),
        Image.python().pip("a").pip("b"),
    ]
    assert len({image.recipe, *(other.recipe for other in others)}) == len(others) + 1


def test_images_are_values() -> None:
    assert {Image.python().pip("a"), Image.python().pip("a")} == {Image.python().pip("a")}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Image.bash().reference = "x"  # type: ignore[misc]


@pytest.mark.parametrize("reference", ["", "-x", "a b", "a\n", "a\0"])
def test_no_reference(reference: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Image(reference)
    assert (
        str(caught.value) == f"{reference!r} is not the name of an image: write Image('name:tag')"
    )


@pytest.mark.parametrize("path", ["", "/x", "../x", "a/../b", 3])
def test_no_path(path: Any) -> None:
    for make in (Image.rootfs, Image.dockerfile, lambda p: Image.bash().file(p, "/x")):
        with pytest.raises(ValueError, match="is outside the workspace root"):
            make(path)


@pytest.mark.parametrize("package", ["-r", "--index-url=x", "a\nb"])
def test_options_are_no_packages(package: str) -> None:
    for add in (Image.python().pip, Image.node().npm, Image.bash().apt):
        with pytest.raises(ValueError, match=r"is an option: write the name of a package$"):
            add(package)


def test_env_pairs() -> None:
    assert env_pairs({"b": "2", "_A": ""}) == (("_A", ""), ("b", "2"))


def test_networks() -> None:
    assert Network.none() == Network()
    assert Network.host().mode is NetworkMode.HOST
    allowed = Network.allow("Example.org", "*.a.org", "example.org")
    assert (allowed.mode, allowed.hosts) == (NetworkMode.ALLOW, ("*.a.org", "example.org"))


@pytest.mark.parametrize("host", ["", "http://x", "a b", "*", "a.*", "-a", "a:80", 3])
def test_no_hosts(host: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a host name: write example\.org or "):
        Network.allow("ok.org", host)
