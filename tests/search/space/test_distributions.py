"""Distributions: bounds, middles and subset limits."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from taskgroup.errors import ConfigError
from taskgroup.search.space.distributions import Choice, RandInt, Subset, Uniform, leaves, read_tree


class Bits:
    """Answers truth values in order."""

    def __init__(self, bits: Sequence[bool]) -> None:
        self.bits = iter(bits)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return low

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[next(self.bits)]


def test_tree_holds_distributions_at_their_dotted_keys() -> None:
    tree = read_tree(
        {
            "training": {"epochs": 3, "learning_rate": {"uniform": ["1/4", 1]}},
            "seed": {"choice": [1]},
        }
    )
    found = leaves(tree)
    assert list(found) == ["training.learning_rate", "seed"]
    assert found["training.learning_rate"] == Uniform(uniform=(0.25, 1.0))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"uniform": [1, 1]}, r"^a\.b: .*low < high, got \[1, 1\]"),
        ({"loguniform": [0, 1]}, r"0 < low < high, got \[0, 1\]"),
        ({"randint": [3, 1]}, r"low <= high, got \[3, 1\]"),
        ({"randint": [0.5, 1]}, "randint.0"),
        ({"choice": []}, "choice"),
        ({"choice": [1, 1]}, "each value once"),
        ({"choice": [{"x": 1}]}, "got a mapping"),
        ({"subset": []}, r"at least one candidate, got \[\]"),
        ({"subset": ["x", "x"]}, "each candidate once"),
        ({"subset": ["x"], "max_size": 2}, "min_size <= max_size <= 1, the number"),
        ({"subset": ["x", "y"], "min_size": 2, "max_size": 1}, "min_size 2 and max_size 1"),
        ({"uniform": [0, 1], "choice": [1]}, "one distribution, got uniform and choice"),
        ({"uniform": [0, 1], "log": True}, "unknown key 'log'"),
    ],
)
def test_malformed_distribution_is_named(node: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_tree({"a": {"b": node}})


def test_choice_reads_fractions_and_stray_exponents_as_numbers() -> None:
    node = Choice(choice=("1/4", "1e-3", "pgd", None, ["1/2", 1]))
    assert node.choice == (0.25, 0.001, "pgd", None, [0.5, 1])


def test_choice_gives_lists_to_a_chooser_as_text_and_back() -> None:
    node = Choice(choice=(["depth"], ["depth", "edges"]))
    assert node.labels == ['["depth"]', '["depth", "edges"]']
    assert node.draw(Bits([True]), "auxiliary_tasks") == ["depth", "edges"]


def test_randint_includes_both_ends() -> None:
    node = RandInt(randint=(1, 3))
    assert [node.contains(value) for value in (0, 1, 3, 4, 1.5, True)] == [
        False, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(0, 4), (0, 2), (1, 2), (2, 2), (3, 4)])
def test_subset_limits_hold_for_every_draw_and_drawn_sets_within_them_stay(
    low: int, high: int
) -> None:
    node = Subset(subset=("a", "b", "c", "d"), min_size=low, max_size=high)
    for bits in itertools.product([False, True], repeat=4):
        asked = {name for name, bit in zip(node.subset, bits, strict=True) if bit}
        drawn = node.draw(Bits(bits), "x")
        assert low <= len(drawn) <= high
        assert drawn == tuple(sorted(set(drawn)))
        assert drawn == node.draw(Bits(bits), "x"), "the same draw, the same set"
        assert set(drawn) <= asked or asked <= set(drawn)
        if low <= len(asked) <= high:
            assert set(drawn) == asked


def test_subset_limits_favour_no_candidate() -> None:
    names = tuple("abcdefgh")
    node = Subset(subset=names, max_size=2)
    counts = Counter(
        name
        for bits in itertools.product([False, True], repeat=len(names))
        for name in node.draw(Bits(bits), "x")
    )
    assert max(counts.values()) < 1.5 * min(counts.values())
