"""The body of a session, statement by statement."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import attrs

from isol8tasks.cli.noxfile.evaluate import asks_for_posargs, evaluate, truth, with_default
from isol8tasks.cli.noxfile.recorder import Recorder
from isol8tasks.cli.noxfile.scope import imports, source
from isol8tasks.cli.noxfile.values import AskedForPosargs, Posargs, Unknown, Unresolved

_MOST_STEPS = 2000


@attrs.define(kw_only=True)
class Body(Recorder):
    """Follows the statements as far as their effect is known without executing them."""

    steps: int = 0

    def run(self, statements: Sequence[ast.stmt]) -> None:
        """Take statements in order, until one ends the session."""
        for statement in statements:
            if self.ended:
                return
            self.steps += 1
            if self.steps > _MOST_STEPS:
                self.remark(statement, "the rest of the session is too long to follow")
                self.ended = True
                return
            self._take(statement)

    def _take(self, statement: ast.stmt) -> None:
        try:
            getattr(self, f"_on_{type(statement).__name__.lower()}", self._python)(statement)
        except Unresolved as error:
            self.remark(statement, f"`{source(statement)}` is not carried over: {error}")

    def _python(self, node: ast.stmt) -> None:
        several = isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match)
        what = f"`{source(node).partition(':')[0] if several else source(node)}`"
        self.remark(node, f"{what} is Python code, which is not carried over", code=several)

    def _on_pass(self, _: ast.stmt) -> None:
        pass

    _on_functiondef = _on_classdef = _on_pass

    def _on_return(self, _: ast.stmt) -> None:
        self.ended = True

    def _on_raise(self, node: ast.stmt) -> None:
        self.remark(node, f"`{source(node)}` ends the session here")
        self.ended = True

    def _on_expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        call = node.value
        if not isinstance(call, ast.Call) or not (self.call(call) or self._grows(call)):
            self._python(node)

    def _on_assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value is None:
            return
        if len(targets) == 1 and self._assigns_env(targets[0], node.value):
            return
        try:
            value = evaluate(node.value, self.scope)
        except Unresolved as error:
            self._forget(targets, node.lineno)
            before = len(self.remarks)
            if isinstance(node.value, ast.Call) and self.call(node.value):
                if len(self.remarks) == before:
                    self.remark(node, f"`{source(node)}`: the output is known only when nox runs")
                return
            if any(isinstance(inner, ast.Call) for inner in ast.walk(node.value)):
                raise Unresolved(str(error)) from error
            return  # it does nothing, and whoever uses the name is told
        for target in targets:
            self._bind(target, value, node.lineno)

    _on_annassign = _on_assign

    def _assigns_env(self, target: ast.expr, value: ast.expr) -> bool:
        """`session.env["NAME"] = …`."""
        if not isinstance(target, ast.Subscript) or self.scope.of_session(target.value) != "env":
            return False
        entry = ast.Dict(keys=[target.slice], values=[value])
        self.env |= self.variables(ast.copy_location(entry, value))
        return True

    def _bind(self, target: ast.expr, value: object, line: int) -> None:
        match target, value:
            case ast.Name(), _:
                self.scope.names[target.id] = value
            case ((ast.Tuple() | ast.List()), tuple()) if len(target.elts) == len(value):
                for inner, item in zip(target.elts, value, strict=True):
                    self._bind(inner, item, line)
            case _:
                self._forget([target], line)

    def _forget(self, targets: Sequence[ast.expr], line: int) -> None:
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name) and not self.scope.is_session(node):
                    self.scope.names[node.id] = Unknown(line)

    def _on_augassign(self, node: ast.AugAssign) -> None:
        if not isinstance(node.target, ast.Name):
            raise Unresolved("what it changes is not known here")
        whole = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        try:
            value = evaluate(ast.copy_location(whole, node), self.scope)
        except Unresolved:
            self._forget([node.target], node.lineno)
            raise
        self.scope.names[node.target.id] = value

    def _on_import(self, node: ast.Import | ast.ImportFrom) -> None:
        imported = imports(node)
        self.scope.imports = {**self.scope.imports, **imported}
        for name in imported:
            self.scope.names.pop(name, None)

    _on_importfrom = _on_import

    def _on_if(self, node: ast.If) -> None:
        try:
            taken = node.body if truth(node.test, self.scope) else node.orelse
        except AskedForPosargs:
            self._if_posargs(node)
            return
        except Unresolved as error:
            self._forget_assigned(node)
            self.remark(node, f"`if {source(node.test)}`: {error}", code=True)
            return
        self.run(taken)

    def _if_posargs(self, node: ast.If) -> None:
        """Defaults for posargs are carried over as such; else the branch without any is taken."""
        try:
            taken = truth(node.test, self.scope.without_posargs())
        except Unresolved as error:
            self._forget_assigned(node)
            self.remark(node, f"`if {source(node.test)}`: {error}", code=True)
            return
        without = self._branch(node.body if taken else node.orelse)
        given = self._branch(node.orelse if taken else node.body)
        if asks_for_posargs(node.test, self.scope) is not None and self._merges(given, without):
            return
        for word in attrs.fields_dict(Body):
            setattr(self, word, getattr(without, word))
        self.steps = given.steps
        reason = "carried over as it is without arguments after `--`"
        self.remark(node, f"`if {source(node.test)}`: {reason}", code=True)

    def _branch(self, statements: Sequence[ast.stmt]) -> Body:
        scope = attrs.evolve(self.scope, names=dict(self.scope.names))
        branch = attrs.evolve(
            self,
            scope=scope,
            commands=[*self.commands],
            packages=[*self.packages],
            sources=[*self.sources],
            remarks=[*self.remarks],
            env={**self.env},
        )
        branch.run(statements)
        self.steps = branch.steps
        return branch

    def _merges(self, given: Body, otherwise: Body) -> bool:
        """Whether both branches only set names, to values that one word can stand for."""
        for word in ("commands", "packages", "sources", "remarks", "env", "folder", "ended"):
            if not getattr(given, word) == getattr(otherwise, word) == getattr(self, word):
                return False
        names = {}
        for name in {**given.scope.names, **otherwise.scope.names}:
            some = given.scope.names.get(name)
            none = otherwise.scope.names.get(name)
            try:
                names[name] = some if some == none else with_default(some, none)
            except Unresolved:
                return False
        self.scope.names = names
        return True

    def _on_for(self, node: ast.For) -> None:
        jumps = (ast.Break, ast.Continue)
        if node.orelse or any(isinstance(inner, jumps) for inner in ast.walk(node)):
            self._forget_assigned(node)
            self._python(node)
            return
        try:
            items = evaluate(node.iter, self.scope)
            if not isinstance(items, tuple) or any(isinstance(item, Posargs) for item in items):
                raise Unresolved("what it goes through is not known here")
        except Unresolved as error:
            self._forget_assigned(node)
            shown = f"for {source(node.target)} in {source(node.iter)}"
            self.remark(node, f"`{shown}`: {error}", code=True)
            return
        for item in items:
            self._bind(node.target, item, node.lineno)
            self.run(node.body)

    def _forget_assigned(self, node: ast.stmt) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                self._forget([inner], node.lineno)
            elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                owner = inner.func.value  # `args.append(…)` under a condition that nobody knows
                if isinstance(owner, ast.Name) and owner.id in self.scope.names:
                    self._forget([owner], node.lineno)
                elif self.scope.of_session(inner.func) in {"chdir", "cd"}:
                    self.folder = None

    def _on_with(self, node: ast.With) -> None:
        call = node.items[0].context_expr
        changes = isinstance(call, ast.Call) and self.scope.of_session(call.func) in {"chdir", "cd"}
        if len(node.items) > 1 or not changes:
            self._forget_assigned(node)
            self._python(node)
            return
        before = self.folder
        assert isinstance(call, ast.Call)  # noqa: S101 -- for the type checker
        self.change_folder(call)
        self.run(node.body)
        self.folder = before

    def _on_try(self, node: ast.Try) -> None:
        if node.handlers:
            self.remark(node, "`except`: what is done after a failure is not carried over")
        if node.finalbody:
            self.remark(node, "`finally`: carried over as if it came after a success only")
        self.run([*node.body, *node.orelse])
        ended, self.ended = self.ended, False
        self.run(node.finalbody)
        self.ended = self.ended or ended

    def _grows(self, call: ast.Call) -> bool:
        func = call.func
        if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
            return False
        name = func.value.id
        known = self.scope.names.get(name)
        if not isinstance(known, tuple) or func.attr not in {"append", "extend", "insert"}:
            return False
        self.scope.names[name] = Unknown(call.lineno)
        values = tuple(evaluate(argument, self.scope) for argument in call.args)
        match func.attr, values:
            case "append", (value,):
                self.scope.names[name] = (*known, value)
            case "extend", (tuple() as more,):
                self.scope.names[name] = (*known, *more)
            case "insert", (0, value):
                self.scope.names[name] = (value, *known)
            case _:
                return False
        return True
