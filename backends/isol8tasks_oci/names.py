"""Where this host gets things from: what the name of an image stands for, and packages.

A reference has the grammar of https://github.com/distribution/reference; one without a registry is
of docker.io, on every engine. The settings for packages reach a build, and never a stage.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from isol8tasks.errors import ImageError
from isol8tasks.model.digest import Digest, digest_of_value
from isol8tasks.model.image import Image, ImageKind
from isol8tasks_oci.client import LocalImage

REPOSITORY = "isol8tasks/bake"
"""Where baked images are, each tagged with its key."""

_LOCAL = "localhost"

REPOSITORIES = (REPOSITORY, f"{_LOCAL}/{REPOSITORY}")
"""The same as Docker and as Podman show it."""

AUTHORITIES = "/opt/isol8tasks/ca.pem"
"""Where the host's certificate authorities are in an image, if it names some."""

_DEFAULTS = {ImageKind.PYTHON: "3.13", ImageKind.NODE: "22", ImageKind.BASH: "12"}
_OFFICIAL = {ImageKind.PYTHON: "python", ImageKind.NODE: "node", ImageKind.BASH: "debian"}

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_REFERENCE = re.compile(
    r"(?P<domain>(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?)/"
    r"(?P<path>[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][\w.+-]*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


_LONGEST_LINE = 8192
_CONTROL = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_CREDENTIALS = re.compile(r"(?<=://)[^\s/]+(?=@)")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_LABEL = re.compile(r"^[\w.-]+=")  # uv's names of indexes
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_INDEXES = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
}
"""What pip calls them, and where uv's settings have them."""

_AS_THEY_ARE = frozenset(
    {
        *("PIP_DEFAULT_TIMEOUT", "PIP_NO_INDEX", "PIP_PROXY", "PIP_TIMEOUT", "PIP_TRUSTED_HOST"),
        *("npm_config_https_proxy", "npm_config_noproxy", "npm_config_proxy"),
        *("npm_config_registry", "npm_config_strict_ssl"),
    }
)
_BUNDLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@attrs.frozen(kw_only=True)
class Name:
    """A reference in full, or the id of an image, which no registry knows."""

    domain: str = ""
    path: str = ""
    version: str = ""
    id: str = ""

    @property
    def pullable(self) -> bool:
        """Whether a registry may have it: what was made here is nobody else's to supply."""
        return not self.id and self.domain != _LOCAL and self.path != REPOSITORY

    def __str__(self) -> str:
        return self.id or f"{self.domain}/{self.path}{self.version}"


def parse(reference: str) -> Name:
    """A reference in full; with a digest its tag means nothing, and Podman takes only one of them.

    ImageError when it is none.
    """
    if _ID.fullmatch(reference):
        return Name(id=f"sha256:{reference.removeprefix('sha256:')}")
    first, slash, _ = reference.partition("/")
    named = slash and (first == _LOCAL or re.search(r"[.:A-Z]", first))
    match = _REFERENCE.fullmatch(reference if named else f"docker.io/{reference}")
    if match is None:
        raise ImageError(
            f"'{reference}' is not the name of an image",
            hint="write it as in 'debian:12' or 'registry.example/team/name:tag', in lower case",
        )
    domain, path = match["domain"], match["path"]
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    version = f"@{match['digest']}" if match["digest"] else f":{match['tag'] or 'latest'}"
    return Name(domain=domain, path=path, version=version)


def base_of(image: Image, images: tuple[tuple[str, str], ...]) -> str:
    """The reference that an image starts from, with `images` as what a name stands for here.

    A name that says no version serves only who asks for none, so that a stated version is never
    silently another one. ImageError for what containers do not start from.
    """
    if image.kind is ImageKind.REFERENCE:
        name = official = image.reference
    elif image.kind in _OFFICIAL:
        name = image.kind.value + (f":{image.reference}" if image.reference else "")
        official = f"{_OFFICIAL[image.kind]}:{image.reference or _DEFAULTS[image.kind]}-slim"
    else:
        raise ImageError(
            f"containers have no images of kind {image.kind.value}: {image}",
            hint="make it an image of the engine, and name that: Image('localhost/name:tag')",
        )
    return dict(images).get(name) or _mapped(official, images) or official


