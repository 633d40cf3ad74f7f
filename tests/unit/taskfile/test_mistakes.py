"""Every mistake in a declaration: the whole error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Fail = Callable[[str], tuple[str, str, str]]


NAME_HINT = (
    "a name has up to 100 of the characters A-Z a-z 0-9 . _ + - and starts with a letter or a digit"
)
RUN_HINT = (
    "write a string for a shell command, a list of strings for several in order, "
    "or a tuple for a program and its arguments"
)
PYTHON_WORDS = (
    "allow_failure, cache, cpus, description, disk, env, files, image, inputs, memory, network, "
    "output_limit, outputs, pids, posargs, requires, retries, {}secrets, stdin, tags, timeout, "
    "workdir"
)
BELOW_HINT = "write a path below the task file's folder, without '..'"
DURATION = "write 500ms, 30s, 2m, 1h or seconds"
SIZE = "write 64k, 512m, 1g or bytes"
COUNT = "write 1, 2, 3 …"
REFERENCE_HINT = "write lint or 'lint', each on its own"
TRACEBACK = "run 'python isol8file.py' to see the whole traceback"

WORDS = [
    # a word of stage(), what the message says after "stage 'a': ", the hint
    (
        "image='python:3.12'",
        "image: 'python:3.12' is not an Image",
        "write image=Image.python('3.12')",
    ),
    (
        "image=Image.python",
        "image: the method 'python' is not an Image",
        "write image=Image.python()",
    ),
    ("run=''", "run: '' is not a command", RUN_HINT),
    ("run=[]", "run: [] is not a command", RUN_HINT),
    ("run=()", "run: () is not a command", RUN_HINT),
    ("run=3", "run: 3 is not a command", RUN_HINT),
    ("run=['x', ('y',)]", "run: ('y',) is not a command", RUN_HINT),
    ("run=('x', 3)", "run: 3 is not a string", "write a string"),
    ("run=('', 'x')", "run: '' is not a command", RUN_HINT),
    ("run='a\\0b'", "run: a command has a NUL character", "pass such bytes by stdin= or files="),
    (
        "run='x' * 131072",
        "run: a command is longer than 128 KiB",
        "put it into a file with files=",
    ),
    (
        "run='\\ud800'",
        "run: '\\ud800' cannot be written as UTF-8",
        "use bytes with files=",
    ),
    ("inputs='src/**'", "inputs: 'src/**' is not a list", "write ['src/**']"),
    ("inputs={'x'}", "inputs: {'x'} is not a list", "write ['src/**']"),
    ("inputs=[3]", "inputs: 3 is neither a glob nor a stage", "write 'src/**', or a stage"),
    (
        "inputs=[task('t', 'x')]",
        "inputs: the task 't' is neither a glob nor a stage",
        "write 'src/**', or a stage",
    ),
    (
        "inputs=['/etc/passwd']",
        "inputs: '/etc/passwd' is outside: it leaves the workspace root",
        BELOW_HINT,
    ),
    ("inputs=['../x']", "inputs: '../x' is outside: it leaves the workspace root", BELOW_HINT),
    ("inputs=['a/../b']", "inputs: 'a/../b' is outside: it leaves the workspace root", BELOW_HINT),
    ("inputs=['']", "inputs: '' is not a glob", "write a path below the task file's folder"),
    (
        "inputs=['./']",
        "inputs: './' is not a glob",
        "write '**' for everything below the task file's folder",
    ),
    (
        "inputs=['a\\nb']",
        "inputs: 'a\\nb' is not a glob: it has a control character",
        "leave the character out",
    ),
    (
        "inputs=['a\\0b']",
        "inputs: 'a\\x00b' is not a glob: it has a control character",
        "leave the character out",
    ),
    (
        "inputs=['a\\\\']",
        "inputs: 'a\\\\' ends with a backslash",
        "write \\\\ for a backslash in a name",
    ),
    (
        "inputs=['[ab']",
        "inputs: '[ab' has a '[' without its ']'",
        "write \\[ for a bracket in a name",
    ),
    (
        "inputs=['[a/b]']",
        "inputs: '[a/b]' has a '[' without its ']'",
        "write \\[ for a bracket in a name",
    ),
    (
        "inputs=['x[]']",
        "inputs: 'x[]' has a '[' without its ']'",
        "write \\[ for a bracket in a name",
    ),
    (
        "inputs=['[!]']",
        "inputs: '[!]' has a '[' without its ']'",
        "write \\[ for a bracket in a name",
    ),
    (
        "inputs=['[z-a]']",
        "inputs: '[z-a]' has a bad character range '[z-a]'",
        "write single characters and ranges such as [a-z0-9_]",
    ),
    (
        "inputs=['[[:alpha:]]']",
        "inputs: '[[:alpha:]]' has a bad character range '[[:alpha:]'",
        "write single characters and ranges such as [a-z0-9_]",
    ),
    (
        "inputs=['a**b']",
        "inputs: 'a**b' has a '**' that is not a whole part",
        "write 'src/**/*.py'",
    ),
    ("inputs=['***']", "inputs: '***' has a '**' that is not a whole part", "write 'src/**/*.py'"),
    ("inputs=['!x']", "inputs: '!x' begins with '!', but a glob only adds", "name what is wanted"),
    (
        "inputs=['x ']",
        "inputs: 'x ' begins or ends with white space",
        "write ? for the white space",
    ),
    (
        "inputs=['.isol8tasks/x']",
        "inputs: '.isol8tasks/x' is in .isol8tasks, the folder of isol8tasks itself",
        "choose another path",
    ),
    ("outputs='x.xml'", "outputs: 'x.xml' is not a list", "write ['x.xml']"),
    ("outputs=['../x']", "outputs: '../x' is outside: it leaves the workspace root", BELOW_HINT),
    (
        "outputs=['[']",
        "outputs: '[' has a '[' without its ']'",
        "write \\[ for a bracket in a name",
    ),
    ("workdir='/tmp'", "workdir: '/tmp' is outside: it leaves the workspace root", BELOW_HINT),
    ("workdir='..'", "workdir: '..' is outside: it leaves the workspace root", BELOW_HINT),
    ("workdir=3", "workdir: 3 is not a path", "write a path below the task file's folder"),
    ("files={'/x': ''}", "files: '/x' is outside: it leaves the workspace root", BELOW_HINT),
    ("files={'../x': ''}", "files: '../x' is outside: it leaves the workspace root", BELOW_HINT),
    ("files={'x': 3}", "files: 'x': 3 is neither text nor bytes", "write a string or bytes"),
    (
        "files={'x': '', './x': ''}",
        "files: './x' is there twice",
        "give each file a path of its own",
    ),
    (
        "files=['x']",
        "files: ['x'] is not a mapping of paths to text or bytes",
        "write {'path': 'text'}",
    ),
    ("requires='lint'", "requires: 'lint' is not a list", "write ['lint']"),
    ("requires=[3]", "requires: 3 is not a stage, a task or a name", REFERENCE_HINT),
    ("requires=[['x']]", "requires: ['x'] is not a stage, a task or a name", REFERENCE_HINT),
    ("requires=['a b']", "requires: 'a b' is not a name", NAME_HINT),
    ("stdin=3", "stdin: 3 is neither text nor bytes", "write a string or bytes"),
    ("env={'a-b': '1'}", "env: 'a-b' is not the name of a variable", "write {'A': 'b'}"),
    ("env={'A': 1}", "env: A: 1 is not a string", "write {'A': 'value'}"),
    ("env=['A']", "env: ['A'] is not a mapping", "write {'A': 'b'}"),
    ("secrets=['T']", "secrets: 'T' is not a secret", "write secrets=[secret('TOKEN')]"),
    (
        "secrets=secret('T')",
        "secrets: Secret(name='T') is not a list",
        "write [secret('TOKEN')]",
    ),
    (
        "env={'T': '1'}, secrets=[secret('T')]",
        "env and secrets both give T",
        "leave it in one of them",
    ),
    (
        "network='none'",
        "network: 'none' is not a Network",
        "write Network.none() or Network.host()",
    ),
    ("timeout='30 s'", "timeout: '30 s' is not a duration", DURATION),
    ("timeout='٣s'", "timeout: '٣s' is not a duration", DURATION),
    ("timeout=0", "timeout: 0 is not a duration above zero", DURATION),
    ("timeout='0s'", "timeout: '0s' is not a duration above zero", DURATION),
    ("timeout=True", "timeout: True is not a duration", DURATION),
    ("timeout='9000h'", "timeout: '9000h' is too large for a duration", DURATION),
    ("memory='512mb'", "memory: '512mb' is not a size", SIZE),
    ("memory=1.5", "memory: 1.5 is not a size", SIZE),
    (
        "memory='512'",
        "memory: '512' is less than 1m",
        "write 512m; a number without a unit is bytes",
    ),
    ("disk='1x'", "disk: '1x' is not a size", SIZE),
    ("output_limit=[]", "output_limit: [] is not a size", SIZE),
    ("cpus='two'", "cpus: 'two' is not a number of cpus", "write 0.5, 1, 2 …"),
    ("pids=-1", "pids: -1 is not a whole number above zero", COUNT),
    ("pids=1.5", "pids: 1.5 is not a whole number", COUNT),
    ("retries=-1", "retries: -1 is not a whole number from 0", "write 0, 1, 2 …"),
    ("retries=True", "retries: True is not a whole number from 0", "write 0, 1, 2 …"),
    ("allow_failure='yes'", "allow_failure: 'yes' is not a truth value", "write True or False"),
    ("cache=1", "cache: 1 is not a truth value", "write True or False"),
    ("posargs=1", "posargs: 1 is not a truth value", "write True or False"),
    ("tags='slow'", "tags: 'slow' is not a list", "write ['slow']"),
    ("tags=['a b']", "tags: 'a b' is not a tag", "write a word such as 'slow'"),
    ("description=3", "description: 3 is not a string", "write a string"),
]


@pytest.mark.parametrize(("word", "message", "hint"), WORDS)
def test_wrong_value(mistake: Fail, word: str, message: str, hint: str) -> None:
    given = {"image": "image=py", "run": "run='x'"}
    given.pop(word.partition("=")[0], None)
    text = f"\n\nstage('a', {', '.join(given.values())},\n      {word})\n"
    assert mistake(text) == ("isol8file.py:5", f"stage 'a': {message}", hint)


CALLS = [
    (
        "stage('a', image=py, run='x', input=['src'])",
        "stage() has no 'input'; did you mean 'inputs'?",
        "it takes " + PYTHON_WORDS.format("run, "),
    ),
    (
        "stage('a', image=py, run='x', zzz=1)",
        "stage() has no 'zzz'",
        "it takes " + PYTHON_WORDS.format("run, "),
    ),
    (
        "stage('a', 'echo', image=py)",
        "stage() was given 'echo' without its word",
        "write every value with its word, as in run='pytest -q'",
    ),
    (
        "stage('a', Image.bash(), run='x')",
        "stage() was given the image 'bash' without its word",
        "write every value with its word, as in image=Image.python()",
    ),
    ("stage('a', run='x')", "stage() needs image=", "write image=Image.python()"),
    ("stage('a', image=py)", "stage() needs run=", "write run='pytest -q'"),
    (
        "stage(image=py, run='x')",
        "TypeError: stage() missing 1 required positional argument: 'name'",
        TRACEBACK,
    ),
    ("stage('a b', image=py, run='x')", "stage(): 'a b' is not a name", NAME_HINT),
    ("stage('../a', image=py, run='x')", "stage(): '../a' is not a name", NAME_HINT),
    ("stage('', image=py, run='x')", "stage(): '' is not a name", NAME_HINT),
    (
        "stage('a' * 101, image=py, run='x')",
        f"stage(): '{'a' * 59}… is not a name",
        NAME_HINT,
    ),
    ("stage(py, image=py, run='x')", "stage(): the image 'python' is not a name", NAME_HINT),
    (
        "@stage.python\ndef f(): ...",
        "stage.python() needs image=",
        "write @stage.python(image=Image.python())",
    ),
    ("@stage.python()\ndef f(): ...", "stage.python() needs image=", "write image=Image.python()"),
    (
        "@stage.python(image=py, run='x')\ndef f(): ...",
        "stage.python() has no 'run'",
        "it takes " + PYTHON_WORDS.format(""),
    ),
    (
        "@stage.python(image=py, timeuot='3s')\ndef f(): ...",
        "stage.python() has no 'timeuot'; did you mean 'timeout'?",
        "it takes " + PYTHON_WORDS.format(""),
    ),
    (
        "@stage.python(image=py, inputs='x')\ndef f(): ...",
        "python stage 'f': inputs: 'x' is not a list",
        "write ['x']",
    ),
    ("@stage.python(image=py)\ndef _f(): ...", "python stage '_f': '_f' is not a name", NAME_HINT),
    ("task('t')", "task 't': no members", "write task('t', lint, unit)"),
    ("task('t', ['a'])", "task 't': ['a'] is not a stage, a task or a name", REFERENCE_HINT),
    ("task('t t', 'a')", "task(): 't t' is not a name", NAME_HINT),
    (
        "task('t', 'a', defualt=True)",
        "task() has no 'defualt'; did you mean 'default'?",
        "it takes default",
    ),
    (
        "task('t', 'a', default=1)",
        "task 't': default: 1 is not a truth value",
        "write True or False",
    ),
    ("secret('a-b')", "secret(): 'a-b' is not the name of a variable", "write secret('TOKEN')"),
    # Values of the model, which know neither stage nor line themselves.
    ("Image.python('3.x')", "Image.python(): '3.x' is not a version", "write '3.12' or '22'"),
    ("Image('a b')", "'a b' is not the name of an image", "write Image('name:tag')"),
    ("Image('')", "'' is not the name of an image", "write Image('name:tag')"),
    ("Image(3)", "3 is not an image", "write Image('name:tag')"),
    ("py.pip()", "Image.pip() needs a package", "write pip('name')"),
    (
        "py.pip('--index-url=x')",
        "Image.pip(): '--index-url=x' is an option",
        "write the name of a package",
    ),
    ("py.run('')", "Image.run() needs a shell command", "write Image.run('make')"),
    ("py.env(A=1)", "env: A: 1 is not a string", "write {'A': 'value'}"),
    ("py.file('../x', '/y')", "'../x' is outside the workspace root", "write 'folder/name'"),
    ("py.file('x', 'y')", "Image.file(): 'y' is not absolute", "write '/etc/name'"),
    ("py.file('x', '/../y')", "Image.file(): '/../y' has a '..' in it", "write '/etc/name'"),
    ("Network.allow()", "Network.allow() needs a host", "write Network.allow('example.org')"),
    (
        "Network.allow('http://x')",
        "'http://x' is not a host name",
        "write example.org or *.example.org",
    ),
    ("Network.allow('x', deny='no')", "deny='no' is not known", "write deny='fail'"),
]


@pytest.mark.parametrize(("text", "message", "hint"), CALLS)
def test_wrong_call(mistake: Fail, text: str, message: str, hint: str) -> None:
    assert mistake(f"\n{text}\n") == ("isol8file.py:4", message, hint)


ONE_NAME = "give each stage and each task a name of its own"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "stage('a', image=py, run='x')\nstage('a', image=py, run='y')\n",
            "stage 'a' has the name of the stage declared at isol8file.py:3",
            ONE_NAME,
        ),
        (
            "stage('a', image=py, run='x')\n@stage.python(image=py)\ndef a(): ...\n",
            "stage 'a' has the name of the stage declared at isol8file.py:3",
            ONE_NAME,
        ),
        (
            "stage('a', image=py, run='x')\ntask('a', 'a')\n",
            "task 'a' has the name of the stage declared at isol8file.py:3",
            ONE_NAME,
        ),
        (
            "task('a', 'b')\nstage('a', image=py, run='x')\n",
            "stage 'a' has the name of the task declared at isol8file.py:3",
            ONE_NAME,
        ),
        (
            "task('a', 'b', default=True)\ntask('c', 'b', default=True)\n",
            "task 'c' is the second default: the first is 'a' at isol8file.py:3",
            "leave default=True on one of them",
        ),
    ],
)
def test_taken(mistake: Fail, text: str, message: str, hint: str) -> None:
    assert mistake(text) == ("isol8file.py:4", message, hint)


def test_same_name_in_a_loop(mistake: Fail) -> None:
    where, message, _ = mistake("for _ in range(2):\n    stage('a', image=py, run='x')\n")
    assert where == "isol8file.py:4"
    assert message == "stage 'a' has the name of the stage declared at isol8file.py:4"
