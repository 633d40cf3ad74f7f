"""What pip's configuration says about indexes, certificates and proxies.

Files and their order are those of pip (https://pip.pypa.io/en/stable/topics/configuration/): the
system's, the user's, the virtual environment's, `PIP_CONFIG_FILE`; then, over all of them, the
section `[install]` over `[global]`, and `PIP_*` variables over both.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})


@attrs.frozen(kw_only=True)
class PipConfig:
    """pip's settings that matter to a bake, as written; `timeout` in seconds."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: str = ""


def read_pip_config(environ: Mapping[str, str], *, system: Path = Path("/etc")) -> PipConfig:
    """The configuration of the pip that this host's user would run; what cannot be read is not."""
    values: dict[str, str] = {}
    sections = [_sections(path) for path in _files(environ, system)]
    for name in ("global", "install"):
        for found in sections:
            values.update(found.get(name, {}))
    values.update(_variables(environ))
    return _settings(values)


def _settings(values: Mapping[str, str]) -> PipConfig:
    return PipConfig(
        index_url=values.get("index-url", values.get("pypi-url", "")),
        extra_index_urls=tuple(values.get("extra-index-url", "").split()),
        find_links=tuple(values.get("find-links", "").split()),
        no_index=values.get("no-index", "").lower() in _TRUE,
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        cert=values.get("cert", ""),
        client_cert=values.get("client-cert", ""),
        proxy=values.get("proxy", ""),
        timeout=values.get("timeout", values.get("default-timeout", "")),
    )


def _files(environ: Mapping[str, str], system: Path) -> Iterator[Path]:
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    shared = environ.get("XDG_CONFIG_DIRS") or str(system / "xdg")
    yield from (Path(folder, "pip/pip.conf") for folder in shared.split(os.pathsep) if folder)
    yield system / "pip.conf"
    if not own or not Path(own).exists():
        home = Path(environ.get("HOME") or Path("~").expanduser())
        yield home / ".pip/pip.conf"
        yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip/pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if own:
        yield Path(own)


def _sections(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    return {name: dict(_named(parser.items(name))) for name in parser.sections()}


def _named(items: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in items:
        option = name.replace("_", "-").removeprefix("--")
        if value:
            yield option, value.strip()


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    found = [(name[4:].lower(), value) for name, value in environ.items() if name[:4] == "PIP_"]
    return dict(_named(found))
