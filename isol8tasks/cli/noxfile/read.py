"""A noxfile's sessions as it declares them."""

from __future__ import annotations

import ast
import contextlib
import io
import tokenize
import warnings
from collections.abc import Sequence
from pathlib import Path

import attrs

from isol8tasks.cli.noxfile.evaluate import concrete, evaluate, texts, truth
from isol8tasks.cli.noxfile.parameters import Parameters, parametrize
from isol8tasks.cli.noxfile.scope import Scope, imports, source
from isol8tasks.cli.noxfile.values import Remark, Text, Unknown, Unresolved
from isol8tasks.errors import Location, UsageError

_LARGEST = 1 << 20
_DECORATORS = {"nox.session", "nox.sessions.session", "nox_poetry.session"}
_PARAMETRIZE = {"nox.parametrize", "nox_poetry.parametrize"}
_MEANINGLESS = {"reuse_venv", "download_python", "allow_parallel", "venv_params"}
_MEANINGLESS_OPTIONS = {
    "default_venv_backend", "force_venv_backend", "reuse_existing_virtualenvs", "reuse_venv",
    "stop_on_first_error", "error_on_external_run", "error_on_missing_interpreters", "envdir",
    "download_python", "verbose", "report", "allow_parallel", "parallel", "non_interactive",
}  # fmt: skip
"""What is about virtual environments or about running, and says nothing about the sessions."""


@attrs.define(kw_only=True)
class Declared:
    """One session: its decorators and its body. `pythons` is None for nox's own Python."""

    name: str
    node: ast.FunctionDef
    pythons: tuple[Text, ...] | None = None
    several: bool = False
    tags: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    default: bool = True
    parameters: Parameters = ()
    remarks: list[Remark] = attrs.Factory(list)

    @property
    def description(self) -> str:
        """The first line of the docstring, as nox shows it."""
        return (ast.get_docstring(self.node) or "").strip().partition("\n")[0].strip()


@attrs.define(kw_only=True)
class Noxfile:
    """What a noxfile declares. `chosen` are nox.options.sessions, `tags` nox.options.tags."""

    scope: Scope
    sessions: dict[str, Declared] = attrs.Factory(dict)
    chosen: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    remarks: list[Remark] = attrs.Factory(list)


def parse(path: Path) -> tuple[ast.Module, tuple[str, ...]]:
    """The syntax tree of a noxfile and its lines; UsageError, with the line, when there is none."""
    where = Location(str(path), 0)
    try:
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise UsageError("the noxfile is larger than 1 MiB", where=where)
        if path.exists() and not path.is_file():
            raise UsageError("the noxfile is not a file", where=where)
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the noxfile, which nox itself shows
            tree = ast.parse(content, str(path))
        encoding = tokenize.detect_encoding(io.BytesIO(content).readline)[0]
        text = content.decode(encoding, errors="replace")
        return tree, tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    except FileNotFoundError as error:
        hint = "name it: isol8tasks init --from-noxfile path/to/noxfile.py"
        raise UsageError("there is no such noxfile", where=where, hint=hint) from error
    except OSError as error:
        message = f"the noxfile cannot be read: {error.strerror}"
        raise UsageError(message, where=where, hint="look at its permissions") from error
    except SyntaxError as error:
        message = f"the noxfile is not Python: {error.msg}"
        hint = "nox itself must be able to read it: try nox -l"
        raise UsageError(
            message, where=where._replace(line=error.lineno or 0), hint=hint
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"the noxfile is not Python: {error}", where=where) from error


def read(path: Path) -> Noxfile:
    """What a noxfile declares; UsageError when it cannot be read or declares no session."""
    tree, lines = parse(path)
    scope = Scope(folder=path.parent, file=path.name, lines=lines)
    found = _Reader(Noxfile(scope=scope))
    found.take(tree.body)
    if not found.noxfile.sessions:
        raise UsageError(
            "the noxfile declares no session that can be read",
            where=Location(str(path), 0),
            hint="a session is a function with the decorator @nox.session;"
            " isol8tasks init without --from-noxfile writes a first task file",
        )
    return found.noxfile


