from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isol8tasks_oci import names
from isol8tasks_oci.client import LocalImage

from isol8tasks.errors import ImageError
from isol8tasks.model.image import Image

if TYPE_CHECKING:
    from pathlib import Path

HEX = "0123456789abcdef" * 4
MIRRORS = (
    ("python:3.12", "mirror/python:3.12"),
    ("node", "mirror/node:any"),
    ("debian:12", "mirror/debian"),
    ("python:3.11-slim", "mirror/slim"),
    ("not a name", "mirror/never"),
)


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian:12", "docker.io/library/debian:12"),
        ("team/tool", "docker.io/team/tool:latest"),
        ("a/b/c:1", "docker.io/a/b/c:1"),
        ("quay.io/team/tool:1", "quay.io/team/tool:1"),
        ("host:5000/tool", "host:5000/tool:latest"),
        ("[::1]:5000/tool:1", "[::1]:5000/tool:1"),
        ("localhost/tool:1", "localhost/tool:1"),
        ("localhost:5000/tool", "localhost:5000/tool:latest"),
        (f"debian@sha256:{HEX}", f"docker.io/library/debian@sha256:{HEX}"),
        (f"debian:12@sha256:{HEX}", f"docker.io/library/debian@sha256:{HEX}"),
        (HEX, f"sha256:{HEX}"),
        (f"sha256:{HEX}", f"sha256:{HEX}"),
    ],
)
def test_references_in_full(reference: str, full: str) -> None:
    assert str(names.parse(reference)) == full
    assert str(names.parse(full)) == full


@pytest.mark.parametrize(
    "reference",
    [
        "Debian",
        "debian:",
        ":12",
        "debian:12:13",
        "a//b",
        "/a",
        "a/",
        "debian@sha256:12",
        "-a",
        "a b",
    ],
)
def test_what_is_no_reference(reference: str) -> None:
    with pytest.raises(ImageError, match="is not the name of an image") as caught:
        names.parse(reference)
    assert caught.value.hint


@given(st.text("aZ0.:/@_-[]", max_size=12))
def test_a_full_reference_is_its_own(text: str) -> None:
    try:
        full = str(names.parse(text))
    except ImageError:
        return
    assert str(names.parse(full)) == full


@pytest.mark.parametrize(
    ("reference", "pullable"),
    [
        ("debian:12", True),
        ("localhost:5000/tool", True),
        ("localhost/tool:1", False),
        (HEX, False),
        ("isol8tasks/bake:0123", False),
        ("localhost/isol8tasks/bake:0123", False),
    ],
)
def test_what_a_registry_may_have(reference: str, pullable: bool) -> None:
    assert names.parse(reference).pullable is pullable


@pytest.mark.parametrize(
    ("image", "official", "here"),
    [
        (Image.python("3.12"), "python:3.12-slim", "mirror/python:3.12"),
        (Image.python("3.12.4"), "python:3.12.4-slim", "python:3.12.4-slim"),
        (Image.python("3.11"), "python:3.11-slim", "mirror/slim"),
        (Image.python(), "python:3.13-slim", "python:3.13-slim"),
        (Image.node(), "node:22-slim", "mirror/node:any"),
        (Image.node("20"), "node:20-slim", "node:20-slim"),
        (Image.bash(), "debian:12-slim", "debian:12-slim"),
        (Image("debian:12"), "debian:12", "mirror/debian"),
        (Image("docker.io/library/debian:12"), "docker.io/library/debian:12", "mirror/debian"),
        (Image("debian"), "debian", "debian"),
        (Image("python:3.12"), "python:3.12", "mirror/python:3.12"),
        (Image("not-a-name"), "not-a-name", "not-a-name"),
    ],
)
def test_what_an_image_starts_from(image: Image, official: str, here: str) -> None:
    assert names.base_of(image, ()) == official
    assert names.base_of(image, MIRRORS) == here


@pytest.mark.parametrize("image", [Image.rootfs("base.tar"), Image.dockerfile("Dockerfile")])
def test_kinds_that_containers_do_not_start_from(image: Image) -> None:
    with pytest.raises(ImageError, match=f"no images of kind {image.kind.value}"):
        names.base_of(image, ())


@pytest.mark.parametrize(
    ("tag", "baked"),
    [
        ("isol8tasks/bake:1", True),
        ("localhost/isol8tasks/bake:1", True),
        ("isol8tasks/probe:1", False),
        ("other/isol8tasks/bake:1", False),
        ("isol8tasks/bake", False),
    ],
)
def test_tags_of_baked_images(tag: str, baked: bool) -> None:
    assert names.is_bake(tag) is baked


