"""`isol8tasks list` and `isol8tasks graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click

from isol8tasks.cli import options
from isol8tasks.cli.choose import choose, elsewhere
from isol8tasks.cli.errors import say
from isol8tasks.model.address import ROOT, local, split
from isol8tasks.report.text import one_line
from isol8tasks.taskfile.workspace import Problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isol8tasks.cli.choose import Choice
    from isol8tasks.errors import UsageError
    from isol8tasks.model.stage import Stage, Task, TaskFile

SCHEMA = 1


@click.command("list", short_help="Show the tasks and stages of the task files.")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=options.complete_target)
@options.changes
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@options.file
def list_command(as_json: bool, **words: Any) -> None:
    """Show what can be run here and below: tasks, the default ones marked with *, and stages.

    With TARGETs the stages that they stand for; with --affected those that a change can influence,
    and why.
    """
    wanted, flags = options.wanted(words)
    settings = options.settings(flags)
    workspace = options.workspace(settings)
    errors: list[UsageError] = []
    if wanted.targets or wanted.affected:
        chosen = choose(workspace, wanted, settings)
        for remark in chosen.remarks:
            say(one_line(remark))
        found = _narrowed(chosen)
        because = chosen.because if wanted.affected else None
    else:
        files, errors = workspace.load_all(workspace.everything())
        if not files and not errors:
            workspace.request(())  # which says what is missing
        found, because = workspace.together(files), None
        for remark in elsewhere(workspace):
            say(one_line(remark))
    if as_json:
        import json  # noqa: PLC0415 -- the text does without

        click.echo(json.dumps(document(found, because), indent=2))
    elif found.stages:
        click.echo("\n".join(listing(found, because)))
    elif not errors:
        click.echo("no stages")
    if errors:
        raise Problems.of(errors)


@click.command("graph", short_help="Draw the stages and what they require.")
@click.argument("targets", nargs=-1, metavar="[TARGET]...", shell_complete=options.complete_target)
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "json"]),
    default="mermaid",
    show_default=True,
    help="For a Markdown page, for Graphviz, or for programs.",
)
@options.file
def graph_command(targets: tuple[str, ...], form: str, **flags: Any) -> None:
    """Draw TARGETs and all they require, or every stage here; arrows go the way the work goes."""
    from isol8tasks.cli import drawing  # noqa: PLC0415 -- `list` does without
    from isol8tasks.plan.plan import build  # noqa: PLC0415

    workspace = options.workspace(options.settings(flags))
    here = () if targets else tuple(f":{local(each.name)}" for each in workspace.current().stages)
    request = workspace.request(targets or here)
    plan = build(request.taskfile, request.targets)
    click.echo(drawing.FORMS[form](plan.stages))


def _narrowed(chosen: Choice) -> TaskFile:
    """Only the stages that were chosen."""
    goals = frozenset(chosen.goals)
    stages = tuple(stage for stage in chosen.taskfile.stages if stage.name in goals)
    return attrs.evolve(chosen.taskfile, stages=stages, tasks=())


def listing(found: TaskFile, because: Mapping[str, str] | None = None) -> Iterator[str]:
    """The lines of `list`."""
    if found.description:
        yield from (one_line(found.description.strip().split("\n")[0]), "")
    if found.tasks:
        yield "tasks (* runs by default):"
        width = max(len(_shown(task.name, found.folder)) for task in found.tasks)
        yield from (_task_line(task, found.folder, width) for task in found.tasks)
        yield ""
    yield "stages:"
    width = max((len(_shown(stage.name, found.folder)) for stage in found.stages), default=0)
    for stage in found.stages:
        yield _stage_line(stage, found.folder, width)
        if because:
            yield f"    {one_line(because[stage.name])}"


def _shown(name: str, folder: str) -> str:
    """The name that means it in a folder."""
    where, own = split(name)
    if where == folder:
        return own
    return name if where else f"{ROOT}:{own}"


def document(found: TaskFile, because: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON of `list`."""
    return {
        "schema": SCHEMA,
        "path": found.path,
        "root": found.root,
        "description": found.description,
        "tasks": [_task(task) for task in found.tasks],
        "stages": [
            _stage(stage) | ({} if because is None else {"because": because[stage.name]})
            for stage in found.stages
        ],
    }


def _task_line(task: Task, folder: str, width: int) -> str:
    mark = "*" if task.default else " "
    home = split(task.name)[0]
    members = ", ".join(_shown(member, home) for member in task.members)
    return f"{mark} {one_line(_shown(task.name, folder)):{width}}  {one_line(members)}"


def _stage_line(stage: Stage, folder: str, width: int) -> str:
    parts = [one_line(stage.description.strip().split("\n")[0])]
    if stage.prerequisites:
        before = ", ".join(_shown(name, stage.folder) for name in stage.prerequisites)
        parts.append(f"(requires {before})")
    parts += [f"#{tag}" for tag in stage.tags]
    shown = one_line(_shown(stage.name, folder))
    return f"  {shown:{width}}  {' '.join(filter(None, parts))}".rstrip()


def _task(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "members": list(task.members),
        "default": task.default,
        "declared_at": {"path": task.declared_at.path, "line": task.declared_at.line},
    }


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "folder": stage.folder,
        "description": stage.description,
        "image": str(stage.image),
        "requires": list(stage.prerequisites),
        "outputs": list(stage.outputs),
        "tags": list(stage.tags),
        "declared_at": {"path": stage.declared_at.path, "line": stage.declared_at.line},
    }
