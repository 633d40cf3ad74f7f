"""Common programs under the filter: it must not be in the way of honest work."""

from __future__ import annotations

import functools
import glob
import importlib.util
import os
import shutil
import textwrap
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isol8tasks.backend.seccomp import host_filter

if TYPE_CHECKING:
    from tests.security.conftest import Jail

pytestmark = pytest.mark.bubblewrap

_PURE = (
    "py",
    "pytest",
    "_pytest",
    "xdist",
    "execnet",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
)
_TSC = glob.glob("/var/cache/isol8tasks/images/*/tree/node/lib/node_modules/typescript")

PYTHON = {
    "threads": """
        import threading
        seen = []
        threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sorted(seen) == list(range(20))
    """,
    "subprocess": """
        import subprocess
        assert subprocess.run(["echo", "x"], capture_output=True).stdout == b"x\\n"
        assert subprocess.run("exit 3", shell=True, preexec_fn=lambda: None).returncode == 3
    """,
    "multiprocessing": """
        import multiprocessing
        for method in multiprocessing.get_all_start_methods():
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2], method
    """,
    "asyncio": """
        import asyncio
        async def main():
            process = await asyncio.create_subprocess_exec("echo", "x", stdout=-1)
            assert (await process.communicate())[0] == b"x\\n"
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
        asyncio.run(main())
    """,
    "files": """
        import mmap, os, shutil, sqlite3, tempfile
        with tempfile.TemporaryDirectory(dir="/sandbox") as folder:
            open(f"{folder}/a", "w").write("x" * 10000)
            shutil.copy2(f"{folder}/a", f"{folder}/b")
            with open(f"{folder}/b", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                memory[:1] = b"y"
            os.mkfifo(f"{folder}/fifo")
            sqlite3.connect(f"{folder}/db").execute("create table t (a)")
    """,
    "network and clocks": """
        import resource, socket, time
        socket.getaddrinfo("127.0.0.1", 80)
        socket.if_nameindex()
        left, right = socket.socketpair()
        left.sendmsg([b"x"], [])
        time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    """,
}


@pytest.mark.parametrize("use", PYTHON)
def test_python(use: str, jail: Jail) -> None:
    _python3()
    ran = jail.run(["python3", "-c", textwrap.dedent(PYTHON[use])], seccomp=host_filter())
    assert ran.code == 0, ran


def test_pip_installs_a_wheel(jail: Jail) -> None:
    env = {"PYTHONPATH": _pip(jail), "PIP_NO_INDEX": "1"}
    info = "hello-1.0.dist-info"
    content = {
        "hello.py": "print('hello from a wheel')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(jail.folder / "hello-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)
    argv = "python3 -m pip install --target /sandbox/installed /sandbox/hello-1.0-py3-none-any.whl"
    ran = jail.run(argv.split(), seccomp=host_filter(), env=env)
    assert ran.code == 0, ran
    env = {"PYTHONPATH": "/sandbox/installed"}
    ran = jail.run(["python3", "-m", "hello"], seccomp=host_filter(), env=env)
    assert ran.out == "hello from a wheel\n", ran


def _pip(jail: Jail) -> str:
    """Our environment's, else the host's, which a sandbox sees anyway."""
    if importlib.util.find_spec("pip"):
        return _copied(jail, ("pip",))
    if not Path("/usr/lib/python3/dist-packages/pip").exists():
        pytest.skip("pip is not installed")
    return ""


def test_pytest_in_two_processes(jail: Jail) -> None:
    env = {"PYTHONPATH": _copied(jail, _PURE), "PYTHONDONTWRITEBYTECODE": "1"}
    (jail.folder / "test_two.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('n', range(8))\ndef test(n): assert n < 8\n"
    )
    argv = "python3 -m pytest -q -p xdist.plugin -p no:cacheprovider -n 2 test_two.py"
    ran = jail.run(argv.split(), seccomp=host_filter(), env=env)
    assert ran.code == 0, ran
    assert "8 passed" in ran.out


@functools.cache
def _python3() -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("/usr/bin/python3 is not installed")


