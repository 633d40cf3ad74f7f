"""Index, certificate and proxy settings of the host: they reach a bake, and never a stage."""

from __future__ import annotations

import netrc
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from isol8tasks_bubblewrap.exposure import Exposure, local_path, mask
from isol8tasks_bubblewrap.npmconfig import npm_settings
from isol8tasks_bubblewrap.pipconfig import PipConfig, read_pip_config

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_INDEX_KEYS = frozenset({"index", "index-url", "extra-index-url", "find-links", "no-index"})
_PASSED_TO_UV = frozenset(
    {
        *_INDEXES,
        "UV_CONCURRENT_DOWNLOADS",
        "UV_EXCLUDE_NEWER",
        "UV_FIND_LINKS",
        "UV_HTTPS_PROXY",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_PROXY",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_INDEX_STRATEGY",
        "UV_INSECURE_HOST",
        "UV_NATIVE_TLS",
        "UV_NO_CONFIG",
        "UV_NO_PROXY",
        "UV_OFFLINE",
        "UV_PRERELEASE",
        "UV_REQUEST_TIMEOUT",
        "UV_SYSTEM_CERTS",
    }
)
_INDEX_LOGIN = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@attrs.frozen(kw_only=True)
class HostConfig:
    """What uv and npm need in a bake: variables, options, and read-only mounts.

    The variables may hold credentials. `notices` say which settings were left out and why.
    """

    uv_env: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    uv_options: tuple[str, ...] = ()
    npm_env: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    mounts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()


def gather(
    exposure: Exposure,
    *,
    node_prefix: str = "/usr",
    environ: Mapping[str, str] = os.environ,
    system: Path = Path("/etc"),
) -> HostConfig:
    """The settings of this host; files they name are copied, folders shown, by the exposure."""
    pip = read_pip_config(environ, system=system)
    shared = {**_proxies(environ, pip.proxy), **_certificates(exposure, environ, pip)}
    uv, options = _uv_settings(exposure, environ, pip, system)
    npm = npm_settings(exposure, environ, prefix=node_prefix, system=system)
    return HostConfig(
        uv_env=tuple({**shared, **uv}.items()),
        uv_options=options,
        npm_env=tuple({**shared, **npm}.items()),
        mounts=tuple((source, path) for path, source in exposure.mounts.items()),
        notices=tuple(mask(notice) for notice in exposure.notices),
    )


def _proxies(environ: Mapping[str, str], fallback: str) -> dict[str, str]:
    names = [variant for name in _PROXIES for variant in (name, name.upper())]
    found = {name: environ[name] for name in names if environ.get(name)}
    if fallback and not {name.lower() for name in found} & {"http_proxy", "https_proxy"}:
        url = fallback if "://" in fallback else f"http://{fallback}"
        found.update(dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), url))
    return found


def _certificates(exposure: Exposure, environ: Mapping[str, str], pip: PipConfig) -> dict[str, str]:
    """The first authorities that are named, else the host's own, for uv as for node."""
    named = [environ.get("SSL_CERT_FILE", ""), pip.cert, environ.get("REQUESTS_CA_BUNDLE", "")]
    named += [environ.get("CURL_CA_BUNDLE", ""), *_SYSTEM_BUNDLES]
    env: dict[str, str] = {}
    if bundle := next((path for path in named if path and Path(path).is_file()), ""):
        env["SSL_CERT_FILE"] = exposure.copy(bundle)
    extra = environ.get("NODE_EXTRA_CA_CERTS", "")
    usable = extra if extra and Path(extra).is_file() else bundle
    if usable:
        env["NODE_EXTRA_CA_CERTS"] = exposure.copy(usable)
    if folders := _certificate_folders(exposure, environ, pip):
        env["SSL_CERT_DIR"] = folders
    if client := environ.get("SSL_CLIENT_CERT") or pip.client_cert:
        env["SSL_CLIENT_CERT"] = exposure.copy(client)
    return {name: value for name, value in env.items() if value}


def _certificate_folders(exposure: Exposure, environ: Mapping[str, str], pip: PipConfig) -> str:
    named = environ.get("SSL_CERT_DIR", "").split(os.pathsep)
    named += [path for path in (pip.cert, environ.get("REQUESTS_CA_BUNDLE", "")) if path]
    folders = [path for path in dict.fromkeys(named) if path and Path(path).is_dir()]
    return os.pathsep.join(path for path in folders if exposure.show(Path(path).absolute()))


