from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isol8tasks.errors import UsageError
from isol8tasks.plan.shard import Shard, partition_id, share

small = st.text("abc", max_size=3)
names = st.lists(small, unique=True, max_size=40)
counts = st.integers(1, 12)
known = st.dictionaries(small, st.floats() | st.integers(0, 9).map(float), max_size=40)


def partition(
    stages: Sequence[str], durations: Mapping[str, float], count: int
) -> list[tuple[str, ...]]:
    return [share(stages, durations, Shard(number, count)) for number in range(1, count + 1)]


def moved(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> int:
    """How many stages are in another shard than before."""
    return sum(len(set(old) - set(new)) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("text", "number", "count"), [("1/1", 1, 1), ("2/5", 2, 5), ("10000/10000", 10_000, 10_000)]
)
def test_a_shard_is_written_as_a_fraction(text: str, number: int, count: int) -> None:
    shard = Shard.parse(text)
    assert (shard.number, shard.count, str(shard)) == (number, count, text)


@pytest.mark.parametrize(
    "text", ["", "a", "2", "2/", "/5", "2/5/7", "-1/5", "2 / 5", "2/5\n", "²/5"]
)
def test_what_is_no_fraction_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert caught.value.message == f"{text!r} is not a shard"
    assert caught.value.hint == "write which one, of how many: 2/5 is the second of five"


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("0/5", "there is no number 0", "the shards of 5 are 1/5 to 5/5"),
        ("6/5", "there is no number 6", "the shards of 5 are 1/5 to 5/5"),
        ("2/0", "there cannot be 0 of them", "split a run into 1 to 10000 shards, such as 2/5"),
        (
            "1/10001",
            "there cannot be 10001 of them",
            "split a run into 1 to 10000 shards, such as 2/5",
        ),
    ],
)
def test_a_shard_that_cannot_be(text: str, why: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert caught.value.message == f"'{text}' is not a shard: {why}"
    assert caught.value.hint == hint


@given(names, known, counts)
def test_every_stage_is_in_exactly_one_shard_in_the_given_order(
    stages: list[str], durations: dict[str, float], count: int
) -> None:
    parts = partition(stages, durations, count)
    assert sorted(name for part in parts for name in part) == sorted(stages)
    for part in parts:
        assert part == tuple(name for name in stages if name in part)


def test_a_name_that_is_given_twice_runs_once() -> None:
    assert share(["unit", "lint", "unit"], {}, Shard(1, 1)) == ("unit", "lint")


@given(names, known, counts, st.randoms(use_true_random=False))
def test_the_order_of_names_and_durations_is_no_matter(
    stages: list[str], durations: dict[str, float], count: int, chance: Any
) -> None:
    again, items = list(stages), list(durations.items())
    chance.shuffle(again)
    chance.shuffle(items)
    parts, others = partition(stages, durations, count), partition(again, dict(items), count)
    assert [set(part) for part in parts] == [set(part) for part in others]
    assert partition_id(stages, durations, count) == partition_id(again, dict(items), count)


@given(names, known, known, counts)
def test_the_id_tells_partitions_apart(
    stages: list[str], here: dict[str, float], there: dict[str, float], count: int
) -> None:
    alike = partition(stages, here, count) == partition(stages, there, count)
    assert alike == (partition_id(stages, here, count) == partition_id(stages, there, count))


def test_the_id_tells_counts_and_names_apart() -> None:
    ids = {
        partition_id(stages, {}, count)
        for stages in ([], ["unit"], ["lint"], ["lint", "unit"])
        for count in (1, 2, 3)
    }
    assert len(ids) == 12


def test_all_machines_and_processes_agree() -> None:
    """Pinned: machines may run different versions of Python, but never different partitions."""
    stages = [f"//services/api{number}:unit" for number in range(6)]
    durations = {name: 1.5**number for number, name in enumerate(stages)}
    assert partition([*stages, "caf\udce9"], durations, 2) == [
        ("//services/api1:unit", "//services/api5:unit", "caf\udce9"),
        (
            "//services/api0:unit",
            "//services/api2:unit",
            "//services/api3:unit",
            "//services/api4:unit",
        ),
    ]
    assert partition_id([*stages, "caf\udce9"], durations, 2) == "b04cbf11"


@given(
    st.dictionaries(
        st.text(max_size=8), st.integers(-3, 12).map(lambda power: 2.0**power), min_size=1
    ),
    counts,
)
def test_no_shard_has_more_than_the_longest_stage_above_another(
    durations: dict[str, float], count: int
) -> None:
    """Powers of two are not rounded."""
    parts = partition(list(durations), durations, count)
    loads = [sum(durations[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(durations.values())


def test_stages_without_a_history_are_split_by_number() -> None:
    parts = partition([f"s{number}" for number in range(103)], {}, 5)
    assert sorted(len(part) for part in parts) == [20, 20, 21, 21, 21]


def test_what_is_unknown_counts_as_the_median() -> None:
    """Three stages of 8 s, one of them unknown, beside one of 16 s and one of no time at all."""
    stages = ["a", "b", "unknown", "long", "nothing"]
    durations = {"a": 8.0, "b": 8.0, "long": 16.0, "nothing": 0.0}
    durations |= {f"elsewhere{number}": 1e6 for number in range(9)}
    parts = partition(stages, durations, 2)
    times = {**durations, "unknown": 8.0}
    loads = sorted(sum(times[name] for name in part) for part in parts)
    assert loads == [16.0, 24.0]
    assert partition_id(stages, durations, 2) == partition_id(stages, times, 2)


@pytest.mark.parametrize("damaged", [float("nan"), float("inf"), -1.0])
def test_a_duration_that_is_none_is_unknown(damaged: float) -> None:
    stages = [f"s{number}" for number in range(9)]
    durations = dict.fromkeys(stages[:8], 4.0)
    known = partition(stages, durations, 3)
    assert partition(stages, {**durations, "s8": damaged}, 3) == known


@given(
    st.dictionaries(
        st.text(max_size=8), st.tuples(st.integers(-2, 12), st.floats(0, 1)), max_size=40
    ),
    counts,
)
def test_noise_within_a_step_changes_nothing(
    drawn: dict[str, tuple[int, float]], count: int
) -> None:
    """From a power of two to 1.41 times as much."""
    exact = {name: 2.0**power for name, (power, _) in drawn.items()}
    noisy = {name: 2.0**power * (1 + 0.41 * noise) for name, (power, noise) in drawn.items()}
    assert partition(list(drawn), exact, count) == partition(list(drawn), noisy, count)


@pytest.mark.parametrize("seed", range(5))
def test_noise_across_steps_moves_few(seed: int) -> None:
    """Each to the least loaded shard would move four of five here."""
    chance = random.Random(seed)
    before = {f"s{number}": chance.lognormvariate(1.5, 1.2) for number in range(300)}
    after = {name: seconds * chance.uniform(0.8, 1.2) for name, seconds in before.items()}
    assert moved(partition(list(before), before, 5), partition(list(before), after, 5)) < 75


@pytest.mark.parametrize("seed", range(5))
def test_one_stage_more_moves_few(seed: int) -> None:
    """Each to the least loaded shard would move a quarter to a third of them here."""
    chance = random.Random(seed)
    before = {f"s{number}": chance.lognormvariate(1.5, 1.2) for number in range(300)}
    after = {**before, "new": 3.0}
    assert moved(partition(list(before), before, 5), partition(list(after), after, 5)) < 30


@pytest.mark.parametrize("seed", range(5))
def test_shards_take_about_the_same_time(seed: int) -> None:
    """In real seconds, which are up to √2 of the rounded ones."""
    chance = random.Random(seed)
    durations = {f"s{number}": chance.lognormvariate(1.5, 1.2) for number in range(300)}
    parts = partition(list(durations), durations, 5)
    loads = [sum(durations[name] for name in part) for part in parts]
    assert max(loads) < 1.15 * sum(loads) / 5


def test_more_shards_than_stages() -> None:
    parts = partition(["a", "b"], {"a": 1.0, "b": 100.0}, 5)
    assert sorted(len(part) for part in parts) == [0, 0, 0, 1, 1]
