"""Says what must not be heard: a secret in many forms, and words for terminals and CI services."""

import base64
import json
import os
import sys
import time
import urllib.parse
from pathlib import Path

from ending import contained

ATTACK = (
    "\x1b[2J\x1b]0;owned\x07red\rgreen\n\x9bm\xc2\x9bm\n::error::owned\n  ::set-output name=a::b\n"
    "::add-mask::passed\n##vso[task.complete]x\n##teamcity[buildStop]\n--- group\n"
    "[bold]markup[/bold]\n\u202egnp.txt\n✓ speak-terminal  passed  0.01s\n"
)


def secret() -> None:
    value = os.environ["HOSTILE_SECRET"]
    coded = value.encode()
    forms = [value, coded.hex(), coded.hex().upper(), urllib.parse.quote(value, safe="")]
    forms += [urllib.parse.quote_plus(value), json.dumps(value), json.dumps({"a": [value]})]
    for offset in range(3):
        forms.append(base64.b64encode(b"-" * offset + coded + b"-").decode())
        forms.append(base64.urlsafe_b64encode(b"?" * offset + coded).decode())
    for form in forms:
        for file in (1, 2):
            os.write(file, f"<{form}>\n".encode())
    for form in forms[:6]:
        for byte in form.encode():
            os.write(1, bytes([byte]))
            time.sleep(0.001)
        os.write(1, b"\n")
    contained("said the secret in many forms; the test looks for it")


def name() -> None:
    """The name of an output is seen in the report."""
    value = os.environ["HOSTILE_SECRET"]
    Path("out").mkdir()
    for form in (value, value.encode().hex(), urllib.parse.quote(value, safe="")):
        folder, _, last = f"out/{form}".rpartition("/")
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, last).touch()
    print("the trap is set")


def terminal() -> None:
    for file in (1, 2):
        os.write(file, ATTACK.encode(errors="surrogateescape"))
    contained("said it; the test looks at what is shown")


{"secret": secret, "name": name, "terminal": terminal}[sys.argv[1]]()
