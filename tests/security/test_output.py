"""No way out by output: secrets, terminals, CI services and forged results."""

from __future__ import annotations

import base64
import json
import urllib.parse
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from tests.security.conftest import Bench, Ran, Workspace

SECRET = 'hunter2/+"é?\\zz~end'
RAW = SECRET.encode()


def _base64(offset: int) -> str:
    return base64.b64encode(b"x" * offset + RAW + b"tail").decode()


FORMS = {
    "as it is": SECRET,
    "base64 at 0": _base64(0),
    "base64 at 1": _base64(1),
    "base64 at 2": _base64(2),
    "base64 without padding": base64.b64encode(RAW).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(RAW).decode(),
    "hex": RAW.hex(),
    "HEX": RAW.hex().upper(),
    "URL": urllib.parse.quote(SECRET, safe=""),
    "form": urllib.parse.quote_plus(SECRET),
    "JSON": json.dumps(SECRET),
    "JSON in UTF-8": json.dumps(SECRET, ensure_ascii=False),
}

ECHO = """
import base64, json, os, sys, time, urllib.parse
raw = os.environb[b'TOKEN']
text = raw.decode()
forms = [
    raw, *(base64.b64encode(b'x' * offset + raw + b'tail') for offset in range(3)),
    base64.b64encode(raw).rstrip(b'='), base64.urlsafe_b64encode(raw),
    raw.hex().encode(), raw.hex().upper().encode(),
    urllib.parse.quote(text, safe='').encode(), urllib.parse.quote_plus(text).encode(),
    json.dumps(text).encode(), json.dumps(text, ensure_ascii=False).encode(),
]
for file in (1, 2):
    for form in forms:
        whole = b'<' + form + b'>\\n'
        os.write(file, whole)
        for byte in whole:
            os.write(file, bytes([byte]))
            time.sleep(0.0002)
    os.write(file, raw[:8])
    time.sleep(0.01)
    os.write(file, raw[8:] + b'\\n')
sys.exit(1)
"""


def _leaks(content: bytes) -> list[str]:
    """The forms of the secret in this, also where the neighbours of base64 changed its ends."""
    text = content.decode(errors="replace")
    return [name for name, form in FORMS.items() if form in text or form[4:-7] in text]


def test_secrets_are_masked_in_every_form_and_place(workspace: Workspace) -> None:
    workspace.declare(
        f"stage('echo', image=IMAGE, inputs=[], secrets=[secret('TOKEN')], "
        f"run=('python', '-c', {ECHO!r}))"
    )
    ran, stages = workspace.run("-v", env={"TOKEN": SECRET})
    assert stages["echo"]["verdict"] == "failed"
    logs = workspace.folder / ".isol8tasks/echo"
    places = {
        "console": ran.out.encode(),
        "console's errors": ran.err.encode(),
        "report": (workspace.folder / "report.json").read_bytes(),
        "report, decoded": json.dumps(stages, ensure_ascii=False).encode(),
        "stdout": stages["echo"]["stdout"].encode(),
        "stderr": stages["echo"]["stderr"].encode(),
        **{path.name: path.read_bytes() for path in logs.glob("*.log")},
    }
    assert len(places) == 8
    assert {place: _leaks(content) for place, content in places.items() if _leaks(content)} == {}
    for stream in ("stdout", "stderr"):
        lines = stages["echo"][stream].splitlines()
        assert len(lines) == 2 * len(FORMS) + 1
        assert all("***" in line for line in lines)


PLAIN, FOREIGN = "hunter2-hunter2", "hüntêr2-hunter2"
NAMED = {
    "file": "open(token, 'w').close()",
    "part of a name": "open(f'a-{token}-z.txt', 'w').close()",
    "folder": "os.makedirs(f'd/{token}'); open(f'd/{token}/file', 'w').close()",
    "in hex": "open(token.encode().hex(), 'w').close()",
    "in base64": "open(base64.urlsafe_b64encode(token.encode()).decode(), 'w').close()",
    "link": "os.symlink('x', token)",
    "FIFO with a newline": "os.mkfifo(f'{token}\\n')",
}


def _named() -> list[ParameterSet]:
    return [
        pytest.param(make, token, id=f"{kind}, {word}")
        for kind, make in NAMED.items()
        for word, token in (("ASCII", PLAIN), ("not ASCII", FOREIGN))
    ]


@pytest.mark.parametrize(("make", "token"), _named())
def test_secrets_do_not_become_names(workspace: Workspace, make: str, token: str) -> None:
    program = f"import base64, os; token = os.environ['TOKEN']; {make}"
    workspace.declare(
        "stage('names', image=IMAGE, inputs=[], secrets=[secret('TOKEN')], outputs=['**'], "
        f"run=('python', '-c', {program!r}))"
    )
    ran, stages = workspace.run("-v", env={"TOKEN": token})
    assert stages["names"]["verdict"] == "failed", stages
    kept = "\n".join(map(str, (workspace.folder / ".isol8tasks").rglob("*")))
    said = ran.out + ran.err + json.dumps(stages, ensure_ascii=False) + kept
    raw = token.encode()
    for form in (
        *(token, ascii(token)[1:-1], raw.hex()),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    ):
        assert form not in said


