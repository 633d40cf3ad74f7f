"""A trusted program beside planted files: escaped if one of them ran."""

import json
import os
import subprocess
from pathlib import Path

from ending import contained, escaped

OWNED = Path("/tmp/hostile-owned")

beside = sorted(os.listdir())
for words in (["ls"], ["sh", "-c", "ls"], ["python", "-c", "import site"], ["bash", "-lc", "true"]):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
if not {"sitecustomize.py", "planted.pth", "ls", "bin", ".git"} <= set(beside):
    escaped(f"nothing was planted, so this shows nothing: {json.dumps(beside)}")
if OWNED.exists():
    escaped(f"these ran: {OWNED.read_text().split()}")
contained("nothing that was planted ran")
