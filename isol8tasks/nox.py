"""Tasks as nox sessions: `isol8tasks.nox.sessions(globals())` in a noxfile; see docs/nox.md."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isol8tasks.errors import Isol8Error, Location, UsageError
from isol8tasks.model.address import local, split

try:
    import nox
    from nox import registry
except ModuleNotFoundError as error:
    if error.name != "nox":
        raise
    raise ImportError(
        "isol8tasks.nox needs nox, which is not installed beside isol8tasks: pip install nox",
        name="nox",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import click

    from isol8tasks.model.result import RunReport, StageResult
    from isol8tasks.model.stage import Task, TaskFile
    from isol8tasks.plan.index import Index

__all__ = ["run", "sessions"]

_ORIGIN = "isol8tasks_origin"
_FINE = frozenset({"passed", "skipped", "cancelled"})
_NAMED = 10
"""How many stages that did not pass a session's reason names."""


def sessions(
    namespace: Mapping[str, object],
    *,
    stages: bool = False,
    file: str | Path | None = None,
    prefix: str = "",
) -> None:
    """Register a nox session for each task of a task file, and with `stages` for each stage.

    `namespace` is the noxfile's `globals()`: the task file is the nearest isol8file.py in the
    noxfile's folder or above, or `file`, relative to that folder. Nothing is added to it: nox finds
    sessions in a registry of its own, and a task named `all` would hide what Python means by that.
    The sessions have no virtual environment, and never run beside others under `nox -j`.
    SystemExit, after the error is printed, when the task file cannot be loaded or a name is taken.
    """
    noxfile = Path(str(namespace.get("__file__", "noxfile.py"))).absolute()
    try:
        found, index = _load(noxfile.parent, None if file is None else Path(file))
        for target in _targets(found, index, stages=stages):
            _register(target, Path(found.path), prefix)
    except Isol8Error as error:
        from isol8tasks.cli.errors import describe, exit_code, say  # noqa: PLC0415 -- rare

        say(describe(error))
        raise SystemExit(exit_code(error)) from error


def run(session: nox.Session, *words: str, file: str | Path | None = None) -> None:
    """Do what `isol8tasks run` does with these words, inside a session of your own.

    Words are targets and options; give `*session.posargs` to let the caller of nox add some. Paths
    are relative to the session's folder, where also the task file is looked for, unless it is
    `file`. What is in `session.env` holds, the session's virtual environment does not matter. The
    session ends with an error that names the stages that did not pass.
    """
    named = () if file is None else ("--file", os.fspath(file))
    _serve(session, (*named, *words))


class _Target(NamedTuple):
    """What becomes a session."""

    name: str
    declared_at: Location
    description: str
    tags: tuple[str, ...]
    default: bool


@functools.cache
def _load(folder: Path, file: Path | None) -> tuple[TaskFile, Index]:
    """The task file, and all that its tasks stand for; executed once, however often it is asked."""
    from isol8tasks.plan.index import Index  # noqa: PLC0415 -- `run` does without
    from isol8tasks.taskfile.load import find  # noqa: PLC0415
    from isol8tasks.taskfile.workspace import Workspace  # noqa: PLC0415

    path = find(folder) if file is None else folder / file
    workspace = Workspace.around(folder, path)
    found = workspace.load(workspace.package or "")
    try:
        known = workspace.request([f":{local(task.name)}" for task in found.tasks]).taskfile
    except Isol8Error:  # another task file is wrong, and who runs that will see it
        known = found
    return found, Index.of(known)


def _targets(found: TaskFile, index: Index, *, stages: bool) -> Iterator[_Target]:
    if not found.tasks and not stages:
        raise UsageError(
            "the task file declares no task, so nox gets no session",
            where=Location(found.path, 0),
            hint="declare one: task('checks', lint, unit), or give isol8tasks.nox.sessions"
            " stages=True",
        )
    chosen = any(task.default for task in found.tasks)
    for task in found.tasks:
        yield _Target(
            task.name,
            task.declared_at,
            ", ".join(_shown(name, found.folder) for name in task.members),
            _shared_tags(task, index),
            task.default or not chosen,
        )
    for stage in found.stages if stages else ():
        yield _Target(stage.name, stage.declared_at, stage.description, stage.tags, not found.tasks)


def _shown(name: str, folder: str) -> str:
    return local(name) if split(name)[0] == folder else name


def _shared_tags(task: Task, index: Index) -> tuple[str, ...]:
    """The tags that all of its stages have; none where not all of them are known."""
    reached, pending = set(), [task.name]
    while pending:
        name = pending.pop()
        if not index.knows(name):
            return ()
        reached.add(name)
        pending += set(index.tasks[name].members) - reached if name in index.tasks else ()
    first, *others = [index.stages[name].tags for name in index.expand([task.name])] or [()]
    return tuple(tag for tag in first if all(tag in other for other in others))


def _register(target: _Target, path: Path, prefix: str) -> None:
    name = prefix + local(target.name)
    if not _is_free(name, target, path):
        return

    def serve(session: nox.Session) -> None:
        with contextlib.chdir(path.parent):
            words = ("--file", str(path), target.name, *session.posargs)
            _serve(session, words, posargs_only=True)

    serve.__name__ = name
    serve.__doc__ = target.description
    vars(serve)[_ORIGIN] = (path, target.declared_at)
    words = {
        "name": name,
        "venv_backend": "none",
        "tags": list(target.tags),
        "default": target.default,
        "allow_parallel": False,  # one engine at a time, which has stages to run side by side
    }
    decorate: Callable[..., Any] = nox.session
    known = inspect.signature(decorate).parameters  # older versions have fewer
    decorate(**{word: value for word, value in words.items() if word in known})(serve)


