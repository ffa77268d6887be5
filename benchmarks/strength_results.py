"""What each attack of the strength table left, kept in a folder, and the worst of several."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from strength_networks import Subject
from torch import Tensor

from taskgroup.attacks.base import ATTACK_VERSION
from taskgroup.evaluation.suites.catalogue import suite_conditions
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.evaluation.suites.strong import Suite
from taskgroup.evaluation.verdict.worst_case import worst_case
from taskgroup.metrics.base import SumMetric

OURS = ("strong", "noise", "fast", "black_box")
"""Parts of a suite that count for its worst case."""
FACTORS = (10.0, 0.001)
"""What a network's logits are multiplied by."""
DEPTH_L1 = (50, 200)
"""Steps of APGD on the absolute error of depth: as many as one member has, and as many as all."""


@dataclass(frozen=True)
class Entry:
    """One attack on one network.

    Attributes:
        members: By member the metric's sums per image, ``(N, S)``.
        passes: Per image; forward and backward is one, forward alone a third of one.
        seconds: How long it took.
    """

    members: Mapping[str, Tensor]
    passes: float
    seconds: float


class Store:
    """The finished attacks on one network, by name; of this network and of today's attacks only."""

    def __init__(self, folder: Path, seen: Subject) -> None:
        self.seen = seen
        self.metric: SumMetric = seen.trained.main.metric()
        digest = seen.trained.digest[:12]
        self._path = folder / f"{seen.case.name}, {digest}, attacks {ATTACK_VERSION}.results"
        self._entries: dict[str, Entry] = {}
        if self._path.exists():
            found = torch.load(self._path, weights_only=True)
            self._entries = {name: Entry(*values) for name, values in found.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def names(self, start: str = "") -> list[str]:
        """Names that start like this, in the order they were run."""
        return [name for name in self._entries if name.startswith(start)]

    def write(self, name: str, entry: Entry) -> None:
        """Keep an attack, on disk too."""
        self._entries[name] = entry
        plain = {key: (dict(e.members), e.passes, e.seconds) for key, e in self._entries.items()}
        partial = self._path.with_suffix(".partial")
        torch.save(plain, partial)
        partial.replace(self._path)

    def worst(self, names: Iterable[str], score: str, member: str | None = None) -> float:
        """The worst case over attacks for one score; of one member where it is named."""
        sums = [
            found
            for name in names
            for own, found in self._entries[name].members.items()
            if member is None or own == member
        ]
        return float(
            self.metric.score(worst_case(sums, self.metric, score=score).sums.sum(0))[score]
        )

    def passes(self, names: Iterable[str]) -> float:
        """Passes of several attacks together."""
        return sum(self._entries[name].passes for name in names)


def conditions(suite: Suite, seen: Subject) -> list[Condition]:
    """The parts of a suite that count."""
    found = suite_conditions(
        suite,
        seen.threat,
        seen.trained.main,
        (seen.trained.main_task,),
        num_pixels=seen.batch.images[0].numel(),
    )
    return [condition for condition in found if condition.role in OURS]


def key_of(condition: Condition) -> str:
    """A condition and its steps: what two suites share is run once."""
    return f"{condition.name} {condition.perturbation.row().steps}"


def scaled_key(condition: Condition, factor: float) -> str:
    """The same where the outputs are multiplied."""
    return f"{key_of(condition)} x {factor:g}"


def suite_keys(suite: Suite, seen: Subject, factor: float = 1.0) -> list[str]:
    """Clean and all parts of a suite, at a factor of the outputs."""
    parts = conditions(suite, seen)
    names = [key_of(c) if factor == 1 else scaled_key(c, factor) for c in parts]
    return ["clean", *names]
