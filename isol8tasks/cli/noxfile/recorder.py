"""The calls of nox's session in the body of one: what they install, and what they run."""

from __future__ import annotations

import ast
import posixpath

import attrs

from isol8tasks.cli.noxfile import commands
from isol8tasks.cli.noxfile.commands import Command
from isol8tasks.cli.noxfile.evaluate import concrete, evaluate, texts, words
from isol8tasks.cli.noxfile.install import installed, pip_arguments
from isol8tasks.cli.noxfile.scope import Scope, source
from isol8tasks.cli.noxfile.values import Remark, Text, Unresolved, Word

_MOST_COMMANDS = 200
_LINES_SHOWN = 12

_CARRIED = {
    "env", "external", "silent", "log", "success_codes", "include_outer_env",
    "interrupt_timeout", "terminate_timeout",
}  # fmt: skip
"""The words of session.run that are carried over, or that mean nothing in a sandbox."""

_EVERYWHERE = {"python", "python3", "sh", "bash", "echo", "true", "test", "cat", "rm", "mkdir"}

_NOT_HERE = {
    "notify": "a stage starts no other: let a task name both, or use requires=",
    "log": "it only prints",
    "warn": "it only prints",
    "debug": "it only prints",
    "create_tmp": "a sandbox has a /tmp of its own",
    "conda_install": "an image has no layer for conda: use .pip(…), or an Image that has them",
    "install_and_run_script": "write what the script needs into .pip(…), and run it",
}

_LOCAL = (".", "-r", "-e", "--requirement", "--editable", "--group")
"""How words begin that mean files."""

_METHODS = {
    "install": "_install",
    "run": "_run",
    "run_always": "_run_install",
    "run_install": "_run_install",
    "chdir": "change_folder",
    "cd": "change_folder",
}


