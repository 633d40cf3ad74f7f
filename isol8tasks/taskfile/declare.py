"""The words of a task file: `stage`, `task` and `secret`."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar, Unpack

from isol8tasks.errors import Location
from isol8tasks.model.address import canonical
from isol8tasks.model.image import Image, ImageKind, LayerKind, env_pairs
from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.network import Network
from isol8tasks.model.stage import Command, Secret, Stage, Task
from isol8tasks.plan.suggest import did_you_mean
from isol8tasks.taskfile import check, path
from isol8tasks.taskfile.collect import call_site, current, declaring, here, shown
from isol8tasks.taskfile.source import python_source
from isol8tasks.taskfile.wrong import Wrong, described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Never

    T = TypeVar("T")
    D = TypeVar("D")

_EXAMPLES = {"image": "Image.python()", "run": "'pytest -q'"}
_EVERYTHING: tuple[None, tuple[str, ...]] = (None, ())


class PythonWords(TypedDict, total=False):
    """What `@stage.python(…)` takes; None means the default."""

    image: Required[Image]
    inputs: Sequence[str | Stage] | None
    outputs: Sequence[str] | None
    requires: Sequence[Stage | Task | str] | None
    stdin: str | bytes | None
    files: Mapping[str, str | bytes] | None
    env: Mapping[str, str] | None
    secrets: Sequence[Secret] | None
    network: Network | None
    timeout: str | float | None
    memory: str | int | None
    cpus: float | None
    pids: int | None
    disk: str | int | None
    output_limit: str | int | None
    retries: int | None
    allow_failure: bool | None
    cache: bool | None
    tags: Sequence[str] | None
    posargs: bool | None
    description: str | None
    workdir: str | None


class StageWords(PythonWords, total=False):
    """What `stage(name, …)` takes; None means the default."""

    run: Required[str | list[str] | tuple[str, ...]]


class StageWord:
    """Declares stages: `stage(name, image=…, run=…)`, or `@stage.python(image=…)`."""

    def __call__(self, name: str, *extra: Never, **words: Unpack[StageWords]) -> Stage:
        """Declare a stage that runs a command.

        `inputs` and `files` are relative to the task file's folder, `outputs` to `workdir`. Limits
        are durations (`500ms`, `30s`, `2m`, `1h` or seconds), sizes (`64k`, `512m`, `1g` or bytes)
        and numbers. TaskFileError, with the line, for what cannot be.
        """
        where = here()
        with declaring("stage() ", where):
            _check_words(extra, words, StageWords, ("image", "run"))
        with declaring("stage(): ", where):
            check.name(name)
        with declaring(f"stage '{name}': ", where):
            return _declare(name, _given(words, "run", check.run), words, where)

    def python(
        self, *extra: Never, **words: Unpack[PythonWords]
    ) -> Callable[[Callable[[], object]], Stage]:
        """Declare a stage whose program is the source of the decorated function.

        The function's name is the stage's, its docstring the description. It takes no arguments and
        uses no name from outside of itself. The other words are those of `stage`.
        """
        with declaring("stage.python() ", here()):
            if extra and callable(extra[0]):
                raise Wrong("needs image=", "write @stage.python(image=Image.python())")
            _check_words(extra, words, PythonWords, ("image",))
            _check_python(words["image"])

        def declare(function: Callable[[], object]) -> Stage:
            site = call_site()
            where = Location(shown(site[0]), site[1])
            source = python_source(function, site)
            with declaring(f"python stage '{source.name}': ", where):
                check.name(source.name)
                summary = first_paragraph(function.__doc__)
                return _declare(source.name, source, words, where, summary)

        return declare

    __call__.__qualname__ = "stage"  # for Python's own errors about arguments
    python.__qualname__ = "stage.python"


stage = StageWord()


def task(name: str, *members: Stage | Task | str, default: bool = False, **unknown: Never) -> Task:
    """Declare a named goal that stands for stages and other tasks.

    A pattern such as `//...:checks` stands for all of that name in the workspace.
    """
    where = here()
    with declaring("task() ", where):
        _check_unknown(unknown, ("default",))
    with declaring("task(): ", where):
        check.name(name)
    with declaring(f"task '{name}': ", where):
        names = tuple(dict.fromkeys(check.member(member) for member in members))
        if not names:
            raise Wrong("no members", f"write task('{name}', lint, unit)")
        is_default = _take({"default": default}, "default", check.flag, False)
    full = canonical(current().folder, name)
    declared = Task(name=full, members=names, declared_at=where, default=is_default)
    current().add_task(declared)
    return declared


def secret(name: str) -> Secret:
    """A variable that a stage gets from the environment of the run; masked in all output."""
    with declaring("secret(): ", here()):
        return Secret(check.secret_name(name))


def first_paragraph(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(cleandoc(docstring or "").partition("\n\n")[0].split())


def _declare(
    name: str, command: Command, words: Mapping[str, Any], where: Location, summary: str = ""
) -> Stage:
    folder = current().folder
    globs, stages = _take(words, "inputs", check.inputs, _EVERYTHING)
    declared = Stage(
        name=canonical(folder, name),
        folder=folder,
        image=_given(words, "image", check.image),
        command=command,
        declared_at=where,
        description=_take(words, "description", check.text, summary).strip(),
        inputs=globs,
        input_stages=stages,
        outputs=_take(words, "outputs", check.globs, ()),
        requires=_take(words, "requires", check.requires, ()),
        stdin=_take(words, "stdin", check.content, b""),
        files=_take(words, "files", check.files, ()),
        env=env_pairs({} if words.get("env") is None else words["env"]),
        secrets=_take(words, "secrets", check.secrets, ()),
        network=_take(words, "network", check.network, Network()),
        limits=Limits.of(**{word: words.get(word) for word in Limit}),
        retries=_take(words, "retries", check.count, 0),
        allow_failure=_take(words, "allow_failure", check.flag, False),
        cache=_take(words, "cache", check.flag, None),
        tags=_take(words, "tags", check.tags, ()),
        posargs=_take(words, "posargs", check.flag, False),
        workdir=_take(words, "workdir", path.workdir, ""),
    )
    _check_variables(declared)
    current().add_stage(declared)
    return declared


def _given(words: Mapping[str, Any], word: str, convert: Callable[[object], T]) -> T:
    try:
        return convert(words[word])
    except Wrong as error:
        raise Wrong(f"{word}: {error.message}", error.hint) from error


def _take(words: Mapping[str, Any], word: str, convert: Callable[[object], T], default: D) -> T | D:
    return default if words.get(word) is None else _given(words, word, convert)


def _check_words(
    extra: tuple[object, ...], words: Mapping[str, object], known: type, needed: tuple[str, ...]
) -> None:
    if extra:
        word = "image" if isinstance(extra[0], Image) else needed[-1]
        hint = f"write every value with its word, as in {word}={_EXAMPLES[word]}"
        raise Wrong(f"was given {described(extra[0])} without its word", hint)
    _check_unknown(words, tuple(known.__annotations__))
    for word in needed:
        if words.get(word) is None:
            raise Wrong(f"needs {word}=", f"write {word}={_EXAMPLES[word]}")


def _check_unknown(words: Mapping[str, object], known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            guess = did_you_mean(word, known)
            raise Wrong(f"has no '{word}'{guess}", f"it takes {', '.join(sorted(known))}")


def _check_python(image: object) -> None:
    """Of an engine's image nobody knows before it is there."""
    if not isinstance(image, Image) or image.kind not in {ImageKind.BASH, ImageKind.NODE}:
        return
    if not any(layer.kind is LayerKind.PIP for layer in image.layers):
        raise Wrong(f"image: {image} has no python", "write image=Image.python()")


def _check_variables(stage: Stage) -> None:
    variables = dict(stage.env)
    for secret in stage.secrets:
        if secret.name in variables:
            raise Wrong(f"env and secrets both give {secret.name}", "leave it in one of them")
