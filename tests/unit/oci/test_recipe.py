from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isol8tasks_oci.names import AUTHORITIES
from isol8tasks_oci.recipe import (
    LACKING,
    SETTINGS,
    FileStep,
    Recipe,
    dockerfile,
    pack,
    write_context,
    write_recipe,
)

from isol8tasks.errors import ImageError
from isol8tasks.model.image import Image

BASE = f"sha256:{'ab' * 32}"
NOWHERE = Path("/nonexistent")
NASTY = [
    "a\nRUN rm -rf /\n",
    "\"'$HOME ${PATH} `id` $(id) \\",
    "# syntax=docker/dockerfile:1",
    "<<EOF\nx\nEOF",
    "trailing \\",
    "\\\n",
    "\r\n\t \v",
    "--option",
    "ünïcödé 😀 \u2028",
    "",
    '"]',
]
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def recipe(image: Image, folder: Path = NOWHERE, base: str = BASE) -> Recipe:
    return write_recipe(image, base, folder=folder)


def runs(text: str) -> list[list[str]]:
    """The words of each RUN, as a builder reads them."""
    lines = [line.removeprefix("RUN ") for line in text.split("\n") if line.startswith("RUN ")]
    return [json.loads(line) for line in lines]


def execute(image: Image, **env: str) -> tuple[str, int]:
    """Run the only RUN of an image here: what it prints, and its code."""
    (argv,) = runs(dockerfile(recipe(image)))
    done = subprocess.run(argv, capture_output=True, check=False, env={"PATH": os.defpath, **env})
    return done.stdout.decode(), done.returncode


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: member for member in tar.getmembers()}


def packed(source: Path, destination: str) -> bytes:
    out = io.BytesIO()
    pack(source, destination, out)
    return out.getvalue()


def test_the_text_for_a_builder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    image = Image("x").npm("tsc").file("a", "/opt/$HOME/a").env(A="1").run("make")
    lines = dockerfile(recipe(image, tmp_path), authorities=True).split("\n")
    heads = [line.split(" ", 1)[0] for line in lines]
    assert heads == ["FROM", "USER", "ADD", "ENV", "RUN", "ADD", "RUN", ""]
    assert lines[:4] == [
        f"FROM {BASE}",
        "USER 0:0",
        'ADD ["authorities.tar", "/"]',
        "ENV NODE_PATH=/usr/local/lib/node_modules${NODE_PATH:+:$NODE_PATH}",
    ]
    assert lines[5] == 'ADD ["files/1.tar", "/"]'


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image("x").pip("a==1", "b"), ["--only-binary", ":all:", "--", "a==1", "b"]),
        (Image("x").pip("a", only_binary=False), ["--", "a"]),
        (Image("x").npm("a@1"), ["--ignore-scripts", "--", "a@1"]),
        (Image("x").npm("a", ignore_scripts=False), ["--", "a"]),
        (Image("x").apt("curl", "git"), ["curl", "git"]),
        (Image("x").run("make"), ["make"]),
        (Image("x").env(A="0", B="b").env(A="a $x").run("make"), ["make", "A=a $x", "B=b"]),
    ],
)
def test_the_words_of_a_step(image: Image, words: list[str]) -> None:
    (found,) = runs(dockerfile(recipe(image)))
    assert found[:2] == ["/bin/sh", "-euc"]
    assert found[3:] == ["sh", *words]


@pytest.mark.parametrize("text", NASTY)
def test_a_command_arrives_as_it_is(text: str) -> None:
    command = f"printf '%s' \"$A\"\nexit 7 # {text}"
    assert execute(Image("x").env(A=text).run(command)) == (text, 7)


@given(st.lists(texts.filter(str.strip), min_size=1, max_size=4))
def test_no_text_gets_out_of_its_line(commands: list[str]) -> None:
    image = Image("x")
    for command in commands:
        image = image.run(command)
    text = dockerfile(recipe(image))
    assert text.isascii()
    assert len(text.split("\n")) == len(commands) + 3
    assert [found[4] for found in runs(text)] == commands
    assert all(line.endswith("]") for line in text.split("\n")[2:-1])


