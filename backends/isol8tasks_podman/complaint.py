"""What podman says when something is wrong, and what would help. Pure."""

from __future__ import annotations

import json
import re

from isol8tasks_oci.client import EngineError

from isol8tasks.errors import BackendUnavailable

_REFUSALS = (
    (
        r"container-init binary not found",
        "install catatonit, the init that podman puts into a container",
    ),
    (
        r"/dev/net/tun",
        "let this user write /dev/net/tun, which the network of rootless containers needs",
    ),
    (
        r"error setting rlimit|setrlimit",
        "podman's service has lower limits than this shell: start it from here, or raise them",
    ),
)
"""Of a request that was refused: what podman says, and the remedy."""

_TROUBLES = (
    (
        r"default OCI runtime .* not found",
        "podman does not have the OCI runtime that it shall use",
        "install it, or name another one with the setting 'runtime' or in containers.conf",
    ),
    (
        r"newuidmap|newgidmap",
        "podman finds no newuidmap or newgidmap",
        "install the package uidmap (shadow-utils)",
    ),
    (
        r"/etc/sub[ug]id|no sub[ug]id ranges|insufficient [UG]IDs",
        "this user has no, or fewer than 65536, subordinate uids and gids",
        (
            "add some, as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
            "USER, then as the user: podman system migrate"
        ),
    ),
    (
        r"cannot clone|cannot re-exec|set up namespace|user namespaces are not enabled|apparmor",
        "this host does not let this user make user namespaces",
        (
            "allow them, as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), "
            "user.max_user_namespaces or kernel.unprivileged_userns_clone=1 (others)"
        ),
    ),
    (
        r"XDG_RUNTIME_DIR|rundir|/run/user/|podman-run-",
        "podman has no folder of this user's own for what runs",
        (
            "log in in the usual way (su and sudo do not do it: machinectl shell USER@), or set "
            "XDG_RUNTIME_DIR to a folder that is this user's alone"
        ),
    ),
    (
        r"[Pp]ermission denied",
        "podman may not use what it needs",
        "look at the owner of the path that it names, of the socket or the storage",
    ),
)
"""Of a service that does not start: what podman says, what it means, and the remedy."""

_LOGGED = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')


def refusal(status: int, body: str, *, during: str = "") -> EngineError:
    """The error for an answer of podman; `during` says of what."""
    text = message(body)
    hint = next((remedy for said, remedy in _REFUSALS if re.search(said, text)), "")
    return EngineError(f"{during}: {text}" if during else text, status=status, hint=hint)


def ended(error: EngineError) -> bool:
    """Whether it refused because the container does not run; 4.3 gives no status of its own."""
    return "container state improper" in error.message


def message(body: str) -> str:
    """The text in an error of podman's API, or the body itself."""
    try:
        found = json.loads(body)
        text = found.get("message") or found.get("cause") or found.get("error") or ""
    except (ValueError, AttributeError):
        text = body
    return str(text).strip() or "podman refused, and did not say why"


def missing() -> BackendUnavailable:
    """There is nothing to talk to."""
    return BackendUnavailable(
        "there is no podman program here, and no socket of its service answers",
        hint="install podman, or set CONTAINER_HOST to the address of a podman service",
    )


def silent(address: str, reason: str) -> BackendUnavailable:
    """The service that CONTAINER_HOST names does not answer."""
    denied = "denied" in reason
    return BackendUnavailable(
        f"CONTAINER_HOST is {address}, where no podman service answers: {reason}",
        hint="let this user open that socket, or unset CONTAINER_HOST"
        if denied
        else "start that service (podman system service), or unset CONTAINER_HOST",
    )


def unavailable(said: str) -> BackendUnavailable:
    """Podman's service does not start, or is of no use; `said` is the end of what it printed."""
    lines = [*_LOGGED.findall(said), *re.findall(r"^Error: (.*)", said, re.MULTILINE)]
    told = (lines or said.strip().splitlines() or ["it said nothing"])[-1].replace('\\"', '"')
    for pattern, reason, remedy in _TROUBLES:
        if re.search(pattern, said):
            return BackendUnavailable(f"{reason}: {told}", hint=remedy)
    return BackendUnavailable(
        f"the service of podman does not start: {told}",
        hint="try 'podman info', which says the same and more",
    )


def foreign(address: str) -> BackendUnavailable:
    """CONTAINER_HOST names a service that we do not talk to."""
    return BackendUnavailable(
        f"CONTAINER_HOST is {address}: only unix:// and tcp:// addresses are taken",
        hint="forward the socket: ssh -nNT -L /tmp/podman.sock:/run/podman/podman.sock HOST, with "
        "CONTAINER_HOST=unix:///tmp/podman.sock",
    )


def other_runtime(address: str, has: str, wanted: str) -> BackendUnavailable:
    """A service that runs its containers by another OCI runtime."""
    return BackendUnavailable(
        f"the podman service at {address} uses the runtime {has}, and can use no other",
        hint=f"start it with 'podman --runtime {wanted} system service', or unset CONTAINER_HOST",
    )
