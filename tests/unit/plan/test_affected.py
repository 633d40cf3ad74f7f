from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.errors import Location, PlanError
from isol8tasks.model.image import Image
from isol8tasks.model.stage import Exec, Stage
from isol8tasks.plan.affected import affected
from isol8tasks.plan.globs import compile_glob

if TYPE_CHECKING:
    MakeStage = Callable[..., Stage]

API = "services/api"


def why(stage: Stage, *paths: str, **words: Any) -> str:
    found = affected([stage], sources=words.pop("sources", {}), paths=paths, **words)
    assert found.keys() <= {stage.name}
    return found.get(stage.name, "")


@pytest.mark.parametrize(
    ("folder", "inputs", "path"),
    [
        ("", ("src/**",), "src/a.py"),
        ("", ("src",), "src/deep/a.py"),
        ("", ("src",), "src"),
        ("", ("**/*.py",), "deep/er/a.py"),
        ("", ("*.toml", "src/*.py"), "src/a.py"),
        ("", ("uv.lock",), "uv.lock"),
        (API, ("src/**",), f"{API}/src/a.py"),
        (API, ("**",), f"{API}/a"),
        (API, ("a[12].py",), f"{API}/a2.py"),
        (API, ("s?c/*",), f"{API}/src/l\udcff\n.py"),
        ("", None, "deep/a"),
        (API, None, f"{API}/src/a.py"),
        (API, None, f"{API}/deep/.gitignore"),
        (API, None, "services/.gitignore"),
        (API, None, ".gitignore"),
        # Folders of which no more is known than that they changed:
        ("", ("vendor/x/**/*.c",), "vendor/"),
        (API, ("src/*.c",), f"{API}/src/sub/"),
        (API, ("src/*.c",), "services/"),
        (API, None, "services/"),
        (API, None, f"{API}/sub/"),
    ],
)
def test_a_changed_input(
    stage: MakeStage, folder: str, inputs: tuple[str, ...] | None, path: str
) -> None:
    unit = stage("unit", folder=folder, inputs=inputs)
    assert why(unit, "README", path, "zzz") in {f"{path} changed", "README changed"}
    assert why(unit, path) == f"{path} changed"


@pytest.mark.parametrize(
    ("folder", "inputs", "path"),
    [
        ("", ("src/**",), "src2/a.py"),
        ("", ("src/**",), "lib/src/a.py"),
        ("", ("src",), "src.py"),
        ("", ("src",), "src-old/a"),
        ("", ("*.py",), "deep/a.py"),
        ("", (), "a"),
        ("", ("**",), ".isol8tasks/unit/stdout.log"),
        ("", None, "libs/core/.isol8tasks/unit/outputs/x"),
        (API, ("src/**",), "src/a.py"),
        (API, ("../../src/**",), "src/a.py"),
        (API, ("**",), f"{API}2/a"),
        (API, None, f"{API}2/a"),
        (API, None, f"{API}-client/a"),
        (API, None, f"{API}0/a"),
        (API, ("**",), f"{API}0/a"),
        (API, None, f"{API}.py"),
        (API, None, "services/other/.gitignore"),
        (API, None, "services/a"),
        (API, ("**",), ".gitignore"),
        (API, ("src/**",), f"{API}/srcs/"),
        (API, None, "services/ap/"),
    ],
)
def test_what_is_no_input(
    stage: MakeStage, folder: str, inputs: tuple[str, ...] | None, path: str
) -> None:
    assert why(stage("unit", folder=folder, inputs=inputs), path) == ""


def test_a_folder_that_became_files_of_ours(stage: MakeStage) -> None:
    unit = stage("unit", inputs=("vendor/x/*.c",))
    assert why(unit, "vendor/x/a.h") == ""
    assert why(unit, "vendor/", "vendor/x/a.h") == "vendor/ changed"


def test_a_glob_that_cannot_be_understood(stage: MakeStage) -> None:
    with pytest.raises(PlanError, match="cannot be understood"):
        why(stage("unit", inputs=("a\\",)), "a")


@pytest.mark.parametrize(
    ("image", "path"),
    [
        (Image.bash().file("tools/pip.conf", "/etc/pip.conf"), "tools/pip.conf"),
        (Image.bash().pip("x").file("./tools/", "/opt/tools").run("make"), "tools/deep/x"),
        (Image.bash().file(".", "/opt/all"), "tools/deep/x"),
        (Image.dockerfile("images/Dockerfile"), "images/Dockerfile"),
        (Image.rootfs("images/root.tar"), "images/root.tar"),
        (Image.bash().file("vendor/x", "/opt/x"), "vendor/"),
    ],
)
def test_a_changed_file_of_the_image(stage: MakeStage, image: Image, path: str) -> None:
    unit = stage("unit", folder=API, inputs=(), image=image)
    assert why(unit, path) == f"{path}, a file of its image, changed"