def test_the_settings_are_for_the_tools_and_not_left_behind() -> None:
    image = Image("x").run(f'echo "$PIP_INDEX_URL ${{{SETTINGS}-gone}}"; umask')
    said, _ = execute(image, **{SETTINGS: "export PIP_INDEX_URL='https://i x'"})
    assert said == "https://i x gone\n0022\n"
    said, _ = execute(image, **{SETTINGS: "http://proxy", "PIP_INDEX_URL": "own"})
    assert said == "own gone\n0022\n"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Programs that say what they were called with."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("python3", "npm"):
        path = folder / name
        path.write_text('#!/bin/sh\necho "${0##*/}" "$@"\nenv\n')
        path.chmod(0o755)
    return folder


def test_pip_and_npm_are_asked_quietly(tools: Path) -> None:
    pip, _ = execute(Image("x").pip("a==1"), PATH=f"{tools}:{os.defpath}")
    assert "python3 -m pip install --no-cache-dir --compile --only-binary :all: -- a==1\n" in pip
    assert "PIP_BREAK_SYSTEM_PACKAGES=1\n" in pip
    npm, _ = execute(Image("x").npm("a"), PATH=f"{tools}:{os.defpath}")
    assert "npm install --global --prefix /usr/local" in npm
    assert " --no-audit --no-fund --ignore-scripts -- a\n" in npm
    cache = next(line for line in npm.split("\n") if line.startswith("npm_config_cache="))
    assert not os.path.exists(cache.partition("=")[2])


@pytest.mark.parametrize(
    ("image", "tool"),
    [(Image("x").pip("a"), "pip"), (Image("x").npm("a"), "npm"), (Image("x").apt("a"), "apt-get")],
)
def test_a_tool_that_is_not_there(image: Image, tool: str) -> None:
    assert execute(image, PATH="/nonexistent") == (f"{LACKING} {tool}\n", 1)


@pytest.mark.parametrize(
    "package",
    [
        "six @ https://x.example/six-1.tar.gz",
        "six @ https://x.example/six-1.tar.gz?a=b.whl",
        "git+https://x.example/six.whl",
        "six@git+ssh://x.example/six.whl",
        *("./six", ".", "six.zip", "six-1.tar.gz"),
    ],
)
def test_what_pip_would_build_needs_a_word(package: str) -> None:
    assert recipe(Image("x").pip(package, only_binary=False)).steps
    with pytest.raises(ImageError, match="is no wheel and would be built") as caught:
        recipe(Image("x").pip(package))
    assert "only_binary=False" in caught.value.hint


def test_what_pip_does_not_build() -> None:
    wheel = "six-1-py3-none-any.whl"
    places = (f"six @ https://x.example/{wheel}#sha256=12", f"/opt/{wheel}")
    assert recipe(Image("x").pip("six", "six[a]>=1,<2; python_version < '4'", *places)).steps


@pytest.mark.parametrize("command", ["x" * 65_000, "echo \0"])
def test_commands_that_no_builder_takes(command: str) -> None:
    with pytest.raises(ImageError, match="builders take neither") as caught:
        recipe(Image("x").run(command))
    assert len(caught.value.message) < 300


