"""Four disjoint splits of a data set that published fewer.

The missing ones are cut from train. A sample's place in the order is a hash of the seed and its
name, so a split depends neither on a library's random numbers nor on what else the folder holds,
and asking for more samples of a split keeps those that it had.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.base import SPLITS, Split
from taskgroup.errors import ConfigError, DataError

CUT_SHARES: Mapping[Split, float] = {"test": 0.2, "confirm": 0.1, "validation": 0.1}
"""Share of the published train split that a missing split takes, in the order of cutting."""


@dataclass(frozen=True)
class SplitPart:
    """One split.

    Attributes:
        positions: Which samples of the data set, ``(N,)`` int64, in the split's order.
        origin: ``published``, or how it was cut.
        digest: Hash of the samples' names, to be recorded; equal for equal sets of samples.
    """

    positions: NDArray[np.int64]
    origin: str
    digest: str


def cut_splits(
    published: Mapping[Split, Sequence[str]],
    *,
    counts: Mapping[Split, int | None],
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> dict[Split, SplitPart]:
    """Cut the splits that are missing or empty from train, and take the number asked for of each.

    Every split is ordered at random, so the first samples of a split are a fair sample of it.

    Args:
        published: Names of the samples of each published split; a sample's position is its place
            in all of them, one split after the other.
        counts: Samples wanted of each split; None means all. A split cut without groups has
            as many as asked for, or its share of :data:`CUT_SHARES`.
        seed: Seed of the order.
        groups: Group of each sample (its video sequence) that must stay in one split. A split is
            then cut from groups that no other split has; without such it is empty.

    Raises:
        DataError: No training samples are left.
        ConfigError: More samples asked for than a split has.
    """
    parts: dict[Split, list[str]] = {split: list(found) for split, found in published.items()}
    origins = {split: "published" for split, found in parts.items() if found}
    size = len(parts.setdefault("train", []))
    for split, share in CUT_SHARES.items():
        if split not in origins:
            wanted = counts.get(split) or max(1, round(share * size))
            taken = _cut(parts, wanted, seed, groups)
            parts["train"] = sorted(set(parts["train"]) - set(taken))
            parts[split] = taken
            origins[split] = f"cut from train, seed {seed}"
            if taken:
                origins["train"] = f"what was left, seed {seed}"
    _check_counts(parts, counts)
    positions = {name: place for place, name in enumerate(n for p in published.values() for n in p)}
    return {
        split: _finish(ordered(parts[split], seed)[: counts.get(split)], positions, origins[split])
        for split in SPLITS
    }


def ordered(names: Iterable[str], seed: int) -> list[str]:
    """The names in an order that looks random and depends on nothing but them and the seed."""

    def draw(name: str) -> bytes:
        return blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()

    return sorted(names, key=lambda name: (draw(name), name))


def _cut(
    parts: Mapping[Split, Sequence[str]],
    wanted: int,
    seed: int,
    groups: Mapping[str, str] | None,
) -> list[str]:
    """Samples of train for one split: ``wanted`` of them, or whole groups that hold as many."""
    if groups is None:
        return ordered(parts["train"], seed)[:wanted]
    held = {groups[name] for split, names in parts.items() if split != "train" for name in names}
    inside = {groups[name] for name in parts["train"]}
    taken: list[str] = []
    for group in ordered(inside - held, seed):
        members = [name for name in parts["train"] if groups[name] == group]
        if len(taken) < wanted and len(taken) + len(members) < len(parts["train"]):
            taken += members
    return taken


def _check_counts(parts: Mapping[Split, Sequence[str]], counts: Mapping[Split, int | None]) -> None:
    if not parts["train"]:
        cut = ", ".join(f"{split} {len(parts[split])}" for split in SPLITS if split != "train")
        raise DataError(
            f"the data set must have training samples left beside the other splits ({cut}), "
            "found none; ask for fewer samples there or add files"
        )
    for split in SPLITS:
        asked = counts.get(split)
        if asked is not None and asked > len(parts[split]) > 0:
            raise ConfigError(
                f"dataset.{split} must be at most {len(parts[split])}, the number of samples of "
                f"the split, got {asked}; ask for fewer or leave the key out"
            )


def _finish(names: Sequence[str], positions: Mapping[str, int], origin: str) -> SplitPart:
    digest = sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
    return SplitPart(np.array([positions[name] for name in names], np.int64), origin, digest)