@attrs.define(kw_only=True)
class Recorder:
    """What a session has done so far. `folder` is None once nobody knows the current one."""

    scope: Scope
    commands: list[Command] = attrs.Factory(list)
    packages: list[Text] = attrs.Factory(list)
    sources: list[str] = attrs.Factory(list)
    remarks: list[Remark] = attrs.Factory(list)
    env: dict[str, Text] = attrs.Factory(dict)
    folder: str | None = ""
    ended: bool = False

    def remark(self, node: ast.stmt | ast.expr, reason: str, *, code: bool = False) -> None:
        """Note what is not carried over; with `code`, the statement itself is shown."""
        lines = self.scope.lines_of(node) if code else ()
        if len(lines) > _LINES_SHOWN:
            lines = (*lines[:_LINES_SHOWN], "…")
        self.remarks.append(Remark(node.lineno, reason, lines))

    def call(self, call: ast.Call) -> bool:
        """Take a call of the session; False for any other."""
        method = self.scope.of_session(call.func)
        if method in _METHODS:
            getattr(self, _METHODS[method])(call)
            return True
        if method in _NOT_HERE:
            self.remark(call, f"session.{method}() is not carried over: {_NOT_HERE[method]}")
            return True
        if method in {"skip", "error"}:
            self.remark(call, f"`{source(call)}`: nox does not go on from here")
            self.ended = True
            return True
        if self._updates_env(call):
            return True
        if method:
            raise Unresolved(f"session.{method}() is not known here")
        if any(self.scope.is_session(argument) for argument in call.args):
            self.remark(call, f"`{source(call)}` is given the session: what it does is missing")
            return True
        return False

    def _updates_env(self, call: ast.Call) -> bool:
        func = call.func
        if not isinstance(func, ast.Attribute) or self.scope.of_session(func.value) != "env":
            return False
        if func.attr != "update" or len(call.args) != 1 or call.keywords:
            return False
        self.env |= self.variables(call.args[0])
        return True

    def _install(self, call: ast.Call) -> None:
        self._check_options(call)
        self._add_packages(call, words(call.args, self.scope))

    def _add_packages(self, call: ast.Call, arguments: tuple[Word, ...]) -> None:
        if self.folder is None and any(str(word).startswith(_LOCAL) for word in arguments):
            raise Unresolved("the current folder is not known here")
        self._check_paths(arguments)
        found = installed(arguments, self.scope.folder, self.folder or "")
        self.packages += found.packages
        self.sources += found.sources
        for reason in dict.fromkeys(found.reasons):
            self.remark(call, reason)

    def _run(self, call: ast.Call) -> None:
        command = self._command(call)
        arguments = pip_arguments(command.words)
        if arguments is not None:
            self._add_packages(call, arguments)
            return
        self._note(call, command)
        self.commands.append(command)

    def _run_install(self, call: ast.Call) -> None:
        command = self._command(call)
        if pip_arguments(command.words) is None and str(command.words[0]) in {"uv", "poetry"}:
            raise Unresolved("it installs: name the packages in .pip(…)")
        self._run(call)

    def _command(self, call: ast.Call) -> Command:
        found = words(call.args, self.scope)
        if not found:
            raise Unresolved("it has no command")
        if self.folder is None:
            raise Unresolved("the current folder is not known here")
        self._check_paths(found)
        if len(self.commands) >= _MOST_COMMANDS:
            raise Unresolved(f"a session has at most {_MOST_COMMANDS} commands here")
        options = {word.arg: word.value for word in call.keywords}
        env = {**self.env, **self._own_variables(options.get("env"))}
        codes = self._codes(options.get("success_codes"))
        command = Command(words=found, env=tuple(env.items()), folder=self.folder, codes=codes)
        commands.check(command)
        return command

    def _check_paths(self, found: tuple[Word, ...]) -> None:
        if self.folder and any(isinstance(word, Text) and word.anchored for word in found):
            raise Unresolved("it mixes a path from the noxfile's folder with session.chdir()")

    def _own_variables(self, node: ast.expr | None) -> dict[str, Text]:
        if node is None or _is_none(node):
            return {}
        try:
            return self.variables(node)
        except Unresolved as error:
            self.remark(node, f"`env={source(node)}` is not carried over: {error}")
            return {}

    def _codes(self, node: ast.expr | None) -> tuple[int, ...]:
        if node is None or _is_none(node):
            return (0,)
        value = evaluate(node, self.scope)
        items = value if isinstance(value, tuple) else (value,)
        codes = tuple(item for item in items if isinstance(item, int) and 0 <= item <= 255)
        if len(codes) < len(items) or 0 not in codes:
            raise Unresolved("success_codes without 0 is more than a shell says in a line")
        return codes

    def variables(self, node: ast.expr) -> dict[str, Text]:
        """The variables of a mapping; what is no text is remarked."""
        value = evaluate(node, self.scope)
        if not isinstance(value, dict):
            raise Unresolved("env is not a mapping that is known here")
        found: dict[str, Text] = {}
        for name, item in value.items():
            if not isinstance(item, Text) or not (name.isascii() and name.isidentifier()):
                self.remark(node, f"the variable {name}={concrete(item)!r} is not carried over")
            else:
                found[name] = item
        return found

    def _note(self, call: ast.Call, command: Command) -> None:
        """Say what the command needs that a sandbox does not have by itself."""
        self._check_options(call)
        program = commands.needs_network(command.words)
        if program:
            self.remark(
                call,
                f"{program} needs a network and a stage has none: give it"
                " network=Network.allow('its.host.example')",
            )
        outside = any(word.arg == "external" and _is_true(word.value) for word in call.keywords)
        name = str(command.words[0])
        if outside and name not in _EVERYWHERE:
            self.remark(call, f"{name} is not of the virtual environment: the image must have it")

    def _check_options(self, call: ast.Call) -> None:
        for word in call.keywords:
            if word.arg not in _CARRIED:
                shown = (
                    f"{word.arg}={source(word.value)}" if word.arg else f"**{source(word.value)}"
                )
                self.remark(call, f"`{shown}` is not carried over")

    def change_folder(self, call: ast.Call) -> None:
        """Follow session.chdir; Unresolved, and no known folder, where it leads elsewhere."""
        before, self.folder = self.folder, None
        moved, self.scope.moved = self.scope.moved, True
        if len(call.args) != 1:
            raise Unresolved("the folder is not known here")
        (target,) = texts(evaluate(call.args[0], attrs.evolve(self.scope, moved=moved)))
        start = "" if target.anchored else before
        if start is None:
            raise Unresolved("the current folder is not known here")
        folder = posixpath.normpath(posixpath.join(start, str(target)))
        if folder.startswith(("/", "..")):
            raise Unresolved("it leaves the folder of the noxfile")
        if not folder.isprintable():
            raise Unresolved("it is not a folder that a stage can have")
        self.folder = "" if folder == "." else folder


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
