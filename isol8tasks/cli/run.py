"""`isol8tasks run`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from isol8tasks import __version__
from isol8tasks.cli import options
from isol8tasks.cli.choose import (
    check_left_out,
    choose,
    history,
    left_out,
    plan_for,
    shortened,
)
from isol8tasks.cli.errors import report_code, say, warn
from isol8tasks.errors import StoreError
from isol8tasks.report.text import one_line
from isol8tasks.taskfile.root import FILE_NAME

if TYPE_CHECKING:
    from isol8tasks.app import DryRun, DryStage, RunOptions
    from isol8tasks.cli.settings import Settings
    from isol8tasks.errors import Location
    from isol8tasks.model.image import Image
    from isol8tasks.model.result import RunReport
    from isol8tasks.plan.plan import Plan
    from isol8tasks.ports import EventSink


@click.command(
    "run",
    cls=options.PosargsCommand,
    short_help="Run tasks and stages, each in a sandbox.",
    epilog="What follows -- is given to the stages that declare posargs=True.",
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=options.complete_target)
@click.option("-t", "--tag", "tags", multiple=True, help="Stages with this tag; repeatable.")
@click.option(
    "-k",
    "--keywords",
    default="",
    metavar="EXPR",
    help="Stages whose names match: 'unit and not 3.11'.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="STAGE",
    shell_complete=options.complete_target,
    help="Leave a stage out, and what needs it; repeatable.",
)
@click.option(
    "--only", is_flag=True, help="Leave out what the stages require; earlier outputs are taken."
)
@options.changes
@click.option("--last-failed", is_flag=True, help="Stages that did not pass when they last ran.")
@click.option(
    "--shard", metavar="K/N", help="The K-th of N parts, balanced by how long stages took."
)
@click.option("-j", "--jobs", metavar="N", help="Stages at a time; default: one per processor.")
@click.option("-x", "--fail-fast/--no-fail-fast", default=None, help="Stop at the first failure.")
@options.file
@options.place
@click.option(
    "--allow-host-network/--no-allow-host-network",
    default=None,
    help="Consent to stages that ask for the host's own network.",
)
@options.firmness
@click.option("--report", metavar="FILE", help="Write a JSON report; docs/report.md describes it.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@click.option("-q", "--quiet/--no-quiet", default=None, help="Only what did not pass.")
@click.option("-v", "--verbose/--no-verbose", default=None, help="Log every step to stderr.")
@options.color
@click.option(
    "--show-settings", "as_table", is_flag=True, help="Show every setting and where it came from."
)
@click.pass_context
def run_command(
    ctx: click.Context,
    /,
    *,
    dry_run: bool,
    as_table: bool,
    **words: Any,
) -> int:
    """Run TARGETs, which are tasks and stages, and everything they require.

    A TARGET is a name in the nearest task file, path/to/folder:NAME, //path/from/the/root:NAME, or
    a pattern: //services/...:NAME wherever that is declared, //... for what runs by default.
    Without a target the default tasks run. A stage that fails does not stop the others, but what
    requires it is skipped.
    """
    # A context's object, if there is one, is told of the run's report: see isol8tasks.nox.
    wanted, flags = options.wanted(words)
    settings = options.settings(flags)
    if as_table:
        return show_settings(settings)
    workspace = options.workspace(settings)
    choice = choose(workspace, wanted, settings)
    for remark in choice.remarks:
        say(one_line(remark))
    if not choice.goals:
        return _nothing(settings, choice.remarks)
    plan = plan_for(choice, wanted, settings, options.posargs(ctx))
    if missing := left_out(plan):
        warn(f"--only leaves out what these stages require: {shortened(missing)}")
    if plan.left_out:
        check_left_out(plan, history(workspace.root, settings))
    if dry_run:
        return _dry_run(plan, settings)
    report = _run(plan, settings, choice.remarks)
    if ctx.obj is not None:
        ctx.obj(report)
    return report_code(report)


def run_options(settings: Settings) -> RunOptions:
    """What the engine's side needs of the settings."""
    from isol8tasks.app import RunOptions  # noqa: PLC0415 -- not for help or completion

    return RunOptions(
        backend=settings.backend,
        runtime=settings.runtime,
        jobs=settings.jobs,
        fail_fast=settings.fail_fast,
        allow_host_network=settings.allow_host_network,
        allow_unenforced=settings.allow_unenforced,
        require_enforced=settings.require_enforced,
        bake_timeout=settings.bake_timeout,
        cache=settings.cache,
        images=settings.images,
    )