def _is_free(name: str, target: _Target, path: Path) -> bool:
    """False for a session that is this one; UsageError when it is another.

    Nox would only warn, and forget the first of two sessions of one name.
    """
    taken = registry.get().get(name)
    if taken is None:
        return True
    origin = getattr(taken, _ORIGIN, None)
    if origin == (path, target.declared_at):  # `python noxfile.py` executes a noxfile twice
        return False
    code = inspect.unwrap(taken).__code__
    where = origin[1] if origin else Location(code.co_filename, code.co_firstlineno)
    raise UsageError(
        f"'{target.name}' would be the nox session '{name}', which there is already: {where}",
        where=target.declared_at,
        hint="give sessions() a prefix, as in prefix='sandboxed-', or leave sessions() out and call"
        f" isol8tasks.nox.run(session, '{target.name}') in that session",
    )


def _serve(session: nox.Session, words: tuple[str, ...], *, posargs_only: bool = False) -> None:
    """Run, and end the session as the run ended."""
    options = vars(session)["_runner"].global_config
    if getattr(options, "install_only", False):
        session.log("Skipping isol8tasks run, as --install-only is set.")
        return
    sys.stdout.flush()
    with _alone(session, options.noxfile), _environment(session.env), _without_debug_logs():
        code, reason = _run(words, color=_color(options), posargs_only=posargs_only)
    sys.stderr.flush()
    _end(session, code, reason)


def _end(session: nox.Session, code: int, reason: str) -> None:
    from isol8tasks.cli.errors import INTERRUPTED, TERMINATED  # noqa: PLC0415 -- see _run

    if code == INTERRUPTED:
        raise KeyboardInterrupt  # as nox ends its own commands
    if code == TERMINATED:
        raise SystemExit(code)
    if code:
        session.error(reason or f"isol8tasks run ended with exit code {code}")


def _color(options: Any) -> str | None:
    """What nox was told about colours, None if nothing."""
    if getattr(options, "nocolor", False):
        return "never"
    return "always" if getattr(options, "forcecolor", False) else None


@contextlib.contextmanager
def _alone(session: nox.Session, noxfile: str) -> Iterator[None]:
    """Let one engine at a time run in one `nox -j`, whose sessions are processes."""
    if not getattr(session, "parallel", False):
        yield
        return
    import fcntl  # noqa: PLC0415 -- rare

    with contextlib.chdir(Path(noxfile).parent):  # the session may be elsewhere by now
        path = session.cache_dir.absolute() / "isol8tasks.lock"
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Let variables hold for now; None takes one away."""
    before = {name: os.environ.get(name) for name in changes}
    _set_variables(changes)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _without_debug_logs() -> Iterator[None]:
    """Nox prints every library's debug log: with Docker, that is a line for each request."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        root.setLevel(before)


def _run(words: tuple[str, ...], *, color: str | None, posargs_only: bool) -> tuple[int, str]:
    """The exit code of `isol8tasks run` in this process, and why it is not 0."""
    import click  # noqa: PLC0415 -- `nox -l` does without

    from isol8tasks.cli.errors import describe, guarded  # noqa: PLC0415
    from isol8tasks.cli.run import run_command  # noqa: PLC0415

    reason = ""

    def command() -> int:
        nonlocal reason
        try:
            with run_command.make_context("isol8tasks run", list(words)) as ctx:
                if posargs_only:
                    _check_posargs(ctx)
                code, reason = _invoke(ctx, color)
        except click.exceptions.Exit as ended:  # --help
            code = ended.exit_code
        except Exception as error:
            reason = _first_line(describe(error))
            raise
        return code

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return guarded(command), reason


def _check_posargs(ctx: click.Context) -> None:
    """A session is one target, so another word was meant for its stages."""
    target, *others = ctx.params["targets"]
    if others:
        raise UsageError(
            f"'{others[0]}' is no option of 'isol8tasks run'",
            hint="what stages are to get follows a second --: "
            f"nox -s {local(target)} -- -- {others[0]}",
        )


def _first_line(described: str) -> str:
    lines = described.split("\n")
    return next((line for line in lines if line.startswith("error: ")), "").removeprefix("error: ")


def _invoke(ctx: click.Context, color: str | None) -> tuple[int, str]:
    """Run with nox's idea of colours; the exit code, and which stages did not pass."""
    from isol8tasks.cli.settings import current  # noqa: PLC0415

    settings = current({name: ctx.params[name] for name in ("file", "color")})
    if "color" not in dict(settings.sources):
        ctx.params["color"] = color
    reports: list[RunReport] = []
    ctx.obj = reports.append
    code: int = ctx.command.invoke(ctx)
    return code, _failures(reports[0]) if code and reports else ""


def _failures(report: RunReport) -> str:
    """The stages that did not pass, and why."""
    failed = [r for r in report.stages if r.verdict not in _FINE and not r.allowed]
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return "; ".join(map(_failure, failed[:_NAMED])) + more or "not every stage passed"


def _failure(result: StageResult) -> str:
    from isol8tasks.report.text import one_line  # noqa: PLC0415 -- see _run

    verdict = result.verdict.replace("_", " ")
    return one_line(f"{result.name}: {verdict}" + (result.reason and f", {result.reason}"))
