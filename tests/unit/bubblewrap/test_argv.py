from __future__ import annotations

import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isol8tasks_bubblewrap.argv import Layout, bwrap_options
from isol8tasks_bubblewrap.rlimits import PRLIMIT, limited

from isol8tasks.model.limits import Limit, Limits
from isol8tasks.model.network import NetworkMode


def test_the_whole_of_a_small_sandbox() -> None:
    layout = Layout(
        uid=64000,
        argv=("true",),
        read_only=(("/usr", "/usr"),),
        links=(("usr/bin", "/bin"),),
        places="/cache/runs/1",
        workdir="web",
        env=(("A", "b c"),),
    )
    assert " ".join(bwrap_options(layout)) == (
        "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session "
        "--cap-drop ALL --hostname sandbox --uid 64000 --gid 64000 "
        "--perms 0755 --dir /etc --perms 0755 --dir /opt "
        "--symlink usr/bin /bin --proc /proc "
        "--size 4096 --perms 0555 --tmpfs /proc/1 --remount-ro /proc/1 "
        "--ro-bind /dev/null /proc/keys "
        "--dev /dev --bind /cache/runs/1/sandbox /sandbox --bind /cache/runs/1/tmp /tmp "
        "--bind /cache/runs/1/shm /dev/shm --remount-ro /dev "
        "--ro-bind /usr /usr --clearenv --setenv A b c "
        "--remount-ro / --chdir /sandbox/web"
    )


def test_a_sandbox_without_places_has_small_ones_of_its_own() -> None:
    options = bwrap_options(Layout(uid=1, argv=("true",), tmp_bytes=1000))
    assert options[-2:] == ["--chdir", "/tmp"]
    assert "/sandbox" not in options
    assert "--size 1000 --perms 1777 --tmpfs /tmp" in " ".join(options)


@pytest.mark.parametrize("mode", NetworkMode)
def test_only_the_host_mode_shares_the_network(mode: NetworkMode) -> None:
    options = bwrap_options(Layout(uid=1, argv=("true",), network=mode))
    assert ("--share-net" in options) == (mode is NetworkMode.HOST)


_WORD = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
Pairs = tuple[tuple[str, str], ...]
_PAIRS = st.lists(st.tuples(_WORD, _WORD), max_size=4).map(tuple)


@settings(deadline=None)
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
def test_what_is_held_otherwise_is_not_limited_per_process() -> None:
    held = frozenset({Limit.MEMORY, Limit.PIDS})
    assert limited(("echo",), Limits(), held) == ("/usr/bin/prlimit", "--core=0", "--", "echo")


@pytest.mark.skipif(not PRLIMIT.exists(), reason="no util-linux")
def test_nobody_is_given_more_than_we_have() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    asked = Limits.of(pids=1 << 40)
    assert f"--nproc={most if most >= 0 else 1 << 40}" in limited(("echo",), asked)


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