def show_settings(settings: Settings) -> int:
    """Print every setting, its value and its source."""
    rows = list(settings.table())
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, source in rows:
        click.echo(f"{name:{names}}  {value:{values}}  {source}")
    return 0


def _nothing(settings: Settings, remarks: tuple[str, ...]) -> int:
    """No stage is left to run, and that is as good as if all had passed."""
    from isol8tasks.model.result import RunReport  # noqa: PLC0415 -- see run_options

    _check_report(settings)
    _write_report(
        RunReport(run_id="", backend="", stages=(), seconds=0.0, notices=remarks), settings
    )
    say("nothing to run")
    return 0


def _run(plan: Plan, settings: Settings, remarks: tuple[str, ...]) -> RunReport:
    """The remarks on what was chosen are in the report, too: a service compares them."""
    from isol8tasks import app  # noqa: PLC0415 -- see run_options
    from isol8tasks.cli.console import Watched, open_display  # noqa: PLC0415
    from isol8tasks.cli.signals import Signals  # noqa: PLC0415
    from isol8tasks.engine.cancel import CancelSource  # noqa: PLC0415

    _check_report(settings)
    cancel, display = CancelSource(), open_display(settings, _places(plan))
    shown: tuple[EventSink, ...] = (*_log(settings), display)
    sinks = tuple(Watched(sink, cancel) for sink in shown)
    with closing(display), Signals(cancel, display):
        report = app.run(plan, run_options(settings), sinks=sinks, cancel=cancel)
    _remember(report, plan, settings)
    report = attrs.evolve(report, notices=(*remarks, *report.notices))
    _write_report(report, settings)
    for sink in sinks:
        sink.check()
    return report


def _remember(report: RunReport, plan: Plan, settings: Settings) -> None:
    """A pass with arguments of its own says nothing of the next run, nor does another task file."""
    if settings.file is not None and settings.file.name != FILE_NAME:
        return
    other = {stage.name for stage in plan.stages if stage.posargs and plan.posargs}
    kept = tuple(result for result in report.stages if not (result.ok and result.name in other))
    try:
        history(Path(plan.root), settings).record(attrs.evolve(report, stages=kept))
    except StoreError as error:
        warn(f"{error.message}: --last-failed and --shard will not know of this run")


def _places(plan: Plan) -> dict[Image, Location]:
    """Where the first stage of each image was declared."""
    return {stage.image: stage.declared_at for stage in reversed(plan.stages)}


def _log(settings: Settings) -> tuple[EventSink, ...]:
    if not settings.verbose:
        return ()
    from isol8tasks.report.log import EventLog, configure  # noqa: PLC0415 -- structlog is slow

    configure(sys.stderr)
    return (EventLog(),)


def _check_report(settings: Settings) -> None:
    """Find out before a long run, not after it, that its report has no place."""
    if settings.report:
        from isol8tasks.report.jsonreport import check_place  # noqa: PLC0415

        check_place(settings.report)


def _write_report(report: RunReport, settings: Settings) -> None:
    if settings.report:
        from isol8tasks.report.jsonreport import write  # noqa: PLC0415 -- cattrs is slow

        write(report, settings.report, version=__version__)


def _dry_run(plan: Plan, settings: Settings) -> int:
    from isol8tasks import app  # noqa: PLC0415 -- see run_options

    found = app.dry_run(plan, run_options(settings))
    click.echo("\n".join(_dry_lines(found)))
    return 0


def _dry_lines(found: DryRun) -> list[str]:
    width = max((len(dry.stage.name) for dry in found.stages), default=0)
    lines = [f"{found.backend} ({one_line(found.reason)}) would run"]
    lines += [f"  {dry.stage.name:{width}}  {one_line(_dry_stage(dry))}" for dry in found.stages]
    return [*lines, "nothing was run"]


def _dry_stage(dry: DryStage) -> str:
    parts = [str(dry.stage.image), f"{dry.inputs} input{'' if dry.inputs == 1 else 's'}"]
    if dry.stage.prerequisites:
        parts.append("after " + ", ".join(dry.stage.prerequisites))
    if dry.unenforced:
        parts.append("not enforced here: " + ", ".join(dry.unenforced))
    return "; ".join(parts)
