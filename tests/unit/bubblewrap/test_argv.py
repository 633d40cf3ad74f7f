from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isol8tasks_bubblewrap.argv import Layout, bwrap_options
from isol8tasks_bubblewrap.rlimits import PRLIMIT, limited

from isol8tasks.model.limits import Limits
from isol8tasks.model.network import NetworkMode


def test_the_whole_of_a_small_sandbox() -> None:
    layout = Layout(
        uid=64000,
        argv=("true",),
        read_only=(("/usr", "/usr"),),
        links=(("usr/bin", "/bin"),),
        workspace="/cache/runs/1",
        workdir="web",
        env=(("A", "b c"),),
        tmp_bytes=1000,
    )
    assert " ".join(bwrap_options(layout)) == (
        "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session "
        "--cap-drop ALL --hostname sandbox --uid 64000 --gid 64000 "
        "--perms 0755 --dir /etc --perms 0755 --dir /opt "
        "--symlink usr/bin /bin --proc /proc --dev /dev "
        "--size 1000 --perms 1777 --tmpfs /dev/shm --size 1000 --perms 1777 --tmpfs /tmp "
        "--ro-bind /usr /usr --bind /cache/runs/1 /sandbox --clearenv --setenv A b c "
        "--remount-ro / --chdir /sandbox/web"
    )


def test_a_sandbox_without_a_workspace_starts_in_tmp() -> None:
    options = bwrap_options(Layout(uid=1, argv=("true",)))
    assert options[-2:] == ["--chdir", "/tmp"]
    assert "/sandbox" not in options


@pytest.mark.parametrize("mode", NetworkMode)
def test_only_the_host_mode_shares_the_network(mode: NetworkMode) -> None:
    options = bwrap_options(Layout(uid=1, argv=("true",), network=mode))
    assert ("--share-net" in options) == (mode is NetworkMode.HOST)


_WORD = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
Pairs = tuple[tuple[str, str], ...]
_PAIRS = st.lists(st.tuples(_WORD, _WORD), max_size=4).map(tuple)


@given(_PAIRS, _PAIRS, _PAIRS, _PAIRS, st.sampled_from([NetworkMode.NONE, NetworkMode.ALLOW]))
def test_no_value_becomes_an_option(
    read_only: Pairs, writable: Pairs, links: Pairs, env: Pairs, mode: NetworkMode
) -> None:
    """Every value stands where bwrap expects an operand, whatever its text."""
    layout = Layout(
        uid=1,
        argv=("--share-net",),
        read_only=read_only,
        writable=writable,
        links=links,
        env=env,
        network=mode,
    )
    assert "--share-net" not in _options(bwrap_options(layout))


_OPERANDS = {
    "--bind": 2,
    "--ro-bind": 2,
    "--symlink": 2,
    "--setenv": 2,
    **dict.fromkeys(
        ("--uid", "--gid", "--cap-drop", "--hostname", "--perms", "--dir", "--proc", "--dev",
         "--size", "--tmpfs", "--remount-ro", "--chdir"),
        1,
    ),
}  # fmt: skip


def _options(words: list[str]) -> list[str]:
    """The words that bwrap reads as options."""
    found, rest = [], list(words)
    while rest:
        found.append(rest[0])
        del rest[: 1 + _OPERANDS.get(rest[0], 0)]
    return found


@pytest.mark.skipif(not PRLIMIT.exists(), reason="no util-linux")
def test_limits_per_process() -> None:
    limits = Limits.of(memory="64m", pids=7)
    assert limited(("echo", "--data=1"), limits) == (
        "/usr/bin/prlimit",
        "--core=0",
        "--nproc=7",
        "--data=67108864",
        "--",
        "echo",
        "--data=1",
    )
