"""From checkpoints to networks side by side with their images, in any process."""

from dataclasses import dataclass
from typing import Literal

from taskgroup.data.loading import open_dataset
from taskgroup.errors import DataError
from taskgroup.evaluation.loading import TrainedModel, load_trained
from taskgroup.evaluation.objective.network import evaluation_device
from taskgroup.evaluation.shards.shard import Bench

ScoredSplit = Literal["test", "confirm"]


@dataclass(frozen=True)
class BenchPlan:
    """What a process needs to know to open the same bench as any other one.

    Attributes:
        checkpoints: Paths of the networks.
        split: Split that they are scored on.
        seed: Seed of every attack.
    """

    checkpoints: tuple[str, ...]
    split: ScoredSplit = "test"
    seed: int = 0


def open_bench(plan: BenchPlan) -> Bench:
    """Load every network and open its split, so that what is missing is missed at once.

    Raises:
        DataError: A checkpoint or a data set is missing, damaged, or foreign.
        ConfigError: A checkpoint names what this installation lacks.
    """
    device = evaluation_device()
    networks = tuple(load_trained(path) for path in plan.checkpoints)
    for trained in networks:
        trained.model.to(device)
    datasets = tuple(
        open_dataset(trained.dataset, plan.split, trained.task_set) for trained in networks
    )
    return Bench(networks, datasets, device, plan.seed)


def judges(networks: tuple[TrainedModel, ...]) -> dict[int, tuple[int, ...]]:
    """Per network the others that can be scored on its images: same data set, same main task."""
    return {
        position: tuple(
            other
            for other, judge in enumerate(networks)
            if other != position
            and judge.dataset == trained.dataset
            and judge.main.info == trained.main.info
        )
        for position, trained in enumerate(networks)
    }


def check_labels(bench: Bench, network: int, count: int) -> None:
    """Refuse images among which nothing is labelled: a score of them would be NaN.

    Raises:
        DataError: Not one pixel of the main task is valid among the first ``count`` images.
    """
    trained, dataset = bench.networks[network], bench.datasets[network]
    for image in range(count):
        if dataset.batch([image]).targets[trained.main_task].valid.any():
            return
    raise DataError(
        f"the images to score must have a valid pixel for task {trained.main_task!r}, found none "
        f"in {count} of data set {trained.dataset.name!r}; check its labels, or raise --images"
    )
