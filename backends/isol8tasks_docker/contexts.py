"""The contexts of the `docker` program, read where it keeps them.

The SDK (docker-py 7.2) finds them beside a config.json only; without one it looks in the working
folder, which may be a stranger's checkout. And it verifies nobody where a context does not say.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def current() -> str:
    """The one that `docker context use` chose; damage is for docker itself to report."""
    with suppress(OSError, ValueError, AttributeError):
        name = json.loads((_folder() / "config.json").read_text()).get("currentContext")
        return name if isinstance(name, str) else ""
    return ""


def endpoint(name: str) -> tuple[str, Any]:
    """A context's URL, if it has one, and what TLS needs.

    OSError when there is none; ValueError, LookupError, TypeError, AttributeError or
    DockerException when it is damaged.
    """
    number = hashlib.sha256(name.encode()).hexdigest()
    contexts = _folder() / "contexts"
    file = contexts / "meta" / number / "meta.json"
    found = json.loads(file.read_text())["Endpoints"]["docker"]
    tls = _tls(contexts / "tls" / number / "docker", verify=not found.get("SkipTLSVerify"))
    return str(found.get("Host") or ""), tls


def _tls(folder: Path, *, verify: bool) -> Any:
    from docker.tls import TLSConfig  # noqa: PLC0415 -- takes 0.2 s

    ca, cert, key = (next(map(str, folder.glob(f"{kind}*")), "") for kind in ("ca", "cert", "key"))
    if verify and not (ca or cert or key):
        return None
    pair = (cert, key) if cert or key else None
    return TLSConfig(client_cert=pair, ca_cert=ca or None, verify=verify)


def _folder() -> Path:
    """As docker does, it is this one or that one, and need not have a config.json."""
    return Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))
