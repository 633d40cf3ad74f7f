"""Where the daemon is: DOCKER_HOST, else the current context, else the socket of this host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import attrs

from isol8tasks.errors import BackendUnavailable
from isol8tasks_docker import contexts

SOCKET = "/var/run/docker.sock"
DEFAULT = f"unix://{SOCKET}"


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
    name = environ.get("DOCKER_CONTEXT") or contexts.current()
    return _from_context(name) if name and name != "default" else Address()


def _verifying(address: Address, unverified: str, remedy: str) -> Address:
    """It, unless its TLS would take anybody for the daemon."""
    tls_is_used = not address.local and not address.url.startswith("ssh://")
    if tls_is_used and address.tls is not None and not address.tls.verify:
        raise BackendUnavailable(f"{unverified}, but nothing verifies the daemon", hint=remedy)
    return address


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
    return _verifying(
        Address(url=found["base_url"], tls=found.get("tls"), source="DOCKER_HOST"),
        "DOCKER_CERT_PATH is set",
        "set DOCKER_TLS_VERIFY=1, or unset DOCKER_CERT_PATH",
    )


def _from_context(name: str) -> Address:
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        url, tls = contexts.endpoint(name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, DockerException) as error:
        missing = isinstance(error, FileNotFoundError)
        raise BackendUnavailable(
            f"there is no docker context {name!r}"
            if missing
            else f"the docker context {name!r} cannot be used: {error}",
            hint="see 'docker context ls'; unset DOCKER_CONTEXT, or 'docker context use default'",
        ) from error
    return _verifying(
        Address(url=url or DEFAULT, tls=tls, source=f"the context {name!r}"),
        f"the docker context {name!r} uses TLS",
        f"give it the daemon's CA: docker context update {name} --docker "
        f"host={url},ca=FILE,cert=FILE,key=FILE",
    )


def connect() -> Any:
    """The engine at that address; BackendUnavailable says why there is none, and the remedy."""
    from docker.errors import DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    from isol8tasks_docker.engine import DockerEngine  # noqa: PLC0415
    from isol8tasks_docker.ssh import Tunnel  # noqa: PLC0415

    address = find(os.environ)
    tunnel = Tunnel(address.url) if address.url.startswith("ssh://") else None
    with ExitStack() as undo:
        if tunnel:
            undo.callback(tunnel.close)
        try:
            engine = DockerEngine(address, tunnel)
            undo.callback(engine.close)
            podman = engine.is_podman()
        except (DockerException, RequestException, OSError, ValueError) as error:
            words = tunnel.complaint if tunnel else ""
            raise unreachable(address, words or str(error)) from error
        if podman:
            raise BackendUnavailable(
                f"what answers at {address.url} ({address.source}) is Podman",
                hint="use --backend podman; CONTAINER_HOST names its socket",
            )
        undo.pop_all()
        return engine


_REMEDIES = (
    (
        "permission denied",
        "add yourself to the group docker (usermod -aG docker) and log in again, or use podman",
    ),
    ("no such file", "install and start it: apt-get install docker.io && systemctl start docker"),
    ("connection refused", "start it: systemctl start docker"),
)
"""What the SDK's words have in them, and what to do then."""


def unreachable(address: Address, words: str) -> BackendUnavailable:
    """What is wrong, from what the SDK said."""
    sign, remedy = next(
        (pair for pair in _REMEDIES if pair[0] in words.lower()), ("", _otherwise(address))
    )
    return BackendUnavailable(
        f"docker does not answer at {address.url} ({address.source}): "
        f"{sign or ' '.join(words.split())}",
        hint=remedy,
    )


def _otherwise(address: Address) -> str:
    """What to do where the words say nothing."""
    if address.url.startswith("ssh://"):
        return f"see that docker runs there; ssh://HOST/PATH names a socket other than {SOCKET}"
    if address.tls and address.source == "DOCKER_HOST":
        return "correct DOCKER_CERT_PATH"
    return f"correct the certificates of {address.source}" if address.tls else "see 'docker info'"
