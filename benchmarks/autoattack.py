"""Robust accuracy under our AutoAttack beside that of pyautoattack, on three networks.

    pip install 'taskgroup[autoattack]'
    TASKGROUP_DATA=... OMP_NUM_THREADS=2 python benchmarks/autoattack.py

The networks are trained here on the CIFAR-10 of TASKGROUP_DATA for a few minutes: one naturally,
two adversarially with different attacks. Both suites attack the same first test images of each
network in the same ball: ``standard``, 100 steps, 5000 queries. Numbers on a part of the data are
labelled ``subset`` and compare with nothing but each other.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import taskgroup.attacks
import taskgroup.data
import taskgroup.models
import taskgroup.tasks
import taskgroup.training.weighting  # noqa: F401  (these five fill the registries)
from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.config import parse
from taskgroup.data.base import Batch
from taskgroup.data.loading import open_dataset
from taskgroup.draws import Draws
from taskgroup.evaluation.loading import TrainedModel, load_trained
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.results.records import EpochRow
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit

MAIN = "classification"
NETWORKS = {
    "natural": {"attack": "none"},
    "FGSM-RS 4/255": {"attack": "fgsm", "epsilon": "4/255"},
    "PGD-AT 8/255": {"attack": "pgd", "epsilon": "8/255", "steps": 3},
}


class Silent:
    """A reporter that tells the last score only."""

    def started(self, output_dimension: int) -> None:
        pass

    def epoch(self, row: EpochRow) -> None:
        pass


class Logits(nn.Module):
    """The main task's logits, the network that pyautoattack knows."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images, [MAIN])[MAIN]
        return logits


def train(adversary: dict[str, object], *, epochs: int, width: int, folder: Path) -> TrainedModel:
    """A small residual network on CIFAR-10."""
    config = parse(
        TrialConfig,
        {
            "dataset": {"name": "cifar10"},
            "model": {"backbone": "resnet_small", "width": width},
            "main_task": MAIN,
            "adversary": adversary,
            "training": {"epochs": epochs, "batch_size": 64, "learning_rate": 3e-3},
            "validation": {"every": epochs, "images": 64, "steps": 5},
        },
    )
    path = folder / "network.pt"
    fit(config, Silent(), checkpoint=str(path))
    return load_trained(str(path))


def ours(trained: TrainedModel, batch: Batch, budget: AttackBudget) -> Tensor:
    """Which images our suite leaves right, ``(N,)`` bool."""
    objective = TaskObjective(
        trained.model, trained.tasks, batch.targets, main_task=MAIN, attacked_tasks=(MAIN,)
    )
    generator = torch.Generator().manual_seed(0)
    with fixed_network(trained.model), torch.no_grad():
        found = ATTACKS["autoattack"](
            objective, batch.images, budget=budget, draws=Draws(generator)
        )
        return objective.logits(found).argmax(1) == batch.targets[MAIN].values


def theirs(trained: TrainedModel, batch: Batch, budget: AttackBudget) -> Tensor:
    """Which images pyautoattack leaves right, ``(N,)`` bool."""
    from pyautoattack import AutoAttack

    labels = batch.targets[MAIN].values
    norm = {"linf": "Linf", "l2": "L2"}[budget.norm]
    with fixed_network(trained.model):
        network = Logits(trained.model).eval()
        suite = AutoAttack(network, eps=budget.epsilon, norm=norm, seed=0, device="cpu")
        found, *_ = suite.run_standard_evaluation(batch.images, labels, batch_size=len(labels))
        with torch.no_grad():
            return network(found).argmax(1) == labels


def main() -> None:
    """Print one row per network and ball."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--balls", nargs="+", default=["linf:4/255", "l2:0.25"])
    options = parser.parse_args()
    print("| network | ball | images (subset) | clean | ours | pyautoattack | s ours | s theirs |")
    print("|---|---|---|---|---|---|---|---|")
    for name, adversary in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            trained = train(
                adversary, epochs=options.epochs, width=options.width, folder=Path(folder)
            )
        batch = open_dataset(trained.dataset, "test", (MAIN,)).batch(range(options.images))
        with fixed_network(trained.model), torch.no_grad():
            right = Logits(trained.model)(batch.images).argmax(1) == batch.targets[MAIN].values
        for ball in options.balls:
            norm, _, radius = ball.partition(":")
            budget = parse(AttackBudget, {"norm": norm, "epsilon": radius, "steps": 100})
            scores, seconds = [100 * right.float().mean().item()], []
            for suite in (ours, theirs):
                begin = time.perf_counter()
                scores.append(100 * suite(trained, batch, budget).float().mean().item())
                seconds.append(time.perf_counter() - begin)
            cells = [f"{score:.1f}" for score in scores] + [f"{each:.0f}" for each in seconds]
            print(f"| {name} | {ball} | {len(batch)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
