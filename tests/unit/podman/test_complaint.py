"""What podman says, and what that becomes. The texts are those of 4.3."""

from __future__ import annotations

import json

import pytest
from isol8tasks_oci.client import EngineError
from isol8tasks_podman import complaint


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"cause": "c", "message": "m", "response": 500}', "m"),
        ('{"cause": "c"}', "c"),
        ("not JSON\n", "not JSON"),
        ("[1]", "[1]"),
        ("", "podman refused, and did not say why"),
        ("{}", "podman refused, and did not say why"),
    ],
)
def test_messages(body: str, expected: str) -> None:
    assert complaint.message(body) == expected


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            (
                "container-init binary not found on the host: stat "
                "/usr/libexec/podman/catatonit: no such file or directory"
            ),
            "install catatonit, the init that podman puts into a container",
        ),
        (
            "runc: runc create failed: error setting rlimit type 7: operation not permitted",
            "podman's service has lower limits than this shell: start it from here, or raise them",
        ),
        (
            'open("/dev/net/tun"): Permission denied',
            "let this user write /dev/net/tun, which the network of rootless containers needs",
        ),
        ('exec: "/bin/sh": stat /bin/sh: no such file or directory', ""),
    ],
)
def test_refusals_keep_the_text_and_may_have_a_hint(said: str, hint: str) -> None:
    error = complaint.refusal(500, json.dumps({"message": said}))
    assert (error.message, error.hint, error.status) == (said, hint, 500)


def test_a_missing_thing_is_told_by_its_status() -> None:
    assert complaint.refusal(404, '{"message": "no such container"}').missing


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("can only kill running containers. 12 is in state exited: container state improper", True),
        ("no such container", False),
    ],
)
def test_a_kill_that_comes_too_late(said: str, expected: bool) -> None:
    assert complaint.ended(EngineError(said, status=500)) is expected


def _logged(text: str) -> str:
    escaped = text.replace('"', '\\"')
    warning = 'time="2026-11-23" level=warning msg="\\"/\\" is not a shared mount, this could"'
    return f'{warning}\ntime="2026-11-23T01:45:26Z" level=error msg="{escaped}"\n'


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            _logged(
                "command required for rootless mode with multiple IDs: exec: "
                '"newuidmap": executable file not found in $PATH'
            ),
            (
                "podman finds no newuidmap or newgidmap: command required for rootless mode with "
                'multiple IDs: exec: "newuidmap": executable file not found in $PATH'
            ),
            "install the package uidmap",
        ),
        (
            _logged('cannot find UID/GID for user u: no subuid ranges found for user "u"'),
            (
                "this user has no, or fewer than 65536, subordinate uids and gids: "
                'cannot find UID/GID for user u: no subuid ranges found for user "u"'
            ),
            "usermod --add-subuids",
        ),
        (
            "cannot clone: No space left on device\n" + _logged("cannot re-exec process"),
            "this host does not let this user make user namespaces: cannot re-exec process",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "Error: cannot set up namespace using newuidmap: exit status 1",
            (
                "podman finds no newuidmap or newgidmap: cannot set up namespace using "
                "newuidmap: exit status 1"
            ),
            "install the package uidmap",
        ),
        (
            "Error: creating tmpdir: mkdir /run/user/7: permission denied",
            (
                "podman has no folder of this user's own for what runs: creating tmpdir: mkdir "
                "/run/user/7: permission denied"
            ),
            "XDG_RUNTIME_DIR",
        ),
        (
            'Error: default OCI runtime "nosuch" not found: invalid argument',
            (
                "podman does not have the OCI runtime that it shall use: default OCI runtime "
                '"nosuch" not found: invalid argument'
            ),
            "the setting 'runtime'",
        ),
        (
            "Error: open /var/lib/x: permission denied",
            "podman may not use what it needs: open /var/lib/x: permission denied",
            "the owner of the path",
        ),
        ("", "the service of podman does not start: it said nothing", "podman info"),
    ],
)
def test_why_a_service_does_not_start(said: str, message: str, hint: str) -> None:
    error = complaint.unavailable(said)
    assert error.message == message
    assert hint in error.hint


def test_addresses_that_do_not_answer() -> None:
    denied = complaint.silent("unix:///x", "podman's service is gone: Permission denied")
    assert denied.hint == "let this user open that socket, or unset CONTAINER_HOST"
    assert "start that service" in complaint.silent("unix:///x", "No such file").hint
    assert "ssh -nNT -L" in complaint.foreign("ssh://host/x").hint
    assert complaint.missing().hint.startswith("install podman")
    other = complaint.other_runtime("unix:///x", "runc", "crun")
    assert "podman --runtime crun system service" in other.hint