def test_one_key_for_one_recipe(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    image = Image("x").pip("a", "b").file("a", "/opt/a")
    images = [
        *(image, image.run("make"), image.env(A="1").run("make"), image.env(A="2").run("make")),
        Image("x").pip("a b").file("a", "/opt/a"),
        Image("x").pip("a", "b", only_binary=False).file("a", "/opt/a"),
        Image("x").file("a", "/opt/a").pip("a", "b"),
        Image("x").pip("a", "b").file("a", "/opt/b"),
        Image("x").npm("a", "b").file("a", "/opt/a"),
    ]
    keys = [recipe(each, tmp_path).key for each in images]
    assert len(set(keys)) == len(images)
    assert recipe(Image("y", layers=image.layers), tmp_path).key == keys[0]
    assert recipe(image.env(A="1"), tmp_path).key == keys[0]
    assert recipe(image, tmp_path, base="sha256:" + "cd" * 32).key != keys[0]
    (tmp_path / "a").write_text("b")
    changed = recipe(image, tmp_path).key
    (tmp_path / "a").chmod(0o755)
    assert len({keys[0], changed, recipe(image, tmp_path).key}) == 3


def test_no_steps_for_variables() -> None:
    assert recipe(Image("x").env(A="1")).steps == ()


def test_files_are_readable_and_roots(tmp_path: Path) -> None:
    folder = tmp_path / "f\u00fc $x"
    (folder / "sub").mkdir(parents=True, mode=0o700)
    (folder / "private").write_text("secret")
    (folder / "private").chmod(0o600)
    (folder / "tool").write_text("#!/bin/sh")
    (folder / "tool").chmod(0o700)
    (folder / "sub/out").symlink_to("../../../../../etc/passwd")
    os.link(folder / "tool", folder / "sub/same")
    os.mkdir(os.fsencode(folder) + b"/\xe9")
    (tmp_path / "link").symlink_to(folder)
    found = members(packed(tmp_path / "link", "/opt/a b"))
    assert {name: member.mode for name, member in found.items()} == {
        "opt/a b": 0o755,
        "opt/a b/private": 0o644,
        "opt/a b/sub": 0o755,
        "opt/a b/sub/out": 0o755,
        "opt/a b/sub/same": 0o755,
        "opt/a b/tool": 0o755,
        "opt/a b/\udce9": 0o755,
    }
    assert {(member.uid, member.gid, member.uname) for member in found.values()} == {(0, 0, "")}
    assert found["opt/a b/sub/out"].linkname == "../../../../../etc/passwd"
    assert packed(folder, "/opt/a b") == packed(tmp_path / "link", "/opt/a b")
    os.utime(folder / "tool", (1, 1))
    assert pack(folder, "/opt/a b") == pack(tmp_path / "link", "/opt/a b")


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="neither a file nor a folder"):
        pack(tmp_path, "/opt/a")


@pytest.mark.parametrize("name", ["missing", "broken"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(ImageError, match="cannot be read: No such file") as caught:
        recipe(Image("x").file(name, "/opt/a"), tmp_path)
    assert "relative to the root of the workspace" in caught.value.hint


@pytest.mark.parametrize(
    ("destination", "place"),
    [("/opt/a", "/opt/a"), ("//opt//a/", "/opt/a"), ("/etc/x", "/etc/x"), ("/tmpfile", "/tmpfile")],
)
def test_destinations(tmp_path: Path, destination: str, place: str) -> None:
    (tmp_path / "a").write_text("a")
    (step,) = recipe(Image("x").file("a", destination), tmp_path).steps
    assert isinstance(step, FileStep)
    assert step.destination == place


@pytest.mark.parametrize(
    "destination", ["/", "/tmp", "/tmp/x", "//tmp/x", "/sandbox/x", "/proc/1/x"]
)
def test_destinations_that_no_stage_would_see(destination: str) -> None:
    with pytest.raises(ImageError, match="made anew for each stage"):
        recipe(Image("x").file("a", destination))


def test_the_context(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    made = recipe(Image("x").run("true").file("a", "/opt/we $x [y]"), tmp_path)
    out = io.BytesIO()
    write_context(made, out, authorities=b"pem")
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        content = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    assert sorted(content) == ["Dockerfile", "authorities.tar", "files/1.tar"]
    assert content["Dockerfile"].decode() == dockerfile(made, authorities=True)
    assert content["files/1.tar"] == packed(tmp_path / "a", "/opt/we $x [y]")
    (authorities,) = members(content["authorities.tar"]).values()
    assert (authorities.name, authorities.mode) == (AUTHORITIES[1:], 0o644)


def test_a_file_that_changes_between(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    made = recipe(Image("x").file("a", "/opt/a"), tmp_path)
    (tmp_path / "a").write_text("b")
    with pytest.raises(ImageError, match="changed meanwhile"):
        write_context(made, io.BytesIO())
