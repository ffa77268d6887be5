"""Fixtures of the search tests: a small space, and a training that only pretends."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from taskgroup.results.records import EpochRow
from taskgroup.search.space.search_space import SearchSpace, read_space
from taskgroup.training.config import TrialConfig

VALUES: Mapping[str, Any] = {
    "name": "little",
    "dataset": {"name": "scenes", "image_size": 32, "train": 64, "validation": 16, "test": 16},
    "model": {"backbone": "resnet_small", "width": 8},
    "main_task": "segmentation",
    "auxiliary_tasks": {"subset": ["depth", "normals", "edges"]},
    "loss_weights": {"loguniform": [0.01, 1.0]},
    "adversary": {
        "attack": "pgd",
        "epsilon": {"choice": ["2/255", "4/255"]},
        "steps": {"randint": [1, 3]},
    },
    "training": {"epochs": 4, "learning_rate": {"loguniform": [1e-3, 1e-2]}},
    "objectives": [{"maximize": "segmentation/robust/miou"}],
    "search": {"trials": 8, "sampler": "random"},
}


@pytest.fixture
def values() -> dict[str, Any]:
    """Plain data of a small space, fresh for every test."""
    return deepcopy(dict(VALUES))


@pytest.fixture
def make_space(values: dict[str, Any]) -> Callable[..., SearchSpace]:
    """Builds the small space with some keys pinned, ``key=value`` each."""

    def make(*fixes: str, **changes: Any) -> SearchSpace:
        return read_space({**values, **changes}, fixes=fixes, source="little.yaml")

    return make


class PretendTraining:
    """Stands in for ``fit``: a score that grows with the epoch and falls with the task set."""

    def __init__(self, fail_at: Mapping[int, Exception] | None = None) -> None:
        self.fail_at = dict(fail_at or {})
        self.trained: list[TrialConfig] = []

    def __call__(
        self,
        config: TrialConfig,
        reporter: Any,
        *,
        checkpoint: Path | None = None,
        resume: Path | None = None,
    ) -> None:
        self.trained.append(config)
        reporter.started(7)
        for epoch in range(1, config.training.epochs + 1):
            if epoch in self.fail_at:
                raise self.fail_at[epoch]
            score = 0.1 * epoch / (1 + len(config.auxiliary_tasks))
            metrics = {"segmentation/robust/miou": score, "segmentation/clean/miou": 2 * score}
            reporter.epoch(EpochRow(epoch, metrics, 0.5, 1000))


@pytest.fixture
def pretend() -> type[PretendTraining]:
    """The class of pretended trainings."""
    return PretendTraining