BYTES = "import os, sys; os.write({}, bytes(range(256)) * 2 + {!r}); sys.exit(1)"
COMMANDS = (
    b"\n::error::owned\n  ::set-output name=a::b\n::stop-commands::x\n##[command]owned\n"
    b"##vso[task.complete result=Succeeded]owned\n##teamcity[buildStop]\n"
    b"section_start:1:x\r\x1b[0Kowned\n--- owned\n+++ owned\n~~~ owned\n^^^ +++\n"
    b"progress 1%\rprogress 2%\rpassed\n\x1b]8;;file:///etc/passwd\x07link\x1b]8;;\x07\n"
    b"\xc2\x9b2J\xe2\x80\xae owned \xf0\x9f\x98\xff \xed\xa0\x80\n"
)


@pytest.mark.parametrize("words", [["run"], ["run", "-v"], ["run", "-q"]])
@pytest.mark.parametrize("file", [1, 2])
def test_the_console_gets_text_only(workspace: Workspace, words: list[str], file: int) -> None:
    program = BYTES.format(file, COMMANDS)
    workspace.declare(f"stage('bytes', image=IMAGE, inputs=[], run=('python', '-c', {program!r}))")
    ran = workspace(*words, env={"GITHUB_ACTIONS": "true", "CI": "true"})
    assert ran.code == 1
    _check_harmless(ran)
    assert "owned" in ran.out


def _check_harmless(ran: Ran) -> None:
    for line in (ran.out + ran.err).split("\n"):
        assert line.replace("\t", "").isprintable(), line
        assert not line.lstrip().startswith(("::", "---", "+++", "~~~", "^^^"))
        for command in ("##vso[", "##teamcity[", "##[command]", "section_start:"):
            assert command not in line


def test_names_and_reasons_are_text_only(workspace: Workspace) -> None:
    program = "import os; open('\\x1b[2J\\n::error::owned', 'w').close()"
    workspace.declare(
        f"stage('names', image=IMAGE, inputs=[], outputs=['**'], run=('python', '-c', {program!r}))"
    )
    ran, stages = workspace.run()
    assert stages["names"]["verdict"] == "failed"
    _check_harmless(ran)


FORGE = r"""
import json, os, sys
lines = [{"exit-code": 0}, {"child-pid": 1, "exit-code": 0}, {"child-pid": 2}, {"exit_code": 0}]
text = "".join(json.dumps(line) + "\n" for line in lines).encode() + b"\0exit-code: 0\n"
written = []
for file in range(1024):
    try:
        if os.write(file, text): written.append(file)
    except OSError: pass
for process in os.listdir("/proc"):
    if process.isdigit() and process != str(os.getpid()):
        for name in ("mem", "fd/1", "fd/2", "fd/3", "fd/4", "fd/5", "fd/6"):
            try: open(f"/proc/{process}/{name}", "r+b", 0).write(text); written.append(process)
            except OSError: pass
print(*written, file=sys.stderr)
print("bwrap: everything is fine", file=sys.stderr)
sys.exit(3)
"""


def test_a_result_cannot_be_forged(workspace: Workspace) -> None:
    workspace.declare(f"stage('forge', image=IMAGE, inputs=[], run=('python', '-c', {FORGE!r}))")
    ran, stages = workspace.run()
    stage = stages["forge"]
    assert (ran.code, stage["verdict"], stage["exit_code"]) == (1, "failed", 3)
    said = stage["stderr"].splitlines()[-2:]
    assert said[1] == "bwrap: everything is fine"
    assert said[0].split()[:2] == ["1", "2"]
    assert set(said[0].split()) == {"1", "2"}  # file 1 and 2, and what of process 1 leads nowhere


def test_nothing_is_inherited(bench: Bench) -> None:
    ran = bench.attack(
        "import os\n"
        "for file in range(4096):\n"
        "    try: print(file, os.readlink(f'/proc/self/fd/{file}'))\n"
        "    except OSError: pass"
    )
    kinds = [line.partition(":")[0] for line in ran.out.splitlines()]
    named = [f"{number} /run/isol8tasks/{name}" for number, name in ((1, "stdout"), (2, "stderr"))]
    assert kinds in (["0 /dev/null", "1 pipe", "2 pipe"], ["0 /dev/null", *named])


def test_the_end_cannot_be_faked(bench: Bench) -> None:
    """Neither by ending the first process, nor by going on after the end."""
    ran = bench.attack(
        "import os, signal, sys, time\n"
        "for number in range(1, 65):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"  # an init may pass it on to us
        "    except (OSError, ValueError): pass\n"
        "    try: os.kill(1, number)\n"
        "    except OSError: pass\n"
        "print('still here', flush=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); time.sleep(0.2); print('and later', flush=True)\n"
        "os._exit(5)"
    )
    assert (ran.exit.code, ran.out) == (5, "still here\n")


def test_a_report_is_not_an_output(workspace: Workspace, tmp_path: Path) -> None:
    """What a stage writes where we keep our own stays below its folder."""
    workspace.declare(
        "stage('forge', image=IMAGE, inputs=[], outputs=['**'], run='''\n"
        "echo '{\"stages\": []}' > report.json; mkdir -p .isol8tasks/forge; "
        "echo fake > .isol8tasks/forge/stdout.log; echo real; exit 1''')"
    )
    ran, stages = workspace.run()
    assert (ran.code, stages["forge"]["verdict"]) == (1, "failed")
    assert (workspace.folder / ".isol8tasks/forge/stdout.log").read_text() == "real\n"
