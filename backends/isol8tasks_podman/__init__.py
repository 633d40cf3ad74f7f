"""The Podman backend: containers by podman's API service, from root or as an ordinary user."""

from __future__ import annotations

from isol8tasks.backend.contract import Backend, BackendOptions


def podman(options: BackendOptions) -> Backend:
    """The backend; podman is looked for, or its service started, at its first use."""
    from isol8tasks_oci.backend import ContainerBackend  # noqa: PLC0415 - late, as it is heavy

    from isol8tasks_podman.connect import connect  # noqa: PLC0415

    return ContainerBackend(
        "podman", connect=lambda: connect(options.cache, options.runtime), options=options
    )
