"""`isol8tasks exec`: one ad-hoc program in a sandbox."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, TextIO

import attrs
import click

from isol8tasks import __version__
from isol8tasks.cli import options
from isol8tasks.cli.run import run_options
from isol8tasks.errors import Location, Refused, UsageError
from isol8tasks.model.image import Image, ImageKind
from isol8tasks.model.limits import Limits
from isol8tasks.model.stage import Exec, Stage
from isol8tasks.model.units import format_size
from isol8tasks.plan.govern import filled, held
from isol8tasks.plan.suggest import did_you_mean
from isol8tasks.taskfile.wrong import message_and_hint

if TYPE_CHECKING:
    from isol8tasks.app import RunOptions
    from isol8tasks.model.events import Event
    from isol8tasks.model.result import Captured, RunReport, StageResult

_TOOLCHAINS = {"python": Image.python, "node": Image.node}
_LANGUAGES = {".py": "python", ".js": "node", ".mjs": "node", ".cjs": "node", ".sh": "bash"}
_PROGRAMS = {
    ImageKind.PYTHON: ("python", "main.py"),
    ImageKind.NODE: ("node", "main.js"),
    ImageKind.BASH: ("bash", "main.sh"),
}
_NAMES = ("python", "node", "bash")
_ORDINARY = re.compile(r"\w[\w.-]*", re.ASCII)

_MOST = 64 << 20
"""Bytes of a program or of its standard input: both are held in memory."""
_PIECE = 1 << 20


@attrs.frozen
class Program:
    """A program's text; `name` is its file's name, empty when it has none."""

    text: bytes
    name: str = ""


@click.command(
    "exec",
    cls=options.PosargsCommand,
    short_help="Run one program in a sandbox, without a task file.",
    epilog="What follows -- are the program's arguments. Exit codes: 0 it passed, 1 it did not;"
    " its own code and the verdict are printed on stderr.",
)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("-e", "--code", metavar="CODE", help="The program itself.")
@click.option(
    "--image",
    metavar="IMAGE",
    help="python, python:3.12, node, node:22, bash or an engine's image;"
    " default: by the file's suffix, else python.",
)
@click.option("-i", "--stdin", is_flag=True, help="Give the program all of our standard input.")
@click.option("--pip", multiple=True, metavar="PACKAGE", help="Bake a package in; repeatable.")
@click.option("--npm", multiple=True, metavar="PACKAGE", help="Bake a package in; repeatable.")
@click.option("--timeout", metavar="TIME", help="Wall time: 500ms, 30s, 2m; default: 30s.")
@click.option("--memory", metavar="SIZE", help="Of all its processes: 64m, 1g; default: 512m.")
@click.option("--cpus", type=float, metavar="N", help="Processors: 0.5, 2; default: 1.")
@click.option("--pids", type=int, metavar="N", help="Processes and threads; default: 256.")
@click.option("--disk", metavar="SIZE", help="What it may write; default: 256m.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON report instead.")
@click.option(
    "--raw",
    is_flag=True,
    help="Pass on what it prints as it is, terminal codes and CI commands too: for a file or a"
    " program that reads it, and not for a terminal or a CI log.",
)
@click.option("-q", "--quiet/--no-quiet", default=None, help="No notes about this host's limits.")
@options.place
@options.firmness
@click.pass_context
def exec_command(
    ctx: click.Context,
    /,
    *,
    file: str | None,
    code: str | None,
    image: str | None,
    stdin: bool,
    as_json: bool,
    raw: bool,
    **flags: Any,
) -> int:
    """Run FILE, CODE or, without either or with -, the program on standard input.

    The sandbox has no network and none of your files.
    """
    limits = {name: flags.pop(name) for name in ("timeout", "memory", "cpus", "pids", "disk")}
    packages = {name: flags.pop(name) for name in ("pip", "npm")}
    settings = options.settings(flags)
    program = _program(file, code, stdin=stdin)
    stage = _stage(
        program,
        image=_image(image or _language(program), **packages),
        arguments=options.posargs(ctx),
        limits=_limits(limits),
        stdin=_bounded(sys.stdin.buffer, "standard input") if stdin else b"",
    )
    stage = filled(stage, dict(settings.limits)) if settings.limits else stage
    stage = held(stage, dict(settings.ceilings)) if settings.ceilings else stage
    report = _run(stage, run_options(settings), quiet=settings.quiet)
    return _show(report, as_json=as_json, raw=raw, quiet=settings.quiet)


def _program(file: str | None, code: str | None, *, stdin: bool) -> Program:
    if file is not None and code is not None:
        raise UsageError("there are two programs", hint="give either a file or -e CODE")
    if code is not None:
        return Program(code.encode(errors="surrogateescape"))
    if file not in (None, "-"):
        return _program_file(Path(str(file)))
    if stdin:
        raise UsageError(
            "standard input cannot be both the program and its data",
            hint="give the program as a file or with -e CODE",
        )
    if sys.stdin.isatty():
        from isol8tasks.cli.errors import say  # noqa: PLC0415 -- not for help

        say("note: type the program, then Ctrl-D")
    return Program(_bounded(sys.stdin.buffer, "standard input"))


def _program_file(path: Path) -> Program:
    try:
        with path.open("rb") as file:
            return Program(_bounded(file, repr(str(path))), path.name)
    except OSError as error:
        raise UsageError(
            f"the program {str(path)!r} cannot be read: {error.strerror}",
            hint="name a file, or give the program itself with -e CODE",
        ) from error


def _bounded(file: IO[bytes], what: str) -> bytes:
    """All of a file, in pieces; UsageError when it does not end in time."""
    content = bytearray()
    piece = bytes(_PIECE)
    while len(piece) == _PIECE:  # less is the end; on a terminal, another read would wait for more
        piece = file.read(_PIECE)
        content += piece
        if len(content) > _MOST:
            raise UsageError(
                f"{what} has more than {format_size(_MOST)}",
                hint=f"exec takes at most {format_size(_MOST)}; a stage can have larger inputs",
            )
    return bytes(content)


def _language(program: Program) -> str:
    return _LANGUAGES.get(PurePath(program.name).suffix, "python")


def _image(reference: str, *, pip: tuple[str, ...], npm: tuple[str, ...]) -> Image:
    name, _, version = reference.partition(":")
    if name not in _NAMES and (meant := did_you_mean(name, _NAMES)):
        raise UsageError(  # an engine would ask a registry for whatever has that name
            f"there is no image {reference!r}{meant}",
            hint=f"write --image docker.io/library/{reference} to have one of that name",
        )
    try:
        if name in _TOOLCHAINS:
            image = _TOOLCHAINS[name](version or None)
        else:
            image = Image.bash() if reference == "bash" else Image(reference)
        image = image.pip(*pip) if pip else image
        return image.npm(*npm) if npm else image
    except ValueError as error:
        message, hint = message_and_hint(error)
        raise UsageError(message, hint=hint) from None


def _limits(stated: dict[str, Any]) -> Limits:
    try:
        return Limits.of(**stated)
    except ValueError as error:
        message, hint = message_and_hint(error)
        raise UsageError(f"--{message}", hint=hint) from None


def _stage(
    program: Program, *, image: Image, arguments: tuple[str, ...], limits: Limits, stdin: bytes
) -> Stage:
    interpreter, name = _PROGRAMS.get(image.kind, ("sh", "main.sh"))
    if _ORDINARY.fullmatch(program.name):
        name = program.name
    return Stage(
        name="exec",
        image=image,
        command=Exec((interpreter, name, *arguments)),
        declared_at=Location("the command line", 0),
        inputs=(),
        files=((name, program.text),),
        stdin=stdin,
        limits=limits,
    )


def _run(stage: Stage, run_with: RunOptions, *, quiet: bool) -> RunReport:
    from isol8tasks.app import run_ad_hoc  # noqa: PLC0415 -- not for help
    from isol8tasks.cli.console import Watched  # noqa: PLC0415
    from isol8tasks.cli.signals import Signals  # noqa: PLC0415
    from isol8tasks.engine.cancel import CancelSource  # noqa: PLC0415
    from isol8tasks.model.events import ImageFinished, ImageProgress  # noqa: PLC0415
    from isol8tasks.report.plain import Plain  # noqa: PLC0415

    cancel, console = CancelSource(), Plain(sys.stderr, quiet=quiet)

    def show_bakes(event: Event) -> None:
        if isinstance(event, ImageProgress | ImageFinished):
            console(event)

    watched = Watched(show_bakes, cancel)
    try:
        with Signals(cancel, console):
            report = run_ad_hoc(stage, run_with, sinks=(watched,), cancel=cancel)
    except Refused as error:
        raise _refused(error, stage) from error
    watched.check()
    return report


def _refused(error: Refused, stage: Stage) -> Refused:
    """The same in the words of a command line."""
    from isol8tasks.plan.admit import IMAGE_HINT  # noqa: PLC0415 -- not for help

    if not error.hint.startswith(IMAGE_HINT) or stage.image.kind is not ImageKind.REFERENCE:
        return error
    hint = "write --image python, --image node or --image bash, or use a backend that has it"
    return Refused(error.message, hint=hint + error.hint.removeprefix(IMAGE_HINT))


def _show(report: RunReport, *, as_json: bool, raw: bool, quiet: bool) -> int:
    from isol8tasks.cli.errors import report_code, say  # noqa: PLC0415 -- not for help
    from isol8tasks.report.text import one_line  # noqa: PLC0415

    if as_json:
        import json  # noqa: PLC0415

        from isol8tasks.report.jsonreport import document  # noqa: PLC0415

        click.echo(json.dumps(document(report, version=__version__), indent=2))
        return report_code(report)
    (result,) = report.stages
    _pass_on(result.stdout, sys.stdout, raw=raw)
    _pass_on(result.stderr, sys.stderr, raw=raw)
    for notice in () if quiet else report.notices:
        say(f"note: {one_line(notice)}")
    if not result.ok:
        say(_outcome(result))
    return report_code(report)


def _pass_on(captured: Captured, stream: TextIO, *, raw: bool) -> None:
    from isol8tasks.report.text import neutralise_bare  # noqa: PLC0415 -- not for help

    text = captured.text if raw else neutralise_bare(captured.text)
    stream.flush()
    stream.buffer.write(text.encode(errors="backslashreplace"))
    stream.flush()


def _outcome(result: StageResult) -> str:
    from isol8tasks.model.units import format_duration  # noqa: PLC0415 -- not for help
    from isol8tasks.report.blocks import why  # noqa: PLC0415

    verdict = result.verdict.value.replace("_", " ")
    reason = f": {why(result)}" if result.reason else ""
    return f"{verdict} after {format_duration(result.seconds)}{reason}"
