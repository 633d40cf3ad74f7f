"""`isol8tasks list` and `isol8tasks graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from isol8tasks.cli import options
from isol8tasks.report.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isol8tasks.model.stage import Stage, Task, TaskFile

SCHEMA = 1


@click.command("list", short_help="Show the tasks and stages of the task file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@options.file
def list_command(as_json: bool, **flags: Any) -> None:
    """Show what can be run: tasks, the default ones marked with *, and stages."""
    found = options.task_file(options.settings(flags))
    if as_json:
        import json  # noqa: PLC0415 -- the text does without

        click.echo(json.dumps(document(found), indent=2))
    else:
        click.echo("\n".join(listing(found)))


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
    """Draw TARGETs and all they require, or every stage; arrows go the way the work goes."""
    from isol8tasks.cli import drawing  # noqa: PLC0415 -- `list` does without
    from isol8tasks.plan.plan import build  # noqa: PLC0415
    from isol8tasks.plan.select import select  # noqa: PLC0415

    found = options.task_file(options.settings(flags))
    names = tuple(stage.name for stage in found.stages)
    plan = build(found, select(found, targets=targets or names))
    click.echo(drawing.FORMS[form](plan.stages))


def listing(found: TaskFile) -> Iterator[str]:
    """The lines of `list`."""
    if found.description:
        yield from (one_line(found.description.strip().split("\n")[0]), "")
    if found.tasks:
        yield "tasks (* runs by default):"
        width = max(len(task.name) for task in found.tasks)
        yield from (_task_line(task, width) for task in found.tasks)
        yield ""
    yield "stages:" if found.stages else "no stages"
    width = max((len(stage.name) for stage in found.stages), default=0)
    yield from (_stage_line(stage, width) for stage in found.stages)


def document(found: TaskFile) -> dict[str, Any]:
    """The JSON of `list`."""
    return {
        "schema": SCHEMA,
        "path": found.path,
        "root": found.root,
        "description": found.description,
        "tasks": [_task(task) for task in found.tasks],
        "stages": [_stage(stage) for stage in found.stages],
    }


def _task_line(task: Task, width: int) -> str:
    mark = "*" if task.default else " "
    return f"{mark} {one_line(task.name):{width}}  {one_line(', '.join(task.members))}"


def _stage_line(stage: Stage, width: int) -> str:
    parts = [one_line(stage.description.strip().split("\n")[0])]
    if stage.prerequisites:
        parts.append(f"(requires {', '.join(stage.prerequisites)})")
    parts += [f"#{tag}" for tag in stage.tags]
    return f"  {one_line(stage.name):{width}}  {' '.join(filter(None, parts))}".rstrip()


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
        "description": stage.description,
        "image": str(stage.image),
        "requires": list(stage.prerequisites),
        "outputs": list(stage.outputs),
        "tags": list(stage.tags),
        "declared_at": {"path": stage.declared_at.path, "line": stage.declared_at.line},
    }
