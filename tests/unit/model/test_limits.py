from __future__ import annotations

from typing import Any

import pytest

from isol8tasks.model.limits import Limit, Limits


def test_defaults() -> None:
    limits = Limits()
    assert limits == Limits.of()
    assert (limits.timeout, limits.memory, limits.cpus) == (30.0, 512 << 20, 1.0)
    assert (limits.pids, limits.disk, limits.output_limit) == (256, 256 << 20, 64 << 20)
    assert limits.stated == frozenset()


def test_what_is_stated() -> None:
    limits = Limits.of(timeout="2m", memory=None, cpus=0.5)
    assert (limits.timeout, limits.cpus) == (120.0, 0.5)
    assert limits.stated == {Limit.TIMEOUT, Limit.CPUS}


@pytest.mark.parametrize(
    ("stated", "disk"),
    [
        ({"memory": "64m"}, 32 << 20),
        ({"memory": "1g"}, 256 << 20),
        ({"memory": "64m", "disk": "1g"}, 1 << 30),
        ({"memory": 1 << 20}, 1 << 19),
    ],
)
def test_an_unstated_disk_fits_into_the_memory(stated: Any, disk: int) -> None:
    limits = Limits.of(**stated)
    assert limits.disk == disk
    assert (Limit.DISK in limits.stated) == ("disk" in stated)


@pytest.mark.parametrize("word", list(Limit))
def test_an_error_begins_with_the_word(word: str) -> None:
    with pytest.raises(ValueError, match=rf"^{word}: 'x' is not "):
        Limits.of(**{word: "x"})
