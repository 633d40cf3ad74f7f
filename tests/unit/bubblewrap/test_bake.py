"""Baking, with real tools in real sandboxes, from packages that were made by hand."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from isol8tasks_bubblewrap.complaint import bake_error

from isol8tasks.errors import ImageError, StoreError
from isol8tasks.model.image import Image
from isol8tasks.model.result import Exit

pytestmark = pytest.mark.bubblewrap

HERE = Path(__file__).parent
SLOW = "import time\ntime.sleep(60)\n"


def staging(root: Path) -> list[Path]:
    return [*(root / "tmp").glob("*")]


def test_a_bare_python_is_the_one_that_runs_us(bench: Any, local_index: Any) -> None:
    baked = bench.bake(Image.python())
    version = bench.out(baked, "python", "-c", "import sys; print(sys.version.split()[0])")
    assert version == ".".join(map(str, sys.version_info[:3]))
    assert baked.path == ("/opt/isol8tasks/python/bin",)
    assert baked.env == ()
    assert not bench.bake(Image.python()).prepared.baked


def test_packages_of_a_local_index_and_their_scripts(bench: Any, local_index: Any) -> None:
    local_index.wheel("alpha")
    local_index.wheel("beta", "2.0")
    baked = bench.bake(Image.python().pip("alpha", "beta==2.0"))
    assert bench.out(baked, "alpha") == "alpha 1.0"
    assert bench.out(baked, "python", "-m", "beta") == ""
    assert bench.out(baked, "beta") == "beta 2.0"
    assert bench.lines[1] == "pip: alpha beta==2.0"
    assert baked.prepared.baked


def test_packages_are_compiled(bench: Any, local_index: Any) -> None:
    local_index.wheel("compiled")
    tree = bench.tree(bench.bake(Image.python().pip("compiled")))
    assert [*tree.glob("python/lib/python3*/site-packages/__pycache__/compiled*.pyc")]


def test_a_find_links_folder_that_sandboxes_cannot_reach(
    bench: Any, no_settings: Path, wheelhouse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = no_settings / "wheels"
    wheelhouse.wheel("hidden").parent.rename(hidden)
    (no_settings / "pip.conf").write_text(
        f"[global]\nno-index = true\nfind-links = {hidden}\n    /nowhere/wheels\n"
    )
    baked = bench.bake(Image.python().pip("hidden"))
    assert bench.out(baked, "hidden") == "hidden 1.0"
    assert bench.lines[0] == "the folder /nowhere/wheels is not there or cannot be read: left out"


def test_the_best_of_several_indexes_wins(
    bench: Any, local_index: Any, monkeypatch: pytest.MonkeyPatch, no_settings: Path
) -> None:
    other = type(local_index)(no_settings / "other")
    other.files.mkdir(parents=True)
    other.wheel("several", "1.0")
    local_index.wheel("several", "2.0")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{other.index} file:///nowhere/simple")
    baked = bench.bake(Image.python().pip("several"))
    assert bench.out(baked, "several") == "several 2.0"


def test_a_stage_sees_nothing_of_the_settings(bench: Any, local_index: Any) -> None:
    local_index.wheel("private")
    baked = bench.bake(Image.python().pip("private"))
    listing = bench.out(baked, "sh", "-c", "env; ls /opt/isol8tasks; ls -d /bake* || true")
    assert local_index.index not in listing
    assert "/bake:" not in listing
    assert sorted(path.name for path in bench.tree(baked).iterdir()) == ["python"]
    folder = bench.tree(baked).parent
    assert sorted(path.name for path in folder.iterdir()) == ["files", "image.json", "tree"]


def test_no_package_runs_code_while_it_is_baked(bench: Any, local_index: Any) -> None:
    canary = "import os; open('/opt/isol8tasks/canary', 'w')\n"
    local_index.wheel("evil", files={"evil.pth": canary, "sitecustomize.py": canary})
    local_index.wheel("later")
    first = Image.python().pip("evil")
    for image in (first, first.pip("later"), Image.python().pip("evil").pip("later", "evil")):
        tree = bench.tree(bench.bake(image))
        assert [*tree.glob("python/lib/python3*/site-packages/evil.pth")]
        assert not (tree / "canary").exists()


def test_a_source_distribution_needs_consent(bench: Any, local_index: Any) -> None:
    local_index.sdist("sourced", "")
    with pytest.raises(ImageError, match="sourced") as caught:
        bench.bake(Image.python().pip("sourced"))
    assert "only_binary=False" in caught.value.hint
    baked = bench.bake(Image.python().pip("sourced", only_binary=False))
    assert bench.out(baked, "python", "-c", "import sourced") == ""


def test_a_tree_has_no_setuid_bits_and_no_strangers_may_write(bench: Any, local_index: Any) -> None:
    code = (
        "import os, pathlib\nplace = pathlib.Path('/opt/isol8tasks/dropped')\n"
        "place.mkdir(); place.chmod(0o2777)\n"
        "(place / 'tool').write_text('x'); (place / 'tool').chmod(0o6777)\n"
        "(place / 'shy').write_text('x'); (place / 'shy').chmod(0o600)\n"
    )
    local_index.sdist("rude", code)
    tree = bench.tree(bench.bake(Image.python().pip("rude", only_binary=False)))
    modes = {path.name: path.lstat() for path in (tree / "dropped", *(tree / "dropped").iterdir())}
    found = {name: oct(stat.S_IMODE(each.st_mode)) for name, each in modes.items()}
    assert found == {"dropped": "0o755", "tool": "0o755", "shy": "0o644"}
    assert {each.st_uid for each in modes.values()} == {os.geteuid()}


def test_a_pipe_in_a_tree_is_refused(bench: Any, local_index: Any, root: Path) -> None:
    local_index.sdist("piped", "import os\nos.mkfifo('/opt/isol8tasks/pipe')\n")
    with pytest.raises(ImageError, match="'pipe', which is neither a file nor a folder"):
        bench.bake(Image.python().pip("piped", only_binary=False))
    assert staging(root) == []


def test_an_unknown_version_says_what_uv_said(bench: Any, local_index: Any, root: Path) -> None:
    local_index.wheel("known")
    with pytest.raises(ImageError) as caught:
        bench.bake(Image.python().pip("known==9"))
    assert caught.value.message == (
        "cannot bake python + pip(known==9): pip: known==9: No solution found when resolving "
        "dependencies: Because there is no version of known==9 and you require known==9, we can "
        "conclude that your requirements are unsatisfiable."
    )
    assert "known==9" in caught.value.log
    assert staging(root) == []


def test_passwords_of_an_index_are_not_printed(
    bench: Any, no_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:geheim@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(ImageError) as caught:
        bench.bake(Image.python().pip("anything"))
    said = "\n".join([caught.value.message, caught.value.log, *bench.lines])
    assert "127.0.0.1:9" in said
    assert "geheim" not in said
    assert "check the network" in caught.value.hint


def test_later_layers_start_from_what_is_baked(bench: Any, local_index: Any) -> None:
    local_index.wheel("ground")
    local_index.wheel("upper")
    ground = Image.python().pip("ground")
    bench.bake(ground)
    baked = bench.bake(ground.pip("upper"))
    assert "pip: ground" not in bench.lines
    assert "pip: upper" in bench.lines
    assert bench.out(baked, "sh", "-c", "ground && upper") == "ground 1.0\nupper 1.0"


def test_one_recipe_has_one_identity_wherever_it_is_baked(
    bench: Any, local_index: Any, open_folder: Path
) -> None:
    local_index.wheel("same")
    image = Image.python().pip("same")
    other = type(bench)(bench.bakes, open_folder / "store", bench.base)
    assert bench.bake(image).prepared.identity == other.bake(image).prepared.identity


def test_env_layers_share_a_tree_and_not_an_identity(bench: Any, local_index: Any) -> None:
    plain, with_env = bench.bake(Image.python()), bench.bake(Image.python().env(COLOUR="blue"))
    assert not with_env.prepared.baked
    assert with_env.env == (("COLOUR", "blue"),)
    assert plain.mounts == with_env.mounts
    assert plain.prepared.identity != with_env.prepared.identity


def test_bash_needs_no_bake(bench: Any, no_settings: Path) -> None:
    baked = bench.bake(Image.bash().env(A="1"))
    assert (baked.mounts, baked.path, baked.env) == ((), (), (("A", "1"),))
    assert bench.out(baked, "bash", "-c", "echo $A") == "1"
    assert bench.lines == []


def test_bash_with_packages_brings_its_python(bench: Any, local_index: Any) -> None:
    local_index.wheel("tool")
    assert bench.out(bench.bake(Image.bash().pip("tool")), "tool") == "tool 1.0"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image("debian:12"), "bubblewrap has no images of kind reference: debian:12"),
        (Image.rootfs("a.tar"), "bubblewrap has no images of kind rootfs: rootfs:a.tar"),
        (
            Image.python().apt("git", "make"),
            "bubblewrap cannot bake the layer apt(git, make) of python + apt(git, make)",
        ),
        (
            Image.bash().run("true"),
            "bubblewrap cannot bake the layer run(true) of bash + run(true)",
        ),
    ],
)
def test_what_needs_an_engine(bench: Any, image: Image, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        bench.bake(image)
    assert caught.value.message == message
    assert caught.value.hint == "only a backend with container images of its own can supply that"


def test_images_are_listed_and_forgotten(
    bench: Any, local_index: Any, bakes: Any, root: Path
) -> None:
    local_index.wheel("listed")
    prepared = bench.bake(Image.python().pip("listed")).prepared
    listed = attrs.evolve(prepared, baked=False)
    baker = bakes.baker(root)
    assert listed in baker.images()
    baker.remove(prepared)
    assert listed not in baker.images()
    assert bench.bake(Image.python().pip("listed")).prepared == prepared


def test_a_corrupt_image_is_baked_again(bench: Any, local_index: Any) -> None:
    local_index.wheel("damaged")
    image = Image.python().pip("damaged")
    first = bench.bake(image)
    (bench.tree(first).parent / "image.json").write_text('{"schema": 1}')
    again = bench.bake(image)
    assert again.prepared == first.prepared
    assert bench.out(again, "damaged") == "damaged 1.0"


@pytest.mark.root
def test_a_store_that_sandboxes_cannot_reach(bench: Any, local_index: Any, tmp_path: Path) -> None:
    hidden = tmp_path / "cache"
    with pytest.raises(ImageError, match="who cannot reach the image store") as caught:
        type(bench)(bench.bakes, hidden, bench.base).bake(Image.bash().pip("x"))
    assert "ISOL8TASKS_CACHE" in caught.value.hint


def test_a_full_disk_is_the_stores_error() -> None:
    said = ["error: Failed to install: x.whl", "  cause: No space left on device (os error 28)"]
    error = bake_error("python", "pip: x", said, Exit(code=2))
    assert isinstance(error, StoreError)
    assert error.message == (
        "cannot bake python: pip: x: Failed to install: x.whl: No space left on device "
        "(os error 28) (the disk is full)"
    )
    assert "make room" in error.hint
