"""Docker, through its SDK's low-level client.

Where the SDK falls short: it loses what came along with the head of a hijacked answer
(`_hijacked`), and its pulls and builds cannot be stopped from another thread (`_followed`). There
its own session is used directly.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from isol8tasks_oci.channel import Hijacked
from isol8tasks_oci.client import (
    ContainerSpec,
    EngineError,
    Facts,
    Listed,
    LocalImage,
    NoAnswer,
    State,
)

from isol8tasks.backend.contract import Cancellation, LineSink
from isol8tasks.errors import Cancelled
from isol8tasks_docker.address import Address
from isol8tasks_docker.answers import client, hang_up, kept, prefetched
from isol8tasks_docker.payload import payload
from isol8tasks_docker.ssh import Tunnel

SECONDS = 60
QUICK_SECONDS = 10


class DockerEngine:
    """One daemon. The clients differ in how long they wait for an answer."""

    name = "docker"

    def __init__(self, address: Address, tunnel: Tunnel | None = None) -> None:
        url = tunnel.url if tunnel else address.url
        self._local = address.local
        self._tunnel = tunnel
        self._quick = client(url, address.tls, seconds=QUICK_SECONDS)
        self._api = client(url, address.tls, seconds=SECONDS, version=self._quick.api_version)

    def is_podman(self) -> bool:
        """Whether it is Podman, which answers almost as Docker does; errors are the SDK's."""
        parts = self._quick.version().get("Components") or ()
        return any(part["Name"] == "Podman Engine" for part in parts)

    def facts(self) -> Facts:
        """What `docker info` says."""
        with _translated():
            info = self._quick.info()
        options = " ".join(info.get("SecurityOptions") or ())
        return Facts(
            version=info["ServerVersion"],
            identity=f"docker {info.get('ID')} {info['ServerVersion']}",
            rootless="name=rootless" in options,
            remapped="name=userns" in options,
            local=self._local,
            runtime=info.get("DefaultRuntime") or "runc",
            runtimes=tuple(sorted(info.get("Runtimes") or ())),
            uids=1 << 16 if "name=rootless" in options else 1 << 32,
            grouped=info.get("CgroupDriver") == "cgroupfs" and "name=rootless" not in options,
            swap_held=bool(info.get("SwapLimit")) or (self._local and not _has_swap()),
        )

    def create(self, spec: ContainerSpec) -> str:
        """Make a container; its id."""
        with _translated():
            made = self._api.create_container_from_config(payload(spec), spec.name)
        return str(made["Id"])

    def start(self, container: str) -> None:
        """Start its first program."""
        with _translated():
            self._api.start(container)

    def state(self, container: str) -> State:
        """How it is now."""
        with _translated():
            found = self._quick.inspect_container(container)["State"]
        ended = found["Status"] in {"exited", "dead"}
        return State(
            running=bool(found["Running"]),
            ended=ended,
            pid=found["Pid"],
            exit_code=found["ExitCode"] if ended else None,
            oom_killed=bool(found["OOMKilled"]),
            error=found["Error"],
        )

    def kill(self, container: str) -> None:
        """Kill everything in it; harmless when nothing runs or it is gone."""
        with _translated(404, 409):
            self._quick.kill(container, "SIGKILL")

    def remove(self, container: str) -> None:
        """Kill and forget it, with its volumes; harmless when it is gone."""
        with _translated(404, 409):  # 409: somebody else is removing it
            self._api.remove_container(container, force=True, v=True)
        deadline = time.monotonic() + SECONDS
        while self._exists(container):
            if time.monotonic() > deadline:
                raise EngineError(f"container {container[:12]} cannot be removed")
            time.sleep(0.05)

    def _exists(self, container: str) -> bool:
        try:
            self.state(container)
        except EngineError as error:
            if error.missing:
                return False
            raise
        return True

    def attach(self, container: str) -> Hijacked:
        """The streams of its first program."""
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        with _translated():
            return self._hijacked(f"/containers/{container}/attach", params=wanted)

    def execute(
        self,
        container: str,
        argv: tuple[str, ...],
        *,
        uid: int,
        workdir: str = "/",
        env: tuple[tuple[str, str], ...] = (),
    ) -> DockerExecution:
        """Start another program in a running container."""
        with _translated():
            made = self._api.exec_create(
                container,
                list(argv),
                stdin=True,
                user=f"{uid}:{uid}",
                workdir=workdir,
                environment=dict(env),
            )
            start = f"/exec/{made['Id']}/start"
            channel = self._hijacked(start, body={"Tty": False, "Detach": False})
        return DockerExecution(self._quick, made["Id"], channel)

    def _hijacked(
        self, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> Hijacked:
        response = self._api._post_json(  # noqa: SLF001 -- see the module's docstring
            self._api._url(path),  # noqa: SLF001
            data=body or {},
            params=params,
            headers={"Connection": "Upgrade", "Upgrade": "tcp"},
            stream=True,
        )
        raw = self._api._get_raw_response_socket(response)  # noqa: SLF001 -- raises for a refusal
        connection = getattr(raw, "_sock", raw)
        return Hijacked(kept(connection, response), prefetched(response, connection))

    def containers(self, label: str) -> tuple[Listed, ...]:
        """All containers that have this label."""
        with _translated():
            found = self._quick.containers(all=True, filters={"label": label})
        return tuple(
            Listed(
                id=each["Id"],
                name=(each["Names"] or [""])[0].lstrip("/"),
                labels=tuple(sorted((each["Labels"] or {}).items())),
                created=float(each["Created"]),
            )
            for each in found
        )

    def image(self, reference: str) -> LocalImage | None:
        """An image by name, digest or id, if the engine has it."""
        try:
            with _translated():
                found = self._quick.inspect_image(reference)
        except EngineError as error:
            if error.missing:
                return None
            raise
        config = found.get("Config") or {}
        pairs = (pair.partition("=") for pair in config.get("Env") or ())
        return LocalImage(
            id=found["Id"],
            tags=tuple(found.get("RepoTags") or ()),
            env=tuple((name, value) for name, _, value in pairs),
            volumes=tuple(sorted(config.get("Volumes") or ())),
            user=config.get("User") or "",
        )

    def images(self, repository: str) -> tuple[LocalImage, ...]:
        """The images that have a tag in this repository."""
        with _translated():
            found = self._quick.images(name=repository)
        return tuple(
            LocalImage(id=each["Id"], tags=tuple(each["RepoTags"] or ())) for each in found
        )

    def pull(self, reference: str, *, sink: LineSink, cancel: Cancellation) -> None:
        """Get an image from its registry, with what `docker login` left for it."""
        from docker import auth, utils  # noqa: PLC0415

        repository, tag = utils.parse_repository_tag(reference)
        with _translated():
            registry, _ = auth.resolve_repository_name(repository)
            header = auth.get_config_header(self._api, registry)
            self._followed(
                "/images/create",
                params={"fromImage": repository, "tag": tag or "latest"},
                headers={"X-Registry-Auth": header} if header else {},
                sink=sink,
                cancel=cancel,
            )

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
        """Build with the daemon's own builder, which leaves nothing when told so."""
        params = {"t": tag, "rm": "1", "forcerm": "1", "buildargs": json.dumps(dict(arguments))}
        if network != "default":
            params["networkmode"] = network
        with _translated():
            self._followed(
                "/build",
                params=params,
                headers={"Content-Type": "application/x-tar"},
                body=context,
                sink=sink,
                cancel=cancel,
                timeout=timeout,
            )

    def _followed(
        self,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        sink: LineSink,
        cancel: Cancellation,
        body: IO[bytes] | None = None,
        timeout: float | None = None,
    ) -> None:
        """A long request whose answer tells of its progress; hanging up ends the work too."""
        if cancel.cancelled:
            raise Cancelled
        response = self._answered(
            lambda: self._api._post(  # noqa: SLF001 -- see the module's docstring
                self._api._url(path),  # noqa: SLF001
                params=params,
                headers=headers,
                data=body,
                stream=True,
                timeout=(SECONDS, None),
            ),
            cancel,
            timeout,
        )
        late = threading.Event()

        def expire() -> None:
            late.set()
            hang_up(response)

        timer = threading.Timer(timeout, expire) if timeout is not None else None
        if timer:
            timer.start()
        unsubscribe = cancel.on_cancel(lambda: hang_up(response))
        try:
            self._api._raise_for_status(response)  # noqa: SLF001
            self._tell(response, sink)
        except Exception:
            if cancel.cancelled:
                raise Cancelled from None
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            unsubscribe()
            if timer:
                timer.cancel()
            response.close()
        if cancel.cancelled:
            raise Cancelled
        if late.is_set():
            raise TimeoutError

    @staticmethod
    def _answered(post: Callable[[], Any], cancel: Cancellation, timeout: float | None) -> Any:
        """The head of an answer, which an engine gives when it likes; we need not wait for it."""
        answer: Future[Any] = Future()
        waited = threading.Event()

        def ask() -> None:
            try:
                answer.set_result(post())
            except Exception as error:  # noqa: BLE001 -- raised below
                answer.set_exception(error)

        answer.add_done_callback(lambda _: waited.set())
        threading.Thread(target=ask, daemon=True).start()
        unsubscribe = cancel.on_cancel(waited.set)
        try:
            waited.wait(timeout)
        finally:
            unsubscribe()
        if answer.done():
            return answer.result()
        answer.add_done_callback(lambda late: late.exception() or late.result().close())
        raise Cancelled if cancel.cancelled else TimeoutError

    def _tell(self, response: Any, sink: LineSink) -> None:
        """Pass on progress line by line; what a program prints comes in pieces of any length."""
        rest = ""
        for message in self._api._stream_helper(response, decode=True):  # noqa: SLF001
            if "error" in message:
                raise EngineError(str(message["error"]))
            words = (message.get(key) for key in ("id", "status", "progress"))
            if line := " ".join(word for word in words if word):
                sink(line)
            *lines, rest = (rest + message.get("stream", "")).split("\n")
            for line in lines:
                sink(line.rstrip())
        if rest:
            sink(rest)

    def load(self, root: IO[bytes], tag: str) -> None:
        """Make an image of one layer from the tar of a root file system."""
        repository, _, version = tag.rpartition(":")
        with _translated():
            response = self._api._post(  # noqa: SLF001 -- the SDK's own call sends broken chunks
                self._api._url("/images/create"),  # noqa: SLF001
                params={"fromSrc": "-", "repo": repository, "tag": version},
                data=root,
                stream=True,
            )
            with closing(response):
                self._api._raise_for_status(response)  # noqa: SLF001
                self._tell(response, lambda _line: None)

    def untag(self, reference: str) -> None:
        """Remove a tag; harmless when it is gone."""
        with _translated(404):
            self._api.remove_image(reference)

    def close(self) -> None:
        """Close the connections."""
        self._quick.close()
        self._api.close()
        if self._tunnel:
            self._tunnel.close()


class DockerExecution:
    """A program that was started beside the first one of a container."""

    def __init__(self, api: Any, number: str, channel: Hijacked) -> None:
        self._api = api
        self._number = number
        self.channel = channel

    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        with _translated():
            found = self._api.exec_inspect(self._number)
        return None if found["Running"] else found["ExitCode"]


def _has_swap() -> bool:
    """Whether this host has any: below its headline, /proc/swaps has a line for each."""
    return len(Path("/proc/swaps").read_text().splitlines()) > 1


@contextmanager
def _translated(*harmless: int) -> Iterator[None]:
    """Errors of the SDK as ours, but for these refusals."""
    from docker.errors import APIError, DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException, Timeout  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except APIError as error:
        status = error.status_code or 0
        if status not in harmless:
            words = error.explanation or str(error)
            raise EngineError(f"docker: {_one_line(words)}", status=status) from error
    except Timeout as error:
        raise NoAnswer("docker does not answer") from error
    except (RequestException, HTTPError, DockerException, ConnectionError) as error:
        raise NoAnswer(f"docker does not answer: {_one_line(_cause(error))}") from error


def _cause(error: BaseException) -> str:
    """What the system said, which the libraries wrap in words of their own."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return str(error)


def _one_line(text: object) -> str:
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join(str(text).split())
