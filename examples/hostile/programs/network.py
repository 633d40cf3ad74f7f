"""Looks for a way to anywhere. `HOSTILE_PORT` and `HOSTILE_SOCKET` are what the test listens on."""

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from ending import all_must_fail, contained, escaped

PORT = int(os.environ["HOSTILE_PORT"])
NAME = os.environ["HOSTILE_SOCKET"]
PUBLIC, PUBLIC_6 = "192.0.2.1", "2001:db8::1"  # reserved for documentation: nobody is there
GATEWAYS = ("10.0.2.2", "172.17.0.1", "169.254.169.254")
SECONDS = 0.3
RTM_NEWLINK, RTM_DELLINK, REQUEST_ACK = 16, 17, 5


def connect(family: int, address: object) -> Callable[[], object]:
    def attempt() -> str:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(SECONDS)
            client.connect(address)
            return f"a connection to {address}"

    return attempt


def ask(family: int, address: tuple[str, int], question: bytes = b"hello") -> Callable[[], object]:
    """UDP: only an answer tells that somebody heard it; the test looks at its own socket too."""

    def attempt() -> bytes:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(SECONDS)
            client.connect(address)
            client.send(question)
            return client.recv(100)

    return attempt


def tcp() -> None:
    hosts = ("127.0.0.1", "127.0.0.2", "0.0.0.0", PUBLIC, *GATEWAYS)
    ports = {host: (host, PORT) for host in hosts} | {"ssh": ("127.0.0.1", 22)}
    all_must_fail({name: connect(socket.AF_INET, where) for name, where in ports.items()})


def udp() -> None:
    hosts = ("127.0.0.1", "127.255.255.255", PUBLIC, *GATEWAYS)
    all_must_fail({host: ask(socket.AF_INET, (host, PORT)) for host in hosts})


def ipv6() -> None:
    hosts = ("::1", PUBLIC_6, "::ffff:127.0.0.1", "fe80::1%1")
    streams = {host: connect(socket.AF_INET6, (host, PORT)) for host in hosts}
    all_must_fail(streams | {"udp": ask(socket.AF_INET6, ("::1", PORT))})


def dns() -> None:
    question = bytes.fromhex("000101000001000000000000076578616d706c65036f72670000010001")
    servers = ("127.0.0.53", "127.0.0.11", PUBLIC)
    asked = {server: ask(socket.AF_INET, (server, 53), question) for server in servers}
    by_name = {"getaddrinfo": lambda: socket.getaddrinfo("example.org", 80)}
    all_must_fail({**by_name, **asked})


def unix() -> None:
    """Of the host: an abstract name, a path, and the usual suspects."""
    paths = ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket")
    names = {"abstract": "\0" + NAME, **{path: path for path in paths}}
    all_must_fail({name: connect(socket.AF_UNIX, where) for name, where in names.items()})


def families() -> None:
    """Families that network namespaces do not contain, or that reach into the kernel."""
    kinds = {
        "vsock": (40, socket.SOCK_STREAM, 0),
        "packet": (17, socket.SOCK_RAW, 0x300),
        "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
        "alg": (38, socket.SOCK_SEQPACKET, 0),
        "bluetooth": (31, socket.SOCK_RAW, 1),
        "xdp": (44, socket.SOCK_RAW, 0),
        "uevent": (16, socket.SOCK_RAW, 15),
        "generic netlink": (16, socket.SOCK_RAW, 16),
        "audit": (16, socket.SOCK_RAW, 9),
    }
    all_must_fail({name: lambda kind=kind: socket.socket(*kind) for name, kind in kinds.items()})


def netlink() -> None:
    """NETLINK_ROUTE is allowed, as programs ask it: it shows loopback alone."""
    names = {name for _, name in socket.if_nameindex()}
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    if names != {"lo"} or routes:
        escaped(f"interfaces {sorted(names)}, routes {routes}")
    with contextlib.closing(socket.socket(16, socket.SOCK_RAW, 0)) as route:
        route.settimeout(SECONDS)
        for kind in (RTM_NEWLINK, RTM_DELLINK):
            route.sendto(
                struct.pack("IHHIIHHiII", 32, kind, REQUEST_ACK, 1, 0, 0, 0, 1, 0, 1), (0, 0)
            )
            (error,) = struct.unpack_from("i", route.recv(4096), 16)
            if error >= 0:
                escaped("it changed the network")
    contained("there is only loopback, and it cannot be changed")


globals()[sys.argv[1]]()
