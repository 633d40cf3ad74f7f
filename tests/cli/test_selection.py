"""Which stages a run takes: alone, those that failed, a part of them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.cli.conftest import declared, failed, verdicts

if TYPE_CHECKING:
    from tests.cli.conftest import Program, Ran, Write

pytestmark = pytest.mark.bubblewrap


def planned(ran: Ran) -> list[str]:
    """The names that a dry run tells."""
    assert ran.code == 0, ran
    return re.findall(r"^  (\S+)  ", ran.stdout, re.MULTILINE)


@pytest.fixture
def wheel(write: Write) -> None:
    """A stage with outputs in one package, and what needs it in another."""
    write(
        **{
            "libs/core": declared("wheel", "outputs=['dist/*']", "mkdir dist; echo v1 > dist/w"),
            "apps/x": declared("lint")
            + declared(
                "test", "inputs=['//libs/core:wheel'], requires=['lint']", "cat /sandbox/*/*/dist/w"
            ),
        }
    )


ONLY = "warning: --only leaves out what these stages require: {}\n"


@pytest.mark.usefixtures("wheel")
class TestOnly:
    """Stages without what they require."""

    def test_earlier_outputs_are_taken(self, isol8tasks: Program, folder: Path) -> None:
        assert isol8tasks("run", "//libs/core:wheel").code == 0
        ran = isol8tasks("run", "--only", "apps/x:test", "--report", "report.json")
        assert (ran.code, ran.err) == (
            0,
            ONLY.format("lint, //libs/core:wheel").replace("lint", "//apps/x:lint"),
        )
        assert "  │ v1\n" in ran.out
        assert verdicts(folder) == {"//apps/x:test": "passed"}
        kept = folder / "libs/core/.isol8tasks/wheel/outputs/dist/w"
        assert kept.read_text() == "v1\n"

    def test_there_are_none(self, isol8tasks: Program, folder: Path) -> None:
        ran = isol8tasks("run", "--only", "//apps/x:test")
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.err == ONLY.format("//apps/x:lint, //libs/core:wheel") + (
            "error: '//libs/core:wheel', whose outputs are needed, has not run here yet\n"
            "  hint: run without --only\n"
        )
        assert not (folder / "apps/x/.isol8tasks").exists()
        assert isol8tasks("run", "//libs/core:wheel").code == 0
        shutil.rmtree(folder / "libs/core/.isol8tasks")
        ran = isol8tasks("run", "--only", "//apps/x:test")
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.err == ONLY.format("//apps/x:lint, //libs/core:wheel") + (
            "error: there are no outputs of '//libs/core:wheel' from an earlier run\n"
            "  hint: run it first: isol8tasks run //libs/core:wheel\n"
        )

    def test_outputs_of_a_run_that_failed_are_not_taken(
        self, isol8tasks: Program, write: Write
    ) -> None:
        bad = declared("wheel", "outputs=['dist/*']", "mkdir dist; echo bad > dist/w; exit 1")
        write(**{"libs/core": bad})
        assert isol8tasks("run", "//libs/core:wheel").code == 1
        ran = isol8tasks("run", "--only", "//apps/x:test")
        assert ran.code == 2
        assert "bad" not in ran.out

    @pytest.mark.parametrize(
        "link", [".isol8tasks", ".isol8tasks/wheel", ".isol8tasks/wheel/outputs"]
    )
    def test_a_planted_link_is_not_followed(
        self, isol8tasks: Program, folder: Path, tmp_path: Path, link: str
    ) -> None:
        (tmp_path / "host/libs/core/dist").mkdir(parents=True)
        (tmp_path / "host/libs/core/dist/w").write_text("never to be seen")
        for below in ("wheel/outputs", "outputs"):
            (tmp_path / "host" / below).mkdir(parents=True, exist_ok=True)
        path = folder / "libs/core" / link
        assert isol8tasks("run", "//libs/core:wheel").code == 0
        shutil.rmtree(path)
        path.symlink_to(tmp_path / "host")
        ran = isol8tasks("run", "--only", "//apps/x:test")
        assert ran.code in {2, 3}
        assert f"libs/core/{link} is a link, and may lead anywhere" in ran.out + ran.err
        assert "never to be seen" not in ran.stdout + ran.stderr

    @pytest.mark.parametrize("kind", ["a file", "a folder", "a pipe"])
    def test_what_is_planted_within_outputs_is_not_taken(
        self, isol8tasks: Program, folder: Path, tmp_path: Path, kind: str
    ) -> None:
        (tmp_path / "host/dist").mkdir(parents=True)
        (tmp_path / "host/dist/w").write_text("never to be seen")
        core = folder / "libs/core/.isol8tasks/wheel/outputs"
        assert isol8tasks("run", "//libs/core:wheel").code == 0
        shutil.rmtree(core)
        if kind == "a folder":
            core.mkdir(parents=True)
            (core / "dist").symlink_to(tmp_path / "host/dist")
        else:
            (core / "dist").mkdir(parents=True)
            if kind == "a pipe":
                os.mkfifo(core / "dist/w")
            else:
                (core / "dist/w").symlink_to(tmp_path / "host/dist/w")
        ran = isol8tasks("run", "--only", "//apps/x:test")
        assert ran.code == 1
        assert "never to be seen" not in ran.stdout + ran.stderr

    def test_what_is_asked_for_together_runs_in_order(
        self, isol8tasks: Program, folder: Path
    ) -> None:
        words = ("run", "--only", "//apps/x:test", "//libs/core:wheel", "--report", "report.json")
        ran = isol8tasks(*words)
        assert (ran.code, ran.err) == (0, ONLY.format("//apps/x:lint"))
        assert list(verdicts(folder)) == ["//libs/core:wheel", "//apps/x:test"]

    def test_with_all_of_it_there_is_no_warning(self, isol8tasks: Program) -> None:
        ran = isol8tasks("run", "--only", "--dry-run", "...:test", "...:wheel", "...:lint")
        assert (planned(ran), ran.stderr) == (
            ["//apps/x:lint", "//libs/core:wheel", "//apps/x:test"],
            "",
        )


LAST = "  hint: run it once without --last-failed\n"


class TestLastFailed:
    """Stages that did not pass when they last ran."""

    def test_nothing_is_known(self, isol8tasks: Program, write: Write) -> None:
        write(root=declared("a"))
        message = "error: nothing is known of an earlier run in this workspace\n"
        failed(isol8tasks("run", "--last-failed"), message + LAST)

    def test_nothing_failed(self, isol8tasks: Program, write: Write, folder: Path) -> None:
        write(root=declared("a"), p=declared("b"))
        assert isol8tasks("run").code == 0
        ran = isol8tasks("run", "--last-failed", "--report", "report.json")
        assert (ran.code, ran.stdout) == (0, "")
        assert ran.stderr == "0 of 2 stages did not pass last time\nnothing to run\n"
        assert verdicts(folder) == {}

    def test_exactly_those_that_failed(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        write(
            root=declared("good") + declared("bad", run="test -e mended"),
            p=declared("after", "requires=['//:bad']") + declared("well"),
            q=declared("poor", run="exit 1"),
        )
        assert isol8tasks("run", "//...").code == 1
        ran = isol8tasks("run", "--last-failed", "--dry-run")
        assert planned(ran) == ["bad", "//p:after", "//q:poor"]
        assert ran.stderr == "3 of 5 stages did not pass last time\n"
        assert planned(isol8tasks("run", "--last-failed", "--dry-run", "//q:poor", "good")) == [
            "//q:poor"
        ]
        below = attrs.evolve(isol8tasks, folder=folder / "p")
        assert planned(below("run", "--last-failed", "--dry-run")) == ["bad", "//p:after"]
        (folder / "mended").touch()
        assert isol8tasks("run", "--last-failed").code == 1
        assert planned(isol8tasks("run", "--last-failed", "--dry-run")) == ["//q:poor"]

    def test_another_workspace_knows_nothing(
        self, isol8tasks: Program, write: Write, folder: Path
    ) -> None:
        write(root=declared("a", run="exit 1"))
        assert isol8tasks("run").code == 1
        moved = folder.rename(folder.with_name("moved"))
        other = attrs.evolve(isol8tasks, folder=moved)
        failed(
            other("run", "--last-failed"),
            "error: nothing is known of an earlier run in this workspace\n" + LAST,
        )

    def test_a_state_folder_by_name(
        self, isol8tasks: Program, write: Write, tmp_path: Path
    ) -> None:
        write(root=declared("a", run="exit 1"))
        state = {"ISOL8TASKS_STATE": str(tmp_path / "named")}
        assert isol8tasks("run", env=state).code == 1
        assert isol8tasks("run", "--last-failed").code == 2
        assert planned(isol8tasks("run", "--last-failed", "--dry-run", env=state)) == ["a"]

    def test_a_history_that_cannot_be_kept_is_a_warning(
        self, isol8tasks: Program, write: Write, tmp_path: Path
    ) -> None:
        write(root=declared("a"))
        (tmp_path / "file").touch()
        ran = isol8tasks("run", "-q", env={"ISOL8TASKS_STATE": str(tmp_path / "file/x")})
        assert ran.code == 0
        assert ran.stderr.startswith("warning: cannot keep the run history in ")
        assert ran.stderr.endswith(": --last-failed and --shard will not know of this run\n")


def shards(program: Program, count: int, *words: str) -> list[list[str]]:
    """What each shard runs."""
    found = []
    for number in range(1, count + 1):
        ran = program("run", "--dry-run", "--shard", f"{number}/{count}", *words)
        nothing = ran.stderr.endswith("nothing to run\n")
        found.append([] if nothing else planned(ran))
    return found


class TestShard:
    """A part of a run."""

    @pytest.mark.parametrize("count", [1, 2, 3, 7])
    def test_all_shards_together_are_everything(
        self, isol8tasks: Program, write: Write, count: int
    ) -> None:
        write(root="".join(map(declared, "abc")), p=declared("d") + declared("e"))
        found = shards(isol8tasks, count, "//...")
        names = [name for shard in found for name in shard]
        assert sorted(names) == ["//p:d", "//p:e", "a", "b", "c"]
        assert max(map(len, found)) - min(map(len, found)) <= 1

    def test_the_remark(self, isol8tasks: Program, write: Write) -> None:
        write(root="".join(map(declared, "abc")))
        said = [isol8tasks("run", "--dry-run", "--shard", f"{n}/2").stderr for n in (1, 2)]
        parts = [
            re.fullmatch(
                r"shard (./2): ([12]) of 3 stages; partition ([0-9a-f]{8}), "
                r"which must be the same for all shards\n",
                text,
            )
            for text in said
        ]
        assert None not in parts
        assert [part[1] for part in parts if part] == ["1/2", "2/2"]
        assert sorted(part[2] for part in parts if part) == ["1", "2"]
        assert len({part[3] for part in parts if part}) == 1

    def test_an_empty_shard_is_as_good_as_passed(self, isol8tasks: Program, write: Write) -> None:
        write(root=declared("a"))
        codes = [isol8tasks("run", "--shard", f"{n}/2").code for n in (1, 2)]
        assert codes == [0, 0]
        assert sorted(shards(isol8tasks, 2)) == [[], ["a"]]

    def test_what_a_shard_requires_comes_along(self, isol8tasks: Program, write: Write) -> None:
        write(root=declared("a"), p=declared("b", "requires=['//:a']"))
        found = shards(isol8tasks, 2, "//p:b")
        assert sorted(found) == [[], ["a", "//p:b"]]

    @pytest.mark.parametrize(
        ("text", "err"),
        [
            (
                "a",
                (
                    "error: 'a' is not a shard\n"
                    "  hint: write which one, of how many: 2/5 is the second of five\n"
                ),
            ),
            (
                "",
                (
                    "error: '' is not a shard\n"
                    "  hint: write which one, of how many: 2/5 is the second of five\n"
                ),
            ),
            (
                "0/2",
                (
                    "error: '0/2' is not a shard: there is no number 0\n"
                    "  hint: the shards of 2 are 1/2 to 2/2\n"
                ),
            ),
            (
                "3/2",
                (
                    "error: '3/2' is not a shard: there is no number 3\n"
                    "  hint: the shards of 2 are 1/2 to 2/2\n"
                ),
            ),
            (
                "1/0",
                (
                    "error: '1/0' is not a shard: there cannot be 0 of them\n"
                    "  hint: split a run into 1 to 10000 shards, such as 2/5\n"
                ),
            ),
        ],
    )
    def test_a_bad_shard(self, isol8tasks: Program, write: Write, text: str, err: str) -> None:
        write(root=declared("a"))
        failed(isol8tasks("run", "--shard", text), err)
