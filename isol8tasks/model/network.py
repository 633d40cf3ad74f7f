"""What a stage may reach."""

from __future__ import annotations

import enum
import re

import attrs

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?", re.IGNORECASE)


class NetworkMode(enum.StrEnum):
    """Nothing, an allow-list of hosts, or whatever the host itself reaches."""

    NONE = "none"
    ALLOW = "allow"
    HOST = "host"


@attrs.frozen
class Network:
    """A network policy; made by `Network.none()`, `Network.allow(…)` or `Network.host()`."""

    mode: NetworkMode = NetworkMode.NONE
    hosts: tuple[str, ...] = ()
    deny: str = "fail"

    @classmethod
    def none(cls) -> Network:
        """Only the sandbox's own loopback."""
        return cls()

    @classmethod
    def allow(cls, *hosts: str, deny: str = "fail") -> Network:
        """Only these hosts, by HTTP and HTTPS; `*.domain` allows every host below a domain."""
        if not hosts:
            raise ValueError("Network.allow() needs a host: write Network.allow('example.org')")
        for host in hosts:
            if not isinstance(host, str) or not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not a host name: write example.org or *.example.org")
        if deny != "fail":
            raise ValueError(f"deny={deny!r} is not known: write deny='fail'")
        return cls(NetworkMode.ALLOW, tuple(sorted({host.lower() for host in hosts})), deny)

    @classmethod
    def host(cls) -> Network:
        """The host's own network; the operator has to consent with --allow-host-network."""
        return cls(NetworkMode.HOST)
