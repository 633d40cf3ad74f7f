"""Finding a task file and running it."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from isol8tasks.errors import Location, TaskFileError
from isol8tasks.model.stage import TaskFile
from isol8tasks.taskfile.collect import Collector, collecting, shown
from isol8tasks.taskfile.declare import first_paragraph
from isol8tasks.taskfile.failure import execution_error, is_users, syntax_error
from isol8tasks.taskfile.root import FILE_NAME, is_believed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

_MODULE = "isol8file"
INIT = "run 'isol8tasks init' to write a first one"


def find(start: Path) -> Path:
    """The absolute path of the nearest isol8file.py in a folder or above it.

    TaskFileError when there is none.
    """
    found = nearest(start)
    if found is None:
        raise no_task_file(start)
    return found


def nearest(start: Path) -> Path | None:
    """The same, None when there is none; TaskFileError for one that is not a file."""
    start = Path(os.path.abspath(start))
    candidates = (folder / FILE_NAME for folder in (start, *start.parents))
    path = next((p for p in candidates if os.path.lexists(p) and is_believed(p, start)), None)
    if path is not None and not os.path.isfile(path):
        what = "a link that leads nowhere" if not path.exists() else "not a file"
        raise TaskFileError(
            f"{FILE_NAME} is {what}",
            where=Location(shown(str(path)), 0),
            hint="put a task file in its place, or name another one with --file",
        )
    return path


def no_task_file(start: Path) -> TaskFileError:
    """The error for a folder without one."""
    return TaskFileError(f"no {FILE_NAME} in '{os.path.abspath(start)}' or above it", hint=INIT)


def load(path: Path, *, root: Path | None = None) -> TaskFile:
    """Run a task file, as if it were alone, and return what it declared; it prints to stderr.

    `root` is the absolute folder of its workspace, its own folder if that is not given.
    TaskFileError, with the line, for everything that goes wrong in it.
    """
    path = Path(os.path.abspath(path))
    root = root or path.parent
    code = _compile(path, root)
    folder = path.parent.relative_to(root).as_posix()
    collector = Collector(folder="" if folder == "." else folder)
    module = ModuleType(_MODULE)
    module.__file__ = str(path)
    with _as_main_module(module, path.parent, root) as sources, collecting(collector):
        _execute(code, module, path, root)
    if not collector.stages and not collector.tasks:
        raise TaskFileError(
            "the task file declares no stage",
            where=Location(shown(str(path)), 0),
            hint="declare one: stage('hello', image=Image.bash(), run='echo hello')",
        )
    return TaskFile(
        path=str(path),
        root=str(root),
        folder=collector.folder,
        folders=frozenset({collector.folder}),
        sources=frozenset(os.path.relpath(source, root) for source in (str(path), *sources)),
        description=first_paragraph(module.__doc__),
        stages=tuple(collector.stages),
        tasks=tuple(collector.tasks),
    )


def _compile(path: Path, root: Path) -> CodeType:
    text = _read(path)
    try:
        return compile(text, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise syntax_error(error, str(path)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise execution_error(error, path, root) from error


def _read(path: Path) -> str:
    where = Location(shown(str(path)), 0)
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise TaskFileError("there is no such task file", where=where, hint=INIT) from error
    except IsADirectoryError as error:
        hint = f"name the task file in it: {Path(where.path, FILE_NAME)}"
        raise TaskFileError("a folder is not a task file", where=where, hint=hint) from error
    except OSError as error:
        message = f"the task file cannot be read: {error.strerror}"
        raise TaskFileError(message, where=where, hint="look at its permissions") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TaskFileError(
            f"the task file is not UTF-8: byte 0x{error.object[error.start]:02x}",
            where=where._replace(line=line),
            hint="save it as UTF-8",
        ) from error


def _execute(code: CodeType, module: ModuleType, path: Path, root: Path) -> None:
    try:
        exec(code, module.__dict__)  # noqa: S102 -- a task file is the user's own program
    except TaskFileError as error:
        if error.where is None:
            raise execution_error(error, path, root) from error
        raise
    except (Exception, SystemExit) as error:
        raise execution_error(error, path, root) from error


@contextlib.contextmanager
def _as_main_module(module: ModuleType, folder: Path, root: Path) -> Iterator[set[str]]:
    """Make the module, its neighbours and the root's modules importable; collect what it reads.

    What it imported of the workspace is forgotten again: the next task file may mean another module
    by the same name, and what a module declares is declared for each that imports it.
    """
    before, search = dict(sys.modules), list(sys.path)
    place = os.getcwd()
    own = {name: sys.modules.pop(name) for name in _own_modules(root)}
    sys.modules[module.__name__] = module
    places = [str(folder)] if folder == root else [str(folder), str(root)]
    sys.path[:0] = places
    read: set[str] = set()
    try:
        with contextlib.redirect_stdout(sys.stderr), _reading(read, root):
            yield read
    finally:
        sys.path[:] = search
        os.chdir(place)
        _forget(before.keys() - own.keys(), read, root)
        sys.modules |= own


_foreign: dict[Path, set[str]] = {}
"""Names of modules that are not the workspace's, by its root: there are hundreds."""


def _own_modules(root: Path) -> list[str]:
    """The names of the workspace's modules that are imported, such as a noxfile's."""
    foreign = _foreign.setdefault(root, {"__main__"})
    found = [name for name in sys.modules.keys() - foreign if _is_own(name, root)]
    foreign.update(sys.modules.keys() - set(found))
    return found


def _is_own(name: str, root: Path) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    places = getattr(sys.modules[name], "__path__", ())  # of a package without a file
    return name == _MODULE or any(is_users(place, root) for place in (file, *places) if place)


def _forget(before: AbstractSet[str], read: set[str], root: Path) -> None:
    for name in [name for name in sys.modules.keys() - before if _is_own(name, root)]:
        file = getattr(sys.modules.pop(name), "__file__", None)
        read.update({file} if file else ())


_readers: list[tuple[set[str], Path]] = []
"""Who is told of the files that are opened: the one task file that runs now."""


@contextlib.contextmanager
def _reading(read: set[str], root: Path) -> Iterator[None]:
    """Collect the workspace's files that are opened for reading meanwhile."""
    _install_hook()
    _readers.append((read, root))
    try:
        yield
    finally:
        _readers.pop()


@functools.cache
def _install_hook() -> None:
    """Once: a hook cannot be removed (PEP 578)."""
    sys.addaudithook(_on_event)


_WRITING = os.O_WRONLY | os.O_RDWR


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _readers:
        path, _, flags = arguments
        if isinstance(path, str) and isinstance(flags, int) and not flags & _WRITING:
            read, root = _readers[-1]
            file = os.path.abspath(path)
            if is_users(file, root) and not file.endswith(".pyc"):
                read.add(file)