class _Reader:
    """Goes through the statements of the module."""

    def __init__(self, noxfile: Noxfile) -> None:
        self.noxfile = noxfile
        self._scope = noxfile.scope

    def take(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self._take(statement)

    def _take(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                self._scope.imports |= imports(statement)
                self._note_poetry(statement)
            case ast.FunctionDef():
                self._function(statement)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                self._assign(statement)
            case ast.If():
                self._if(statement)
            case ast.Try():
                self.take([*statement.body, *statement.orelse, *statement.finalbody])
            case ast.With():
                self.take(statement.body)
            case _:
                self._other(statement)

    def _remark(self, node: ast.stmt | ast.expr, reason: str) -> None:
        self.noxfile.remarks.append(Remark(node.lineno, reason))

    def _note_poetry(self, node: ast.Import | ast.ImportFrom) -> None:
        if any(name.partition(".")[0] == "nox_poetry" for name in imports(node).values()):
            self._remark(node, "nox-poetry takes versions from poetry.lock: pin the packages")

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        option = self._scope.dotted(targets[0])
        if option.startswith("nox.options.") and node.value is not None:
            self._option(node, option.removeprefix("nox.options."), node.value)
            return
        value: object = Unknown(node.lineno)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            with contextlib.suppress(Unresolved):  # whoever uses the name is told
                value = evaluate(node.value, self._scope)
        elif isinstance(node, ast.AugAssign):
            value = self._augmented(node)
        for target in targets:
            self._bind(target, value, node.lineno)

    def _bind(self, target: ast.expr, value: object, line: int) -> None:
        if isinstance(target, ast.Name):
            self._scope.names[target.id] = value
            return
        for inner in ast.walk(target):  # also the list in `VERSIONS[0] = …`
            if isinstance(inner, ast.Name) and inner.id not in self._scope.imports:
                self._scope.names[inner.id] = Unknown(line)

    def _augmented(self, node: ast.AugAssign) -> object:
        if not isinstance(node.target, ast.Name):
            return Unknown(node.lineno)
        whole = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        try:
            return evaluate(ast.copy_location(whole, node), self._scope)
        except Unresolved:
            return Unknown(node.lineno)

    def _option(self, node: ast.stmt, option: str, value: ast.expr) -> None:
        try:
            if option in {"sessions", "tags"}:
                chosen = evaluate(value, self._scope)
                names = None if chosen is None else tuple(str(item) for item in texts(chosen))
                setattr(self.noxfile, "chosen" if option == "sessions" else "tags", names)
            elif option not in _MEANINGLESS_OPTIONS:
                self._remark(node, f"nox.options.{option} is not carried over")
        except Unresolved as error:
            self._remark(node, f"nox.options.{option} is not carried over: {error}")

    def _if(self, node: ast.If) -> None:
        try:
            taken = truth(node.test, self._scope)
        except Unresolved:
            self._maybe(node)
        else:
            self.take(node.body if taken else node.orelse)

    def _maybe(self, node: ast.If) -> None:
        """Take the sessions of both branches."""
        before = set(self.noxfile.sessions)
        self.take([*node.body, *node.orelse])
        self._forget(node)
        for name in set(self.noxfile.sessions) - before:
            reason = f"it is a session only `if {source(node.test)}`, and a stage always"
            self.noxfile.sessions[name].remarks.append(Remark(node.lineno, reason))

    def _other(self, node: ast.stmt) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.FunctionDef) and inner.decorator_list:
                self._remark(inner, f"'{inner.name}' is declared in a loop or a class")
        self._forget(node)

    def _forget(self, node: ast.stmt) -> None:
        """Values that the statement may set or change are not known after it."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                self._scope.names[inner.id] = Unknown(inner.lineno)
            elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
                name = inner.value.id  # `VERSIONS.append(…)`
                if name in self._scope.names:
                    self._scope.names[name] = Unknown(inner.lineno)

    def _function(self, node: ast.FunctionDef) -> None:
        decorator = next((item for item in node.decorator_list if self._is_session(item)), None)
        if decorator is None:
            self._note_unknown(node)
            return
        found = Declared(name=node.name, node=node)
        if isinstance(decorator, ast.Call):
            self._words(found, decorator)
        for other in reversed(node.decorator_list):
            if other is not decorator:
                self._decorate(found, other)
        if found.name in self.noxfile.sessions:
            first = self.noxfile.sessions[found.name].node.lineno
            found.remarks.append(Remark(first, f"this '{found.name}' is declared again below"))
        self.noxfile.sessions[found.name] = found

    def _is_session(self, decorator: ast.expr) -> bool:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        return self._scope.dotted(function) in _DECORATORS

    def _note_unknown(self, node: ast.FunctionDef) -> None:
        arguments = [argument.arg for argument in node.args.args]
        if node.decorator_list and arguments[:1] == ["session"]:
            shown = source(node.decorator_list[0])
            self._remark(node, f"'{node.name}' is left out: its decorator `{shown}` is not nox's")

    def _decorate(self, found: Declared, decorator: ast.expr) -> None:
        if isinstance(decorator, ast.Call) and self._scope.dotted(decorator.func) in _PARAMETRIZE:
            try:
                found.parameters = parametrize(decorator, found.parameters, self._scope)
            except Unresolved as error:
                found.remarks.append(Remark(decorator.lineno, f"its parameters: {error}"))
        else:
            reason = f"the decorator `{source(decorator)}` is not carried over"
            found.remarks.append(Remark(decorator.lineno, reason))

    def _words(self, found: Declared, call: ast.Call) -> None:
        given = {word.arg: word.value for word in call.keywords}
        for index, value in enumerate(call.args):
            given[("func", "python", "py", "reuse_venv", "name", "venv_backend")[min(index, 5)]] = (
                value
            )
        for word, value in given.items():
            try:
                self._word(found, word or "**", value)
            except Unresolved as error:
                found.remarks.append(Remark(value.lineno, f"{word or '**'}= of it: {error}"))

    def _word(self, found: Declared, word: str, node: ast.expr) -> None:
        if word in _MEANINGLESS:
            return
        value = evaluate(node, self._scope)
        match word:
            case "name":
                found.name = str(concrete(value)) if value is not None else found.name
            case "python" | "py":
                found.several = isinstance(value, tuple)
                found.pythons = self._pythons(found, node, value)
            case "tags":
                found.tags = texts(value) if value is not None else ()
            case "requires":
                found.requires = texts(value) if value is not None else ()
            case "default":
                found.default = bool(concrete(value))
            case "venv_backend":
                self._backend(found, node, str(concrete(value)))
            case _:
                raise Unresolved("it is not known here")

    def _pythons(self, found: Declared, node: ast.expr, value: object) -> tuple[Text, ...] | None:
        if value is False:
            self._outside(found, node)
        if value is None or isinstance(value, bool):
            return None
        return tuple(dict.fromkeys(texts(value)))

    def _backend(self, found: Declared, node: ast.expr, backend: str) -> None:
        first = backend.partition("|")[0]
        if first == "none":
            self._outside(found, node)
        elif first in {"conda", "mamba", "micromamba", "rattler"}:
            reason = f"venv_backend={backend!r}: an image has no packages of conda"
            found.remarks.append(Remark(node.lineno, reason))

    def _outside(self, found: Declared, node: ast.expr) -> None:
        reason = "it uses the programs of this machine: choose an image that has them"
        found.remarks.append(Remark(node.lineno, reason))
