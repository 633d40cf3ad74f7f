"""Which stages a command line means: targets, and what narrows them down."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from isol8tasks.errors import PlanError, StoreError
from isol8tasks.plan.select import select
from isol8tasks.taskfile.root import PROJECT_FILE, SETTINGS_FILE, project_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from isol8tasks.cli.settings import Settings
    from isol8tasks.git import Changes
    from isol8tasks.model.stage import TaskFile
    from isol8tasks.plan.plan import Plan
    from isol8tasks.store.history import RunHistory
    from isol8tasks.taskfile.workspace import Workspace

LOCK_FILE = "isol8tasks.lock"
_SHOWN = 5


@attrs.frozen(kw_only=True)
class Wanted:
    """The words of a command line that choose stages, as they were written."""

    targets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    keywords: str = ""
    skip: tuple[str, ...] = ()
    only: bool = False
    affected: bool = False
    since: str | None = None
    last_failed: bool = False
    shard: str | None = None

    @property
    def narrowed(self) -> bool:
        """Whether all stages below are meant when no target is given, to be narrowed down."""
        narrow = self.tags or self.keywords or self.affected or self.last_failed
        return bool(narrow) and not self.targets


@attrs.frozen(kw_only=True)
class Choice:
    """The stages that are goals, how that came about in words, and why each is affected."""

    taskfile: TaskFile
    goals: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    because: Mapping[str, str] = attrs.field(factory=dict)


def choose(workspace: Workspace, wanted: Wanted, settings: Settings) -> Choice:
    """Load what is needed and choose; the goals may be none."""
    if wanted.affected:
        workspace.everything("")  # before git has other work
    changes = _Changes(workspace.root, wanted.since) if wanted.affected else None
    below = workspace.folder if wanted.narrowed else None
    request = workspace.request(
        wanted.targets, skip=wanted.skip, below="" if wanted.affected else below
    )
    goals = select(
        request.taskfile,
        targets=request.targets,
        tags=wanted.tags,
        keywords=wanted.keywords,
        skip=request.skip,
        below=below,
    )
    choice = Choice(taskfile=request.taskfile, goals=goals, remarks=elsewhere(workspace))
    if changes is not None:
        sources = {file.folder: file.sources for file in request.files}
        files = {Path(source) for _, source in settings.sources}
        everything = _for_all(workspace.root, changes.get(), files)
        choice = _affected(choice, sources, changes.get(), everything)
    if wanted.last_failed:
        choice = _last_failed(choice, history(workspace.root, settings))
    if wanted.shard is not None:
        choice = _shard(choice, _durations(workspace.root, settings), wanted.shard)
    return choice


def elsewhere(workspace: Workspace) -> tuple[str, ...]:
    """What is left out of a search, in words."""
    names = sorted(workspace.elsewhere)
    count = f"{len(names)} task file{' is' if len(names) == 1 else 's are'} of another workspace"
    return (f"{count}: {shortened(names)}",) if names else ()


def plan_for(choice: Choice, wanted: Wanted, settings: Settings, posargs: Sequence[str]) -> Plan:
    """The plan for what was chosen, within the limits that the settings give."""
    from isol8tasks.plan.govern import fill, hold  # noqa: PLC0415 -- `list` does without
    from isol8tasks.plan.plan import build  # noqa: PLC0415

    filled = fill(choice.taskfile, dict(settings.limits))
    plan = build(filled, choice.goals, posargs=posargs, only=wanted.only)
    return hold(plan, dict(settings.ceilings))


def left_out(plan: Plan) -> tuple[str, ...]:
    """The prerequisites of a plan's stages that are not in it."""
    planned = {stage.name for stage in plan.stages}
    before = (name for stage in plan.stages for name in stage.prerequisites)
    return tuple(dict.fromkeys(name for name in before if name not in planned))


def check_left_out(plan: Plan, past: RunHistory) -> None:
    """PlanError when a stage would get the outputs of one that did not pass."""
    from isol8tasks.model.result import Verdict  # noqa: PLC0415 -- not for `list`

    known = past.read()
    for name in sorted(plan.left_out):
        if name not in known or known[name].verdict is not Verdict.PASSED:
            what = "did not pass when it last ran" if name in known else "has not run here yet"
            raise PlanError(
                f"'{name}', whose outputs are needed, {what}", hint="run without --only"
            )


