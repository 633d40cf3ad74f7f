"""The Docker backend. Its SDK is imported with the first question to the engine."""

from __future__ import annotations

from isol8tasks.backend.contract import Backend, BackendOptions


def docker(options: BackendOptions) -> Backend:
    """What the entry point names."""
    from isol8tasks_oci.backend import ContainerBackend  # noqa: PLC0415

    from isol8tasks_docker.address import connect  # noqa: PLC0415 -- with the backend, not before

    return ContainerBackend("docker", connect=connect, options=options)
