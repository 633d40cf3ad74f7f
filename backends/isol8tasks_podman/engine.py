"""Podman, by libpod's own API."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from isol8tasks_oci.client import (
    ContainerSpec,
    EngineError,
    Facts,
    Listed,
    LocalImage,
    State,
)

from isol8tasks.backend.contract import Cancellation, LineSink
from isol8tasks.backend.folders import ClaimedFolder
from isol8tasks_podman.complaint import ended
from isol8tasks_podman.connection import LONG, SHORT, Connection
from isol8tasks_podman.errands import Errands
from isol8tasks_podman.facts import facts_of, runs
from isol8tasks_podman.hijack import Streams, hijack
from isol8tasks_podman.images import Images
from isol8tasks_podman.limits import ceilings
from isol8tasks_podman.payload import Ground, payload
from isol8tasks_podman.service import Service

_MEMSW = Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
_SETTLING = 5.0


class PodmanEngine:
    """One service. What was started for it, and `folder`, go with `close`."""

    name = "podman"

    def __init__(
        self,
        url: str,
        *,
        folder: ClaimedFolder,
        program: str | None,
        service: Service | None,
        runtime: str | None = None,
    ) -> None:
        self._url = url
        self._local = url.startswith("unix://")
        self._folder = folder
        self._program = program
        self._service = service
        self._connection = Connection(url)
        self._lock = threading.Lock()
        self._info: dict[str, Any] | None = None
        errands = Errands(
            self._connection,
            folder.path,
            program=program if self._local else None,
            identity=None if service else lambda: self.facts().identity,
            runtime=runtime,
        )
        self._images = Images(self._connection, errands)

    def facts(self) -> Facts:
        """What it says of itself; asked once."""
        ours = os.geteuid() != 0  # root cannot enter the namespaces of somebody's engine so
        enter = (self._program, "unshare") if self._program and ours else ()
        return facts_of(self._told(), local=self._local, enter=enter, memsw=_MEMSW.exists())

    def _told(self) -> dict[str, Any]:
        with self._lock:
            if self._info is None:
                self._info = self._connection.ask("get", "/info")
            return self._info

    def create(self, spec: ContainerSpec) -> str:
        """Make a container; its id. The API takes no runtime (4.3 ignores the field for it)."""
        if spec.runtime is not None and not runs(self.facts(), spec.runtime):
            raise EngineError(f"podman's service uses {self.facts().runtime}, not {spec.runtime}")
        ground = Ground(
            profile=str(self._profile(spec.seccomp)),
            ceilings=ceilings(),
        )
        body = payload(spec, ground)
        made = self._connection.ask("post", "/containers/create", timeout=LONG, body=body)
        return str(made["Id"])

    def _profile(self, seccomp: str) -> Path:
        """The filter as a file: libpod takes nothing else."""
        if not self._local:
            raise EngineError(
                "podman takes a system call filter only as a file of its own host, and this "
                f"service, {self._url}, is elsewhere",
                hint="run where the service is; nothing runs without a filter",
            )
        path = self._folder.path / f"{hashlib.sha256(seccomp.encode()).hexdigest()[:32]}.json"
        with self._lock:
            if not path.exists():
                path.write_text(seccomp)
        return path

    def start(self, container: str) -> None:
        """Start its first program."""
        self._connection.ask("post", f"/containers/{container}/start", timeout=LONG)

    def state(self, container: str) -> State:
        """How it is now; the exit code is right only once podman has cleaned up behind it."""
        found = self._connection.ask("get", f"/containers/{container}/json")["State"]
        over = found["Status"] == "exited"
        return State(
            running=bool(found["Running"]),
            ended=over,
            pid=int(found["Pid"]),
            exit_code=int(found["ExitCode"]) if over else None,
            oom_killed=bool(found["OOMKilled"]),
            error=str(found.get("Error") or ""),
        )

    def kill(self, container: str) -> None:
        """Kill everything in it; harmless when nothing runs or it is gone."""
        path = f"/containers/{container}/kill"
        try:
            self._connection.ask("post", path, params={"signal": "KILL"}, ignore=(404, 409))
        except EngineError as error:
            if not ended(error):
                raise

    def remove(self, container: str) -> None:
        """Kill and forget it, with its volumes; harmless when it is gone."""
        params = {"force": "true", "v": "true", "timeout": "0"}
        deadline = time.monotonic() + _SETTLING
        while True:
            try:
                path = f"/containers/{container}"
                self._connection.ask("delete", path, timeout=LONG, params=params, ignore=(404,))
            except EngineError as error:  # somebody else kills, removes or starts it
                if error.status not in {409, 500} or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def attach(self, container: str) -> Streams:
        """The streams of its first program, asked for before it starts."""
        wanted = ("stream", "stdin", "stdout", "stderr")
        return hijack(
            self._url,
            f"/containers/{container}/attach",
            params={**dict.fromkeys(wanted, "true"), "detachKeys": ""},
        )

    def execute(
        self,
        container: str,
        argv: tuple[str, ...],
        *,
        uid: int,
        workdir: str = "/",
        env: tuple[tuple[str, str], ...] = (),
    ) -> PodmanExecution:
        """Start another program in a running container, as this uid, with all streams open."""
        body = {
            "Cmd": list(argv),
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "DetachKeys": "",
            "Env": [f"{name}={value}" for name, value in env],
            "User": f"{uid}:{uid}",
            "WorkingDir": workdir,
        }
        path = f"/containers/{container}/exec"
        made = self._connection.ask("post", path, timeout=LONG, body=body)["Id"]
        streams = hijack(self._url, f"/exec/{made}/start", body={"Detach": False, "Tty": False})
        return PodmanExecution(self._connection, str(made), streams)

    def containers(self, label: str) -> tuple[Listed, ...]:
        """All containers, running or not, that have this label."""
        params = {"all": "true", "filters": json.dumps({"label": [label]})}
        found = self._connection.ask("get", "/containers/json", params=params) or ()
        return tuple(
            Listed(
                id=str(each["Id"]),
                name=str((each.get("Names") or [""])[0]),
                labels=tuple(sorted((each.get("Labels") or {}).items())),
                created=datetime.fromisoformat(each["Created"]).timestamp(),
            )
            for each in found
        )

    def image(self, reference: str) -> LocalImage | None:
        """An image by name, digest or id, if the engine has it."""
        return self._images.image(reference)

    def images(self, repository: str) -> tuple[LocalImage, ...]:
        """The images that have a tag in this repository."""
        return self._images.images(repository)

    def pull(self, reference: str, *, sink: LineSink, cancel: Cancellation) -> None:
        """Get an image from its registry; EngineError says why that failed."""
        self._images.pull(reference, sink=sink, cancel=cancel)

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
        """Build the Dockerfile in a tar; nothing but the tagged image stays."""
        self._images.build(
            context,
            tag,
            arguments=arguments,
            network=network,
            sink=sink,
            cancel=cancel,
            timeout=timeout,
        )

    def load(self, root: IO[bytes], tag: str) -> None:
        """Make an image of one layer from the tar of a root file system."""
        self._images.load(root, tag)

    def untag(self, reference: str) -> None:
        """Remove a tag, and the image with its last one; harmless when it is gone."""
        self._images.untag(reference)

    def close(self) -> None:
        """End the service if it is ours; may be repeated."""
        self._connection.close()
        if self._service is not None:
            self._service.close()
        self._folder.close()


class PodmanExecution:
    """A program that was started beside the first one of a container."""

    def __init__(self, connection: Connection, number: str, streams: Streams) -> None:
        self._connection = connection
        self._number = number
        self._streams = streams

    @property
    def channel(self) -> Streams:
        """Its streams."""
        return self._streams

    def exit_code(self) -> int | None:
        """How it ended; None while it runs. Podman knows a moment after the end of the streams."""
        deadline = time.monotonic() + (SHORT if self._streams.ended else 0)
        while True:
            found = self._connection.ask("get", f"/exec/{self._number}/json")
            if not found["Running"]:
                return int(found["ExitCode"])
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)