@pytest.mark.parametrize("path", ["tools/pip.conf2", "tools", f"{API}/tools/pip.conf", "x"])
def test_what_is_no_file_of_the_image(stage: MakeStage, path: str) -> None:
    image = Image.bash().file("tools/pip.conf", "/etc/pip.conf").run("x")
    assert why(stage("unit", folder=API, inputs=(), image=image), path) == ""


SOURCES = {
    "": frozenset({"isol8file.py"}),
    API: frozenset({f"{API}/isol8file.py", "tools/images.py", f"{API}/versions.txt"}),
}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"{API}/isol8file.py", f"its task file {API}/isol8file.py changed"),
        ("tools/images.py", "tools/images.py, which its task file imports, changed"),
        (f"{API}/versions.txt", f"{API}/versions.txt, which its task file reads, changed"),
        ("isol8file.py", ""),
        ("tools/other.py", ""),
    ],
)
def test_a_changed_source_of_the_task_file(stage: MakeStage, path: str, reason: str) -> None:
    assert why(stage("unit", folder=API, inputs=()), path, sources=SOURCES) == reason


def test_the_task_file_comes_before_what_it_imports(stage: MakeStage) -> None:
    changed = (f"{API}/isol8file.py", f"{API}/a.py", "tools/images.py")
    found = why(stage("unit", folder=API), *changed, sources=SOURCES)
    assert found == f"its task file {API}/isol8file.py changed"


def test_a_task_file_of_another_name(stage: MakeStage) -> None:
    unit = stage("unit", inputs=())
    unit = Stage(
        name="unit",
        image=unit.image,
        command=Exec(("true",)),
        declared_at=Location("/work/ci.py", 3),
        inputs=(),
    )
    sources = {"": frozenset({"ci.py", "tools.py"})}
    assert why(unit, "ci.py", sources=sources) == "its task file ci.py changed"
    sources = {"": frozenset({"isol8file.py", "ci.py"})}
    assert why(unit, "ci.py", sources=sources) == "ci.py, which its task file imports, changed"


def test_a_reason_for_everything(stage: MakeStage) -> None:
    stages = [stage("b", inputs=()), stage("a")]
    found = affected(stages, sources={}, paths=(), everything="isol8tasks.toml changed")
    assert list(found.items()) == [
        ("b", "isol8tasks.toml changed"),
        ("a", "isol8tasks.toml changed"),
    ]


def test_nothing_changed(stage: MakeStage) -> None:
    stages = [stage("a"), stage("b", requires=("a",), inputs=("**",))]
    assert affected(stages, sources=SOURCES, paths=()) == {}


def test_everything_downstream_in_the_order_given(stage: MakeStage) -> None:
    stages = [
        stage("deploy", inputs=(), requires=("other", "//api:unit", "//core:wheel")),
        stage("//core:lint", folder="core"),
        stage("//api:unit", folder="api", input_stages=("//core:wheel",)),
        stage("other", inputs=(), requires=("unknown",)),
        stage("//core:wheel", folder="core", inputs=("src/**",)),
        stage("//core2:wheel", folder="core2", input_stages=("other",)),
    ]
    assert list(affected(stages, sources={}, paths=["core/src/a.py"]).items()) == [
        ("deploy", "requires //api:unit, which is affected"),
        ("//core:lint", "core/src/a.py changed"),
        ("//api:unit", "requires //core:wheel, which is affected"),
        ("//core:wheel", "core/src/a.py changed"),
    ]


def test_a_change_of_its_own_is_named_before_what_it_requires(stage: MakeStage) -> None:
    stages = [stage("a", inputs=("a",)), stage("b", inputs=("b",), requires=("a",))]
    found = affected(stages, sources={}, paths=["a", "b"])
    assert found == {"a": "a changed", "b": "b changed"}


def test_stages_that_require_each_other_end(stage: MakeStage) -> None:
    stages = [stage("a", inputs=("a",), requires=("b",)), stage("b", inputs=(), requires=("a",))]
    assert list(affected(stages, sources={}, paths=["a"])) == ["a", "b"]


PARTS = st.sampled_from(["a", "b", "ab", "a.py", "a0", "a-b"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
GLOBS = st.lists(PARTS | st.sampled_from(["*", "**", "a*", "?"]), min_size=1, max_size=3)


@given(
    folder=st.just("") | PATHS,
    globs=st.lists(GLOBS.map("/".join), max_size=3).map(tuple),
    paths=st.sets(PATHS, max_size=8),
)
def test_the_short_cuts_find_what_looking_at_each_path_finds(
    folder: str, globs: tuple[str, ...], paths: set[str]
) -> None:
    unit = Stage(
        name="unit",
        image=Image.bash(),
        command=Exec(("true",)),
        declared_at=Location("isol8file.py", 1),
        folder=folder,
        inputs=globs,
    )
    prefix = f"{folder}/" if folder else ""
    below = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    expected = any(compile_glob(glob)(path) for glob in globs for path in below)
    assert bool(why(unit, *paths)) is expected