def history(root: Path, settings: Settings) -> RunHistory:
    """What earlier runs of a workspace found out."""
    from isol8tasks.store.history import RunHistory  # noqa: PLC0415 -- few commands ask

    if settings.state is not None:
        return RunHistory.of_workspace(root, settings.state)
    from platformdirs import user_state_path  # noqa: PLC0415

    try:
        return RunHistory.of_workspace(root, user_state_path("isol8tasks"))
    except RuntimeError as error:  # no HOME, and no entry in the list of users either
        raise StoreError(
            "the run history needs a folder, and this user has no home",
            hint="name one with the setting 'state' or ISOL8TASKS_STATE",
        ) from error


class _Changes:
    """What git says, asked while the task files are run."""

    def __init__(self, root: Path, since: str | None) -> None:
        self._root, self._since = root, since
        self._found: Changes | Exception | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        from isol8tasks import git  # noqa: PLC0415 -- only who asks for changes needs it

        try:
            self._found = git.changes(self._root, self._since)
        except Exception as error:  # noqa: BLE001 -- `get` raises it
            self._found = error

    def get(self) -> Changes:
        """The changes, or the error. What Python makes of modules that we run is none of them."""
        self._thread.join()
        if isinstance(self._found, Exception):
            raise self._found
        assert self._found is not None  # noqa: S101 -- the thread set it
        paths = (path for path in self._found.paths if "__pycache__" not in path.split("/"))
        return attrs.evolve(self._found, paths=frozenset(paths))


def _affected(
    choice: Choice, sources: Mapping[str, frozenset[str]], changes: Changes, everything: str
) -> Choice:
    from isol8tasks.plan.affected import affected  # noqa: PLC0415
    from isol8tasks.plan.plan import resolved  # noqa: PLC0415

    stages = resolved(choice.taskfile)
    because = affected(stages, sources=sources, paths=changes.paths, everything=everything)
    goals = tuple(name for name in choice.goals if name in because)
    files = f"{len(changes.paths)} changed file{'' if len(changes.paths) == 1 else 's'}"
    words = f"{files} since {changes.since}"
    if changes.base:
        words += f" ({changes.base[:12]})"
    remark = f"{words}: {len(goals)} of {_stages(len(choice.goals))} affected"
    return attrs.evolve(choice, goals=goals, because=because, remarks=(*choice.remarks, remark))


def _for_all(root: Path, changes: Changes, files: Collection[Path]) -> str:
    """Why every stage is affected, or an empty text; `files` are where settings came from."""
    from isol8tasks import git  # noqa: PLC0415 -- only who asks for changes needs it

    used = {os.path.relpath(file, root) for file in files if file.is_relative_to(root)}
    for name in sorted({*used, SETTINGS_FILE, LOCK_FILE, PROJECT_FILE} & changes.paths):
        if not name.endswith(PROJECT_FILE):
            return f"{name} changed, which is for all"
        path = root / name
        now = project_table(path.read_bytes() if path.is_file() else b"")
        if now != project_table(git.content_at(root, changes.base, name) or b""):
            return f"[tool.isol8tasks] of {name} changed, which is for all"
    return ""


def _last_failed(choice: Choice, past: RunHistory) -> Choice:
    failed = past.failed()
    if failed is None:
        raise PlanError(
            "nothing is known of an earlier run in this workspace",
            hint="run it once without --last-failed",
        )
    goals = tuple(name for name in choice.goals if name in failed)
    remark = f"{len(goals)} of {_stages(len(choice.goals))} did not pass last time"
    return attrs.evolve(choice, goals=goals, remarks=(*choice.remarks, remark))


def _durations(root: Path, settings: Settings) -> Mapping[str, float]:
    """Of earlier runs. In CI only of a history that was named, for each runner has another own."""
    if settings.state is None and os.environ.get("CI"):
        return {}
    return history(root, settings).durations()


def _shard(choice: Choice, durations: Mapping[str, float], text: str) -> Choice:
    from isol8tasks.plan.shard import Shard, partition_id, share  # noqa: PLC0415 -- seldom

    shard = Shard.parse(text)
    goals = share(choice.goals, durations, shard)
    parted = partition_id(choice.goals, durations, shard.count)
    remark = (
        f"shard {shard}: {len(goals)} of {_stages(len(choice.goals))}; "
        f"partition {parted}, which must be the same for all shards"
    )
    return attrs.evolve(choice, goals=goals, remarks=(*choice.remarks, remark))


def _stages(count: int) -> str:
    return f"{count} stage{'' if count == 1 else 's'}"


def shortened(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