def test_the_identity_is_the_id_unless_there_are_variables() -> None:
    local = LocalImage(id=f"sha256:{HEX}")
    plain = names.identity(Image("a"), local)
    assert (plain.hash, plain.size) == (HEX, 0)
    found = {names.identity(Image("a").env(A=value), local) for value in ("1", "2")}
    assert len(found | {plain}) == 3


def test_indexes_and_proxies_reach_a_build() -> None:
    settings = names.settings_of(
        {
            "PIP_INDEX_URL": "https://user:secret@index.example/simple",
            "PIP_EXTRA_INDEX_URL": "file:///srv/index https://more.example/simple",
            "PIP_FIND_LINKS": "/srv/wheels",
            "PIP_TRUSTED_HOST": "index.example",
            "PIP_CONFIG_FILE": "/etc/pip.conf",
            "NPM_CONFIG_REGISTRY": "https://npm.example",
            "npm_config_cache": "/root/.npm",
            "HTTPS_PROXY": "http://proxy.example:3128",
            "no_proxy": "localhost",
            "HTTP_PROXY": "",
            "TOKEN": "mine",
        }
    )
    assert dict(settings.variables) == {
        "PIP_INDEX_URL": "https://user:secret@index.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example/simple",
        "PIP_TRUSTED_HOST": "index.example",
        "npm_config_registry": "https://npm.example",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "no_proxy": "localhost",
    }
    assert settings.left_out == (
        "PIP_EXTRA_INDEX_URL=file:///srv/index",
        "PIP_FIND_LINKS=/srv/wheels",
    )
    assert "secret" not in repr(settings)


def test_settings_of_uv_serve_where_pip_has_none() -> None:
    uv = {"UV_DEFAULT_INDEX": "https://uv.example/", "UV_INDEX": "one=https://one.example/ /two"}
    assert dict(names.settings_of(uv).variables) == {
        "PIP_INDEX_URL": "https://uv.example/",
        "PIP_EXTRA_INDEX_URL": "https://one.example/",
    }
    both = names.settings_of({**uv, "PIP_INDEX_URL": "https://pip.example/"})
    assert dict(both.variables)["PIP_INDEX_URL"] == "https://pip.example/"


def test_certificates_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "all.pem").write_bytes(b"all")
    (tmp_path / "own.pem").write_bytes(b"own")
    everything = {"PIP_CERT": f"{tmp_path}/all.pem", "SSL_CERT_FILE": f"{tmp_path}/missing"}
    extra = {"NODE_EXTRA_CA_CERTS": f"{tmp_path}/own.pem"}
    found = names.settings_of({**everything, **extra})
    assert found.authorities == b"all\nown"
    assert set(dict(found.variables)) == {
        *("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        "NODE_EXTRA_CA_CERTS",
    }
    assert set(dict(found.variables).values()) == {names.AUTHORITIES}
    only_node = names.settings_of(extra)
    assert only_node.authorities == b"own"
    assert only_node.variables == (("NODE_EXTRA_CA_CERTS", names.AUTHORITIES),)
    assert names.settings_of({"SSL_CERT_FILE": str(tmp_path)}) == names.Settings()


def test_a_shell_reads_the_settings_as_they_are() -> None:
    value = "https://a:b'c$HOME\"`id`\\@x/ y\n;&"
    script = names.Settings(variables=(("A", value), ("B", ""))).script
    argv = ["/bin/sh", "-euc", 'eval "$1"; unset PWD; printf %s "$A"', "sh", script]
    assert subprocess.run(argv, capture_output=True, check=True, text=True).stdout == value
    assert names.Settings().script == ""


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_the_script_of_any_value(value: str) -> None:
    script = names.Settings(variables=(("A", value),)).script
    assert shlex.split(script) == ["export", f"A={value}"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[91mERROR: no\x1b[0m\r", "ERROR: no"),
        ("\x1b]0;title\x07text\x9b", "text"),
        (
            "Looking in https://me:pw@x/simple, http://tok@y",
            "Looking in https://***@x/simple, http://***@y",
        ),
        (
            "https://me:p@ss@host/a, me@x https://b@c/d@e",
            "https://***@host/a, me@x https://***@c/d@e",
        ),
        ("mail me@x.example", "mail me@x.example"),
    ],
)
def test_lines_for_people(line: str, shown: str) -> None:
    assert names.clean(line) == shown
