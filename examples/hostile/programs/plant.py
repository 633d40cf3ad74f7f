"""Leaves files that an unwary program would run: consume.py sees whether one did."""

from pathlib import Path

OWNED = "/tmp/hostile-owned"
PYTHON = f"open({OWNED!r}, 'a').write(__file__ + chr(10))\n"
SHELL = f"#!/bin/sh\necho $0 >> {OWNED}\n"
FILES = {
    "sitecustomize.py": PYTHON,
    "usercustomize.py": PYTHON,
    "json.py": PYTHON,
    "planted.pth": f"import os; open({OWNED!r}, 'a').write('pth')\n",
    "pyvenv.cfg": "home = /sandbox\n",
    ".profile": SHELL,
    ".bashrc": SHELL,
    ".git/hooks/post-checkout": SHELL,
    ".git/config": f"[core]\n\tfsmonitor = echo git >> {OWNED}\n",
    **{f"{folder}{name}": SHELL for folder in ("", "bin/") for name in ("ls", "sh", "python")},
}

for name, text in FILES.items():
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
print(f"{len(FILES)} files are planted")
