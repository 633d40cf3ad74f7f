"""Finding a task file and running it."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections import defaultdict
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
        sources=_relative({str(path), *sources}, root),
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
    before, search = frozenset(sys.modules), list(sys.path)
    place = os.getcwd()
    own = {name: sys.modules.pop(name) for name in _own_modules(root, folder)}
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
        _forget(before.difference(own), read, root)
        sys.modules |= own


_AT_START = frozenset((*sys.modules, *sys.builtin_module_names, "__main__"))


class _Foreign:
    """Modules that are not the workspace's; there are hundreds, so each is looked at once.

    `late` are those that some task file may have been the first to import, by their first name.
    """

    def __init__(self) -> None:
        self.names = {"__main__"}
        self.late: dict[str, set[str]] = {}

    def add(self, name: str) -> None:
        self.names.add(name)
        top = name.partition(".")[0]
        if name not in _AT_START and top != "isol8tasks":
            self.late.setdefault(top, set()).add(name)


_foreign: defaultdict[Path, _Foreign] = defaultdict(_Foreign)
"""By the workspace's root."""


def _own_modules(root: Path, folder: Path) -> list[str]:
    """The names of the workspace's modules that are imported, such as a noxfile's.

    And of those that others imported, where the folder has another module of that name.
    """
    foreign, found = _foreign[root], []
    for name in sys.modules.keys() - foreign.names:
        if _is_own(name, root):
            found.append(name)
        else:
            foreign.add(name)
    beside = {file.removesuffix(".py") for file in os.listdir(folder) if file.endswith(".py")}
    hidden = (foreign.late[top] for top in foreign.late.keys() & beside)
    return [*found, *(name for names in hidden for name in names if name in sys.modules)]


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


_LISTING = frozenset({"os.listdir", "os.scandir"})
_IMPORTING = "<frozen importlib._bootstrap_external>"


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if not _readers or not (event == "open" or event in _LISTING):
        return
    path = arguments[0] if arguments[0] is not None else "."
    if not isinstance(path, str | bytes) or not _is_read(event, arguments):
        return
    read, root = _readers[-1]
    file = os.path.abspath(os.fsdecode(path))
    if event in _LISTING:
        if file == str(root) or is_users(file, root):
            read.add(f"{file}{os.sep}")
    elif is_users(file, root) and not file.endswith(".pyc"):
        read.add(file)


def _is_read(event: str, arguments: tuple[object, ...]) -> bool:
    """Not written, and not by the import system, whose modules are seen in another way."""
    if event in _LISTING:
        return sys._getframe(2).f_code.co_filename != _IMPORTING  # noqa: SLF001 -- who asked
    flags = arguments[2]
    return isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_TRUNC)


def _relative(files: AbstractSet[str], root: Path) -> frozenset[str]:
    """Relative to the root, a folder with a slash behind; a link and what it leads to."""
    top, found = os.path.realpath(root), set()
    for file in files:
        slash = os.sep if file.endswith(os.sep) else ""
        found.add(os.path.relpath(file, root) + slash)
        real = os.path.realpath(file)
        if real.startswith(f"{top}{os.sep}"):
            found.add(os.path.relpath(real, top) + slash)
    return frozenset(found)