def _copied(jail: Jail, modules: tuple[str, ...]) -> str:
    """Packages of our own environment, where a sandbox's uid can read them."""
    _python3()
    folder = jail.folder / "-".join(modules)[:40]
    for name in modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        assert spec.origin is not None
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, folder / name, dirs_exist_ok=True)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copyfile(origin, folder / origin.name)
    return f"/sandbox/{folder.name}"


PROGRAMS = {
    "bash": """
        set -e
        diff <(echo a) <(echo a)
        for n in 1 2 3; do sleep 0.01 & done; wait
        seq 100000 | sort -R | sort -n | tail -1
        kill -TERM $BASHPID || true
    """,
    "coreutils": """
        set -e
        mkdir -p a/b; echo x > a/b/c; cp -a a d; mv d e; ln -sf c a/b/l; chmod 600 a/b/c
        touch -d yesterday a/b/c; stat a/b/c >/dev/null; timeout 5 true; nice -n 5 true
        find . -name c >/dev/null; rm -r a e; df . >/dev/null; nproc >/dev/null; date >/dev/null
    """,
    "tar": "set -e; mkdir -p t; echo x > t/f; tar czf t.tgz t; rm -r t; tar xzf t.tgz; cat t/f",
    "curl": "curl --version && ! curl -s --max-time 2 http://127.0.0.1:9/",
    "git": """
        set -e
        rm -rf repo; git init -q repo; cd repo; echo x > f; git add f
        git -c user.name=a -c user.email=a@b commit -qm x; git gc -q; git log --oneline; git status
        cd ..; rm -rf clone; git clone -q repo clone
    """,
    "gcc": """
        set -e
        printf '#include <stdio.h>\\nint main(void) { puts("hello"); }' > hello.c
        gcc -O2 -pipe -o hello hello.c && ./hello
    """,
    "make": """
        set -e
        printf 'all: a b\\na b:\\n\\t@sleep 0.01; touch $@\\n' > Makefile
        make -s -j2; rm a b
    """,
    "node": """
        set -e
        node -e '
        const { Worker } = require("worker_threads");
        const { execSync } = require("child_process");
        const fs = require("fs");
        execSync("true");
        fs.promises.writeFile("n", "x").then(() => fs.promises.rm("n"));
        new Worker("process.exit(0)", { eval: true });
        require("crypto").randomBytes(8);
        require("http").createServer().listen(0, function () { this.close(); });'
    """,
    "npm": """
        set -e
        export npm_config_cache=/tmp/npm npm_config_offline=true npm_config_update_notifier=false
        mkdir -p p q; echo '{"name":"p","version":"1.0.0"}' > p/package.json
        echo '{"name":"q","version":"1.0.0","scripts":{"t":"echo ran"}}' > q/package.json
        cd q; npm install --no-audit --no-fund ../p; npm run t
    """,
    "java": """
        set -e
        echo 'class H { public static void main(String[] a) throws Exception {
            Thread t = new Thread(() -> System.out.println("hello"));
            t.start(); t.join(); } }' > H.java
        javac -d . H.java && java -Xmx64m -cp . H
    """,
    "perl": "perl -MPOSIX -e 'fork // die; print POSIX::uname(), qq(\\n)'",
    "ps": "ps aux && grep -q MemTotal /proc/meminfo",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, jail: Jail) -> None:
    found = {"coreutils": "ls", "java": "javac"}.get(program, program)
    if not shutil.which(found, path="/usr/bin:/bin:/usr/local/bin"):
        pytest.skip(f"{found} is not installed")
    script = textwrap.dedent(PROGRAMS[program])
    ran = jail.run(["bash", "-c", script], seccomp=host_filter())
    if program == "bash":
        assert (ran.code, ran.out) == (143, "100000\n"), ran
    else:
        assert ran.code == 0, ran


@pytest.mark.skipif(not (_TSC and os.path.exists("/usr/bin/node")), reason="no tsc in the store")
def test_tsc(jail: Jail) -> None:
    shutil.copytree(_TSC[0], jail.folder / "typescript", dirs_exist_ok=True)
    (jail.folder / "a.ts").write_text("const n: number = 1;\nconsole.log(n);\n")
    script = "node typescript/bin/tsc a.ts && node a.js"
    ran = jail.run(["bash", "-c", script], seccomp=host_filter())
    assert (ran.code, ran.out) == (0, "1\n"), ran
