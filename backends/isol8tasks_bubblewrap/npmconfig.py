"""npm's settings of the host, as a bake needs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from isol8tasks_bubblewrap.exposure import Exposure

_NOT_PASSED = frozenset(
    {
        "cache",
        "cafile",
        "dry-run",
        "global",
        "global-prefix",
        "globalconfig",
        "ignore-scripts",
        "init-module",
        "local-prefix",
        "location",
        "logs-dir",
        "node-gyp",
        "npm-version",
        "offline-cache",
        "prefix",
        "tmp",
        "user-agent",
        "userconfig",
        "workspace",
        "workspaces",
    }
)
_CAFILE = re.compile(r"^(\s*cafile\s*=\s*)(.+?)\s*$", re.MULTILINE)
_REFERENCE = re.compile(r"\$\{(\w+)\??\}")


def npm_settings(
    exposure: Exposure, environ: Mapping[str, str], *, prefix: str, system: Path = Path("/etc")
) -> dict[str, str]:
    """Variables that give a bake's npm the user's and the host's npmrc and `NPM_CONFIG_*`.

    `prefix` is the folder of the node, whose npm reads `PREFIX/etc/npmrc`.
    """
    own = {_option(name): name for name in environ if name.lower().startswith("npm_config_")}
    env = {name: environ[name] for option, name in own.items() if option not in _NOT_PASSED}
    if "cafile" in own and (copy := exposure.copy(environ[own["cafile"]])):
        env["npm_config_cafile"] = copy
    home = Path(environ.get("HOME") or Path("~").expanduser())
    places = {
        "userconfig": [home / ".npmrc"],
        "globalconfig": [system / "npmrc", Path(prefix, "etc/npmrc")],
    }
    for option, paths in places.items():
        chosen = [Path(environ[own[option]])] if option in own else paths
        text = "\n".join(_text(exposure, path) for path in dict.fromkeys(chosen))
        env[f"npm_config_{option}"] = exposure.write(f"npm/{option}", text)
        env.update((name, environ[name]) for name in _REFERENCE.findall(text) if name in environ)
    return env


def _option(variable: str) -> str:
    return variable[len("npm_config_") :].lower().replace("_", "-")


def _text(exposure: Exposure, path: Path) -> str:
    """An npmrc whose certificate file is one that the bake can see."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

    def visible(match: re.Match[str]) -> str:
        copy = exposure.copy(match[2].strip("\"'"))
        return f"{match[1]}{copy}" if copy else ""

    return _CAFILE.sub(visible, text)
