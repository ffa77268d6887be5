from collections.abc import Mapping

import pytest

from taskgroup.data.base import SPLITS, Split
from taskgroup.data.files.splits import SplitPart, cut_splits, ordered
from taskgroup.errors import ConfigError, DataError

TRAIN = [f"train/{row}" for row in range(100)]
TEST = [f"test/{row}" for row in range(20)]
POOL = TRAIN + TEST


def cut(seed: int = 0, **counts: int) -> dict[Split, SplitPart]:
    return cut_splits({"train": TRAIN, "test": TEST}, counts=counts, seed=seed)


def names(part: SplitPart, pool: list[str] = POOL) -> list[str]:
    return [pool[position] for position in part.positions]


def sizes(parts: Mapping[Split, SplitPart]) -> list[int]:
    return [len(parts[split].positions) for split in SPLITS]


@pytest.mark.parametrize("published", [("train",), ("train", "test"), ("train", "validation")])
@pytest.mark.parametrize("seed", [0, 7])
def test_four_disjoint_splits_hold_every_sample(published: tuple[Split, ...], seed: int) -> None:
    given = {split: [f"{split}/{row}" for row in range(50)] for split in published}
    parts = cut_splits(given, counts={}, seed=seed)
    positions = [int(p) for part in parts.values() for p in part.positions]
    assert sorted(positions) == list(range(50 * len(published)))
    assert all(len(part.positions) for part in parts.values())


def test_published_splits_stay_whole() -> None:
    parts = cut()
    assert sizes(parts) == [80, 10, 10, 20]
    assert set(names(parts["test"])) == set(TEST)
    assert parts["test"].origin == "published"
    assert parts["confirm"].origin == "cut from train, seed 0"


def test_a_count_asks_for_more_of_a_cut_split_or_less_of_any() -> None:
    assert sizes(cut(train=30, validation=25, confirm=5, test=3)) == [30, 25, 5, 3]


def test_a_larger_count_keeps_the_samples_of_a_smaller_one() -> None:
    for split in ("train", "confirm", "test"):
        few, many = (names(cut(**{split: count})[split]) for count in (5, 9))
        assert many[:5] == few


def test_the_seed_decides_and_nothing_else() -> None:
    assert names(cut(3)["confirm"]) == names(cut(3)["confirm"])
    assert set(names(cut(3)["confirm"])) != set(names(cut(4)["confirm"]))
    shuffled = cut_splits({"train": TRAIN[::-1], "test": TEST}, counts={}, seed=3)
    assert shuffled["confirm"].digest == cut(3)["confirm"].digest != cut(4)["confirm"].digest


def test_an_added_sample_leaves_the_order_of_the_others() -> None:
    assert [name for name in ordered([*TRAIN, "new"], 0) if name != "new"] == ordered(TRAIN, 0)


def test_golden_order() -> None:
    """The order is part of every recorded split: it must never change."""
    assert ordered("abcdefgh", 0) == list("dfhcegab")


def test_splits_are_in_random_order() -> None:
    assert names(cut()["test"]) != TEST


def test_groups_are_never_torn() -> None:
    frames = [f"{video}_{frame}" for video in "abcdef" for frame in range(10)]
    groups = {frame: frame[0] for frame in frames}
    for seed in range(10):
        parts = cut_splits({"train": frames}, counts={}, seed=seed, groups=groups)
        videos = [{groups[name] for name in names(part, frames)} for part in parts.values()]
        assert sum(map(len, videos)) == len(set().union(*videos)) == 6
        assert sizes(parts) == [20, 10, 10, 20]


def test_a_group_that_another_split_has_is_not_cut() -> None:
    published: dict[Split, list[str]] = {
        "train": ["a_0", "a_1", "b_0", "c_0", "d_0"],
        "validation": ["a_2"],
        "test": ["c_1", "d_1"],
    }
    pool = [name for part in published.values() for name in part]
    parts = cut_splits(published, counts={}, seed=0, groups={name: name[0] for name in pool})
    assert names(parts["confirm"], pool) == ["b_0"]
    assert set(names(parts["train"], pool)) == {"a_0", "a_1", "c_0", "d_0"}


def test_without_a_free_group_a_split_is_empty_and_train_is_whole() -> None:
    published: dict[Split, list[str]] = {"train": ["a_0", "b_0"], "test": ["a_1", "b_1"]}
    groups = {name: name[0] for part in published.values() for name in part}
    assert sizes(cut_splits(published, counts={}, seed=0, groups=groups)) == [2, 0, 0, 2]
    alone = cut_splits({"train": ["a_0", "a_1"]}, counts={}, seed=0, groups=groups | {"a_1": "a"})
    assert sizes(alone) == [2, 0, 0, 0]


def test_too_much_asked_for_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"dataset.test must be at most 20, .*got 21"):
        cut(test=21)
    with pytest.raises(ConfigError, match=r"dataset.train must be at most 80, .*got 81"):
        cut(train=81)
    with pytest.raises(DataError, match="must have training samples left"):
        cut(validation=90)
    with pytest.raises(DataError, match="must have training samples left"):
        cut_splits({"test": TEST}, counts={}, seed=0)
