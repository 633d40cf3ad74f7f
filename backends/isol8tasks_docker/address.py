"""Where the daemon is: DOCKER_HOST, else the current context, else the socket of this host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from isol8tasks.errors import BackendUnavailable

DEFAULT = "unix:///var/run/docker.sock"


@attrs.frozen(kw_only=True)
class Address:
    """A URL as the SDK takes it, with what TLS needs."""

    url: str = DEFAULT
    tls: Any = attrs.field(default=None, repr=False)
    source: str = "the default"

    @property
    def local(self) -> bool:
        """Whether it is a socket of this host."""
        return self.url.startswith(("unix://", "http+unix://"))


def find(environ: Mapping[str, str]) -> Address:
    """The address that docker itself would choose; BackendUnavailable if it is bad."""
    if environ.get("DOCKER_HOST"):
        return _from_variables(environ)
    name = environ.get("DOCKER_CONTEXT") or _current()
    return _from_context(name) if name and name != "default" else Address()


def _from_variables(environ: Mapping[str, str]) -> Address:
    from docker.errors import DockerException  # noqa: PLC0415
    from docker.utils import kwargs_from_env  # noqa: PLC0415

    try:
        found = kwargs_from_env(environment=dict(environ))
    except DockerException as error:
        raise BackendUnavailable(
            f"DOCKER_HOST and its TLS settings cannot be used: {error}",
            hint="correct DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        ) from error
    return Address(url=found["base_url"], tls=found.get("tls"), source="DOCKER_HOST")


def _current() -> str:
    """The context that `docker context use` chose; damage is for docker itself to report."""
    from docker.utils.config import load_general_config  # noqa: PLC0415

    name = load_general_config().get("currentContext")
    return name if isinstance(name, str) else ""


def _from_context(name: str) -> Address:
    from docker.context import ContextAPI  # noqa: PLC0415
    from docker.utils.config import find_config_file  # noqa: PLC0415

    if find_config_file() is None:  # the SDK would look in the working folder
        raise _no_context(name)
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises that for a damaged one
        raise _no_context(name) from error
    if context is None or not context.Host:
        raise _no_context(name)
    return Address(url=context.Host, tls=context.TLSConfig, source=f"the context {name!r}")


def _no_context(name: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"there is no docker context {name!r}",
        hint="see 'docker context ls'; unset DOCKER_CONTEXT, or 'docker context use default'",
    )


def connect() -> Any:
    """The engine at that address; BackendUnavailable says why there is none, and the remedy."""
    from docker.errors import DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    from isol8tasks_docker.engine import DockerEngine  # noqa: PLC0415

    address = find(os.environ)
    try:
        return DockerEngine(address)
    except (DockerException, RequestException, OSError, ValueError, ImportError) as error:
        raise unreachable(address, str(error)) from error


_REMEDIES = (
    (
        "permission denied",
        "add yourself to the group docker (usermod -aG docker) and log in again, or use podman",
    ),
    ("no such file", "install and start it: apt-get install docker.io && systemctl start docker"),
    ("connection refused", "start it: systemctl start docker"),
    ("paramiko", "pip install 'isol8tasks[ssh]', or point DOCKER_HOST at a socket"),
    ("certificate", "correct DOCKER_CERT_PATH"),
)
"""What the SDK's words have in them, and what to do then."""


def unreachable(address: Address, words: str) -> BackendUnavailable:
    """What is wrong, from what the SDK said."""
    sign, remedy = next(
        (pair for pair in _REMEDIES if pair[0] in words.lower()), ("", "see 'docker info'")
    )
    return BackendUnavailable(
        f"docker does not answer at {address.url} ({address.source}): "
        f"{sign or ' '.join(words.split())}",
        hint=remedy,
    )
