"""Prepares images on an engine: found, pulled, or baked by the engine's own builder."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from isol8tasks.backend.contract import Cancellation, LineSink, PreparedImage
from isol8tasks.backend.folders import make_folder
from isol8tasks.errors import Cancelled, ImageError, OperationError, StoreError
from isol8tasks.model.image import Image, LayerKind
from isol8tasks.model.units import format_duration
from isol8tasks_oci import names
from isol8tasks_oci.client import Engine, EngineError, LocalImage
from isol8tasks_oci.recipe import LACKING, SETTINGS, Recipe, write_context, write_recipe

_RUNNING = set(LayerKind) - {LayerKind.ENV, LayerKind.FILE}
_POLL_SECONDS = 0.05
_LOG_LINES = 40
_LONGEST = 700

_STEP = re.compile(r"(?:Step|STEP) (\d{1,6})/(\d{1,6}) ?: ?(?:RUN|ADD)\b")
_LACKING = re.compile(rf"{LACKING} (pip|npm|apt-get)$")
_BUILDER = re.compile(
    r"(?:Step|STEP) \d+/\d+ ?: ?(?:FROM|USER|ENV|RUN|ADD)\b|\s*---> |--> ?|COMMIT "
    r"|Removing intermediate container|Successfully (?:built|tagged)|[0-9a-f]{64}$"
    r"|Getting image source signatures|Copying (?:blob|config) |Writing manifest|Storing signatures"
)
_HEX = re.compile(r"[0-9a-f]+")
_BAR = re.compile(r" ?(?:\[[=> ]*\]|[\d.]+ ?[kMG]?B\b).*$")
_SCRIPT = re.compile(r'(?:error )?building at STEP ".*": (?=[^"]*$)', re.DOTALL)
_CODE = re.compile(r"(?:non-zero code: |exit status |exit code )(\d+)")
_NPM = re.compile(r"npm (?:error|ERR!) ?")
_SAID = re.compile(rf"(?:ERROR|error|E): ?|{_NPM.pattern}(?:(?:notarget|404|network) )?")
_NOISE = re.compile(r"\s*(?:A complete log of this run|(?:code|errno|syscall) |$)")
_VERSIONS = re.compile(r"(?<=\(from versions: )(?:[^,()]+, ){2,}(?=(?:[^,()]+, ){4}[^,()]+\))")
_DISK_FULL = re.compile(r"no space left on device|ENOSPC|Disk quota exceeded", re.IGNORECASE)
_NO_SHELL = re.compile(r"stat /bin/sh: no such file|`/bin/sh` not found")
_BRING = {
    "shell": "start from an image with a /bin/sh",
    "pip": "start from Image.python(), or bring it in a layer before: .apt('python3-pip')",
    "npm": "start from Image.node(), or bring it in a layer before: .apt('npm')",
    "apt-get": "images that are not made of Debian's packages have other tools: use .run('…')",
}
_ADVICE = {
    r"slirp4netns|pasta\b|/dev/net/tun": "a rootless build needs slirp4netns or pasta, and a"
    " /dev/net/tun that the user may open",
    r"(?i)certificate|CERT_|SELF_SIGNED": "name your authority's certificates in SSL_CERT_FILE",
    r"ENOTFOUND|ECONNREFUSED|EAI_AGAIN|timed out|Failed to (?:fetch|establish)": "check the"
    " network, and the index and proxy variables of this host's environment",
    r"No matching distribution": "a package without a wheel runs its own code to be built:"
    " .pip(…, only_binary=False)",
}


@attrs.frozen(kw_only=True)
class Ready:
    """A prepared image as the engine has it: `local.id` is what a container is made of."""

    prepared: PreparedImage
    local: LocalImage


class Bakery:
    """Prepares images on one engine; `images` is what the names of images stand for here."""

    def __init__(self, engine: Engine, *, cache: Path, images: tuple[tuple[str, str], ...]) -> None:
        self._engine = engine
        self._folder = cache / "bakes"
        self._images = images

    def prepare(
        self, image: Image, *, base: Path, sink: LineSink, cancel: Cancellation, timeout: float
    ) -> Ready:
        """Find, pull or bake it; `timeout` is in seconds. ImageError, StoreError or Cancelled."""
        until, lines = _Until(cancel, timeout), _Lines(sink)
        try:
            start = self._base(names.base_of(image, self._images), lines, until)
            recipe = write_recipe(image, start.id, folder=base)
            local, baked = self._built(recipe, lines, until) if recipe.steps else (start, False)
        except (Cancelled, TimeoutError):
            if cancel.cancelled:
                raise Cancelled from None
            raise ImageError(
                f"baking {_line(image)} took longer than {format_duration(timeout)}",
                hint="run it again, or allow it more time",
                log="\n".join(lines.log),
            ) from None
        except EngineError as error:
            words = f"cannot prepare {_line(image)}: {_line(error)}"
            raise ImageError(words, hint=error.hint) from error
        return Ready(prepared=_prepared(image, local, baked=baked), local=local)

    def images(self) -> tuple[PreparedImage, ...]:
        """The images that were baked on this engine, each by its tag there."""
        return tuple(_prepared(Image(tag), local) for local, tag in self._tagged())

    def remove(self, image: PreparedImage) -> None:
        """Forget a baked image, and with it those that differ in their env layers only."""
        for local, tag in self._tagged():
            if names.identity(image.image, local) == image.identity:
                self._engine.untag(tag)

    def _tagged(self) -> Iterator[tuple[LocalImage, str]]:
        found = (self._engine.images(each) for each in names.REPOSITORIES)
        pairs = ((local, tag) for images in found for local in images for tag in local.tags)
        return ((local, tag) for local, tag in dict.fromkeys(pairs) if names.is_bake(tag))

    def _base(self, reference: str, lines: _Lines, until: _Until) -> LocalImage:
        name, why = names.parse(reference), "it is not there"
        written = () if "@" in reference else (reference,)
        if not name.id and _HEX.fullmatch(reference):  # engines take it for the start of an id
            written = (f"{reference}:latest",)
        for each in dict.fromkeys((*written, str(name))):
            if found := self._engine.image(each):
                return found
        if name.pullable:
            lines.take(f"pulling {name}")
            try:
                self._engine.pull(str(name), sink=lines.progress, cancel=until)
            except EngineError as error:
                why = _line(error).removeprefix(f"{self._engine.name}: ")
            if found := self._engine.image(str(name)):
                return found
        raise ImageError(
            f"{self._engine.name} cannot get the image {reference}: {why}",
            hint="name another one for it in [tool.isol8tasks.images], or load it:"
            f" {self._engine.name} load",
        )

    def _built(self, recipe: Recipe, lines: _Lines, until: _Until) -> tuple[LocalImage, bool]:
        """The image of a recipe, and whether it had to be baked."""
        tag = f"{names.REPOSITORY}:{recipe.key}"
        if found := self._engine.image(tag):
            return found, False
        with _locked(self._folder / f"{recipe.key}.lock", lines, until):
            if found := self._engine.image(tag):
                return found, False
            self._bake(recipe, tag, lines, until)
        if found := self._engine.image(tag):
            return found, True
        raise ImageError(f"{self._engine.name} baked {recipe.image}, and has it no more")

    def _bake(self, recipe: Recipe, tag: str, lines: _Lines, until: _Until) -> None:
        settings = names.settings_of(os.environ if recipe.has(*_RUNNING) else {})
        if recipe.has(LayerKind.PIP) and settings.left_out:
            lines.take(f"left out, for a build sees no files here: {', '.join(settings.left_out)}")
        lines.titles = tuple(map(_line, recipe.steps))
        with tempfile.TemporaryFile() as context:
            write_context(recipe, context, authorities=settings.authorities)
            context.seek(0)
            try:
                self._engine.build(
                    context,
                    tag,
                    arguments=((SETTINGS, settings.script),) if settings.script else (),
                    network="default",
                    sink=lines.built,
                    cancel=until.cancel,
                    timeout=until.left,
                )
            except EngineError as error:
                raise _failure(recipe, lines, str(error)) from error


def _prepared(image: Image, local: LocalImage, *, baked: bool = False) -> PreparedImage:
    return PreparedImage(image=image, identity=names.identity(image, local), baked=baked)


class _Until:
    """A cancellation that also comes with the end of the time."""

    def __init__(self, cancel: Cancellation, seconds: float) -> None:
        self.cancel = cancel
        self._deadline = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        return self.cancel.cancelled or time.monotonic() > self._deadline

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        first = threading.Lock()

        def once() -> None:
            if first.acquire(blocking=False):
                callback()

        timer = threading.Timer(self.left, once)
        timer.daemon = True
        timer.start()
        undo = ExitStack()
        undo.callback(timer.cancel)
        undo.callback(self.cancel.on_cancel(once))
        return undo.close


@contextmanager
def _locked(path: Path, lines: _Lines, until: _Until) -> Iterator[None]:
    """Be the only one who bakes this; polling, as a thread in flock cannot be cancelled."""
    make_folder(path.parent)
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    try:
        if not _taken(lock):
            lines.take("another run is baking this image: waiting for it")
        while not _taken(lock):
            if until.cancelled:
                raise Cancelled
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


class _Lines:
    """What engines print, for people: no control codes, no passwords, no words of the builder."""

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink
        self._shown: set[str] = set()
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.titles: tuple[str, ...] = ()
        self.title = self.lacking = ""

    def take(self, line: str) -> None:
        self._sink(names.clean(line))

    def progress(self, line: str) -> None:
        """Of a pull: each state once, without the bars that move."""
        text = _BAR.sub("", names.clean(line))
        if text and text not in self._shown:
            self._shown.add(text)
            self._sink(text)

    def built(self, line: str) -> None:
        text = names.clean(line)
        if (step := _STEP.match(text)) and 0 <= int(step[2]) - int(step[1]) < len(self.titles):
            self.log.clear()
            self.lacking = ""
            self.title = self.titles[int(step[1]) - int(step[2]) - 1]
            self.take(self.title)
        elif lacking := _LACKING.match(text):
            self.lacking = lacking[1]
        elif text and not _BUILDER.match(text):
            self.log.append(text)
            self._sink(text)


def _failure(recipe: Recipe, lines: _Lines, said: str) -> OperationError:
    """The error for a failed build: the tool's own reason in one line, and what to do."""
    log, code = "\n".join(lines.log), _CODE.search(said)
    known = log if code else said
    lacking = "shell" if _NO_SHELL.search(log + said) else lines.lacking
    if lacking:
        reason = f"the image has no {lacking}"
    elif code:
        reason = _reason(lines.log) or f"the tool ended with {code[1]}"
    else:
        reason = _line(_SCRIPT.sub("", said))
    message = ": ".join(filter(None, (f"cannot bake {_line(recipe.image)}", lines.title, reason)))
    if _DISK_FULL.search(known):
        return StoreError(f"{message} (the disk is full)", hint="make room for the engine")
    advice = next((words for sign, words in _ADVICE.items() if re.search(sign, known)), "")
    return ImageError(message, hint=_BRING.get(lacking, advice), log=log)


def _reason(log: Iterable[str]) -> str:
    """What the tool gave as its reason, else its last words."""
    lines = list(log)
    start = next((n for n, line in enumerate(lines) if _SAID.match(line)), -3)
    said = [line for line in lines if _NPM.match(line)] or lines[start:]
    words = (_SAID.sub("", line, count=1) for line in said)
    return _line(" ".join(line for line in words if not _NOISE.match(line)))


def _line(text: object) -> str:
    line = _VERSIONS.sub("…, ", " ".join(names.clean(str(text)).split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