def _uv_settings(
    exposure: Exposure, environ: Mapping[str, str], pip: PipConfig, system: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Give uv its own settings as they are, and pip's where uv names no index itself."""
    env = {name: value for name, value in environ.items() if _is_passed(name) and value}
    files_env, files = _uv_files(exposure, environ, system)
    env.update(files_env)
    options: tuple[str, ...] = ()
    if not any(name in env for name in (*_INDEXES, "UV_FIND_LINKS")) and not _names_index(files):
        translated, options = _from_pip(exposure, pip)
        env = {**translated, **env}
    else:
        _show_uv_folders(exposure, env, files)
    if pip.trusted_hosts:
        env.setdefault("UV_INSECURE_HOST", " ".join(pip.trusted_hosts))
    if pip.timeout.isdigit():
        env.setdefault("UV_HTTP_TIMEOUT", pip.timeout)
    if logins := _logins(environ, env):
        env["NETRC"] = exposure.write("netrc", logins)
    return env, options


def _is_passed(variable: str) -> bool:
    return variable in _PASSED_TO_UV or bool(_INDEX_LOGIN.fullmatch(variable))


def _from_pip(exposure: Exposure, pip: PipConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    """Translate: pip takes the best version of all indexes, which uv has to be told to do."""
    env: dict[str, str] = {}
    extra = [url for url in map(_as_url, pip.extra_index_urls) if _shown(exposure, url)]
    links = [link for link in map(_as_place, pip.find_links) if _shown(exposure, link)]
    if pip.index_url:
        env["UV_DEFAULT_INDEX"] = _as_url(pip.index_url)
        _shown(exposure, env["UV_DEFAULT_INDEX"])
    if extra:
        env["UV_INDEX"] = " ".join(extra)
    if links:
        env["UV_FIND_LINKS"] = ",".join(links)
    if env:
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return env, ("--no-index",) if pip.no_index else ()


def _as_url(location: str) -> str:
    path = local_path(location)
    return path.as_uri() if path else location


def _as_place(location: str) -> str:
    path = local_path(location)
    return str(path) if path else location


def _shown(exposure: Exposure, location: str) -> bool:
    path = local_path(location)
    return path is None or exposure.show_index(path)


def _uv_files(
    exposure: Exposure, environ: Mapping[str, str], system: Path
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Place the settings files of uv where a bake looks for them, and say what is in them."""
    if environ.get("UV_NO_CONFIG"):
        return {}, []
    if only := environ.get("UV_CONFIG_FILE"):
        path, files = Path(only), _toml(Path(only))
        return {"UV_CONFIG_FILE": exposure.write("uv.toml", _text(path))}, files
    home = Path(environ.get("HOME") or Path("~").expanduser())
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "uv/uv.toml")
    shared = [Path(each, "uv/uv.toml") for each in environ.get("XDG_CONFIG_DIRS", "").split(":")]
    host = next((path for path in shared if path.is_file()), system / "uv/uv.toml")
    exposure.write("user/uv/uv.toml", _text(user))
    exposure.write("system/uv/uv.toml", _text(host))
    places = {
        "XDG_CONFIG_HOME": f"{exposure.at}/user",
        "XDG_CONFIG_DIRS": f"{exposure.at}/system",
    }
    return places, [*_toml(user), *_toml(host)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _toml(path: Path) -> list[dict[str, Any]]:
    """The tables of a settings file that may name an index; one that is wrong is uv's to report."""
    try:
        found = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return []
    pip = found.get("pip")
    return [found, pip] if isinstance(pip, dict) else [found]


def _names_index(tables: list[dict[str, Any]]) -> bool:
    return any(_INDEX_KEYS & table.keys() for table in tables)


def _show_uv_folders(
    exposure: Exposure, env: Mapping[str, str], tables: list[dict[str, Any]]
) -> None:
    words = " ".join(env.get(name, "") for name in _INDEXES).split()
    words += env.get("UV_FIND_LINKS", "").replace(",", " ").split()
    for location in (*words, *_locations(tables)):
        place = re.sub(r"^[\w.-]+=", "", location)
        if place.startswith(("/", "file:", "~")):
            _shown(exposure, place)


def _locations(tables: list[dict[str, Any]]) -> Iterator[str]:
    for table in tables:
        for key in ("index-url", "extra-index-url", "find-links", "index"):
            value = table.get(key, [])
            for each in value if isinstance(value, list) else [value]:
                location = each.get("url") if isinstance(each, dict) else each
                if isinstance(location, str):
                    yield location


def _logins(environ: Mapping[str, str], env: Mapping[str, str]) -> str:
    """The lines of the user's netrc for the hosts of the indexes, and for no other."""
    home = Path(environ.get("HOME") or Path("~").expanduser())
    path = environ.get("NETRC") or str(home / ".netrc")
    urls = " ".join(env.get(name, "") for name in (*_INDEXES, "UV_FIND_LINKS")).split()
    hosts = {urlsplit(re.sub(r"^[\w.-]+=", "", url)).hostname for url in urls}
    try:
        known = netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""
    lines = [
        f"machine {host} login {login} password {password}\n"
        for host, (login, _account, password) in known.items()
        if host in hosts and password
    ]
    return "".join(lines)