def _mapped(reference: str, images: tuple[tuple[str, str], ...]) -> str:
    wanted = parse(reference)
    return next((value for key, value in images if _means(key, wanted)), "")


def _means(key: str, wanted: Name) -> bool:
    try:
        return parse(key) == wanted
    except ImageError:
        return False


def is_bake(tag: str) -> bool:
    """Whether it names an image that was baked."""
    return tag.rpartition(":")[0] in REPOSITORIES


def identity(image: Image, local: LocalImage) -> Digest:
    """The engine's own id, whose size nobody knows; env layers are no part of it, but change it."""
    content = Digest(local.id.rpartition(":")[2], 0)
    if not image.environment:
        return content
    return digest_of_value([content.hash, image.environment])


@attrs.frozen(kw_only=True)
class Settings:
    """What a build needs to get packages as this host does; variables may hold passwords.

    `authorities` are certificates for a file at `AUTHORITIES`. `left_out` are settings of pip that
    a builder cannot follow, for people.
    """

    variables: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    authorities: bytes = b""
    left_out: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """The variables for a shell; "" without any."""
        words = (f"{name}={shlex.quote(value)}" for name, value in self.variables)
        return f"export {' '.join(words)}" if self.variables else ""


def settings_of(environ: Mapping[str, str]) -> Settings:
    """The settings in this environment; reads the certificates that it names."""
    places = {name: _places(name, environ) for name in _INDEXES}
    authorities, certificates = _authorities(environ)
    passed = {_spelled(name): value for name, value in environ.items() if value}
    variables = {
        **{name: value for name, value in passed.items() if name in _AS_THEY_ARE},
        **{name: environ[name] for name in _proxies() if environ.get(name)},
        **{name: " ".join(filter(_WEB.match, words)) for name, words in places.items()},
        **certificates,
    }
    return Settings(
        variables=tuple(sorted((name, value) for name, value in variables.items() if value)),
        authorities=authorities,
        left_out=tuple(
            mask(f"{name}={word}")
            for name, words in places.items()
            for word in words
            if not _WEB.match(word)
        ),
    )


def _places(name: str, environ: Mapping[str, str]) -> list[str]:
    """Of pip's own setting, else of uv's."""
    if own := environ.get(name, "").split():
        return own
    theirs = " ".join(environ.get(each, "") for each in _INDEXES[name]).replace(",", " ").split()
    return [_LABEL.sub("", word) for word in theirs]


def _proxies() -> Iterator[str]:
    for name in _PROXIES:
        yield from (name, name.upper())


def _spelled(name: str) -> str:
    return name.lower() if name.lower().startswith("npm_config_") else name


def _authorities(environ: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """The first bundle that is named, and what node trusts beside its own; for whom they are."""
    bundle = _first_file(environ, _BUNDLES)
    extra = _first_file(environ, ("NODE_EXTRA_CA_CERTS", "npm_config_cafile", "NPM_CONFIG_CAFILE"))
    found = b"\n".join(content for content in dict.fromkeys((bundle, extra)) if content)
    names = (*(_BUNDLES if bundle else ()), *(("NODE_EXTRA_CA_CERTS",) if found else ()))
    return found, dict.fromkeys(names, AUTHORITIES)


def _first_file(environ: Mapping[str, str], names: tuple[str, ...]) -> bytes:
    for name in names:
        path = environ.get(name, "")
        try:
            if path and (content := Path(path).read_bytes()):
                return content
        except OSError:
            continue
    return b""


def mask(text: str) -> str:
    """The text without the `user:password` of the URLs in it."""
    return _CREDENTIALS.sub("***", text)


def clean(line: str) -> str:
    """A strange line as people may see it: no control codes, and no passwords in URLs."""
    return mask(_CONTROL.sub("", line[:_LONGEST_LINE])).rstrip()
