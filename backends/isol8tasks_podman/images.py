"""The images of a podman service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import quote

from isol8tasks_oci.client import EngineError, LocalImage

from isol8tasks.backend.contract import Cancellation, LineSink
from isol8tasks_podman.connection import LONG, Connection
from isol8tasks_podman.errands import Errands

_SILENCE = 600.0
"""Seconds without a word, of a registry or while a large tar becomes an image."""

_NETWORKS = {
    "default": ("0", [{"Name": "network"}]),
    "none": ("1", [{"Name": "network"}]),
    "host": ("0", [{"Name": "network", "Host": True}]),
}
"""buildah's NetworkConfigurationPolicy, and its namespaces. Without the latter a build by the API
is in the host's network whatever else is asked for; the word "none" is not understood."""


class Images:
    """What an engine does with images."""

    def __init__(self, connection: Connection, errands: Errands) -> None:
        self._connection = connection
        self._errands = errands

    def image(self, reference: str) -> LocalImage | None:
        """An image that is here; no registry is asked."""
        found = self._connection.ask("get", f"/images/{_quoted(reference)}/json", ignore=(404,))
        return None if found is None else image_of(found)

    def images(self, repository: str) -> tuple[LocalImage, ...]:
        """The images that have a tag in this repository."""
        listed = self._connection.ask("get", "/images/json") or ()
        numbers = [each["Id"] for each in listed if tagged(each, repository)]
        found = (self.image(number) for number in dict.fromkeys(numbers))
        return tuple(image for image in found if image is not None)

    def pull(self, reference: str, *, sink: LineSink, cancel: Cancellation) -> None:
        """Get an image from its registry; EngineError says why that failed."""
        params = {"reference": reference}
        self._errands.pull(params, silence=_SILENCE, sink=sink, cancel=cancel)
        self._expect(reference)

    def build(
        self,
        context: IO[bytes],
        tag: str,
        *,
        arguments: tuple[tuple[str, str], ...],
        network: str,
        sink: LineSink,
        cancel: Cancellation,
        timeout: float,
    ) -> None:
        """Build the Dockerfile in a tar.

        The SDK takes no tar that it did not make itself (5.8: TypeError). With layers the images of
        the single steps would stay.
        """
        params = build_params(tag, arguments, network)
        self._errands.build(params, context, sink=sink, cancel=cancel, timeout=timeout)
        self._expect(tag)

    def _expect(self, reference: str) -> None:
        if self.image(reference) is None:
            raise EngineError(f"podman ended without an error and without the image {reference}")

    def load(self, root: IO[bytes], tag: str) -> None:
        """Import a tar. Docker's API, which podman has too, loses the tag there."""
        with self._connection.reports(
            "/images/import", params={"reference": tag}, content=root, timeout=_SILENCE
        ) as reports:
            reports.finish()

    def untag(self, reference: str) -> None:
        """Remove a tag, and the image with its last one; harmless when it is gone."""
        path = f"/images/{_quoted(reference)}"
        self._connection.ask("delete", path, timeout=LONG, ignore=(404,))


def build_params(tag: str, arguments: tuple[tuple[str, str], ...], network: str) -> dict[str, str]:
    """How a build is asked for. Its base is here already: no registry may be asked."""
    policy, namespaces = _NETWORKS[network]
    return {
        "t": tag,
        "buildargs": json.dumps(dict(arguments)),
        "networkmode": policy,
        "nsoptions": json.dumps(namespaces),
        "pullpolicy": "never",
        "layers": "false",
        "rm": "true",
        "forcerm": "true",
        "httpproxy": "false",
    }


def image_of(found: Mapping[str, Any]) -> LocalImage:
    """An image from what inspecting it tells."""
    config = found.get("Config") or {}
    pairs = (pair.partition("=") for pair in config.get("Env") or ())
    number = str(found["Id"])
    return LocalImage(
        id=number if number.startswith("sha256:") else f"sha256:{number}",
        tags=tuple(found.get("RepoTags") or ()),
        env=tuple((name, value) for name, _, value in pairs),
        volumes=tuple(sorted(config.get("Volumes") or ())),
        user=str(config.get("User") or ""),
    )


def tagged(listed: Mapping[str, Any], repository: str) -> bool:
    """Whether a listed image has a tag in this repository."""
    return any(tag.rpartition(":")[0] == repository for tag in listed.get("RepoTags") or ())


def _quoted(reference: str) -> str:
    return quote(reference, safe="")
