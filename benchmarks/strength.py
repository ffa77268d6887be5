"""Our suite against the attacks of other packages, on the same networks and images.

    TASKGROUP_DATA=... OMP_NUM_THREADS=2 python benchmarks/strength.py --out benchmarks/strength.md

Networks are trained here, naturally and adversarially, on scenes and on subsets of CamVid and
CIFAR-10. Each is then attacked in the same L-infinity ball by every single attack of suite
``standard``, by their ensemble, and by the attacks of ``peers.py`` whose packages are installed.
The goal: no score of ours lies above the best peer's by more than 0.1 points or one image,
whichever is more. Everything is seeded.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from peers import IGNORED, installed, peers_for
from torch import Tensor, nn

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.config import parse
from taskgroup.data.base import Batch
from taskgroup.evaluation.loading import LoadedNetworks, NetworkSources, load_networks
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import WHOLE, BatchSeed
from taskgroup.evaluation.run import network_results
from taskgroup.evaluation.scoring import predict
from taskgroup.evaluation.verdict.network_result import NetworkResult
from taskgroup.results.records import EpochRow
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit

POINTS = 0.001
SINGLE = ("strong", "noise", "fast", "black_box")


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: What the table calls it.
        main_task: What it does.
        dataset: Where it is trained and attacked.
        width: Width of ``resnet_small``.
        epochs: Length of its training.
        epsilon: Radius that it is attacked with, and trained with where ``is_adversarial``.
        is_adversarial: Whether it was trained on attacked images.
    """

    name: str
    main_task: str
    dataset: dict[str, object]
    width: int
    epochs: int
    epsilon: str
    is_adversarial: bool

    def config(self, shorter: int) -> TrialConfig:
        """The trial; ``shorter`` divides its epochs."""
        attack = {"attack": "pgd", "epsilon": self.epsilon, "steps": 3}
        return parse(
            TrialConfig,
            {
                "dataset": self.dataset,
                "model": {"backbone": "resnet_small", "width": self.width},
                "main_task": self.main_task,
                "adversary": attack if self.is_adversarial else {"attack": "none"},
                "training": {
                    "epochs": max(1, self.epochs // shorter),
                    "batch_size": 16,
                    "learning_rate": 0.005,
                    "schedule": "one_cycle",
                    "augmentation": "flip",
                },
                "validation": {"attack": "fgsm", "epsilon": self.epsilon, "images": 16},
            },
        )


def cases() -> Iterator[Case]:
    """Three data sets, a natural and an adversarial network each."""
    scenes = {"name": "scenes", "image_size": 48, "train": 1024, "validation": 16, "test": 128}
    camvid = {"name": "camvid", "image_size": 64}
    cifar = {"name": "cifar10", "train": 4000, "validation": 16, "test": 128}
    for kind, is_adversarial in (("natural", False), ("adversarial", True)):
        yield Case(f"scenes, {kind}", "segmentation", scenes, 16, 8, "4/255", is_adversarial)
        yield Case(
            f"CamVid subset, {kind}", "segmentation", camvid, 16, 12, "4/255", is_adversarial
        )
        yield Case(
            f"CIFAR-10 subset, {kind}", "classification", cifar, 32, 10, "8/255", is_adversarial
        )


class Quiet:
    """Listens to a training and says nothing."""

    def started(self, output_dimension: int) -> None:
        """Nothing to do."""

    def epoch(self, row: EpochRow) -> None:
        """Nothing to do."""


class Logits(nn.Module):
    """The main task of a network, as other packages want it."""

    def __init__(self, model: nn.Module, task: str) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` or ``(N, K, H, W)``."""
        return self.model(images, [self.task])[self.task].float()


@dataclass(frozen=True)
class Line:
    """One attack on one network.

    Attributes:
        network: The network.
        attack: The attack.
        scores: By name.
        seconds: How long it took.
        is_ours: Whether taskgroup's own code made it.
    """

    network: str
    attack: str
    scores: dict[str, float]
    seconds: float
    is_ours: bool


FURTHER = {
    "segmentation": {"pgd": 100, "apgd": 300, "segpgd": 100, "cospgd": 100, "mim": 100},
    "classification": {"pgd": 100, "apgd": 100, "mim": 100, "square": 5000},
}
"""Single attacks with their steps or queries that are no part of the suite."""
SCORES = {"segmentation": ("miou", "accuracy"), "classification": ("accuracy",)}


def our_lines(
    case: Case, result: NetworkResult, loaded: LoadedNetworks, seconds: float
) -> list[Line]:
    """Clean, single attacks and the ensemble of all."""
    task = loaded.networks[0].main
    metric = task.metric()
    lines = []
    for outcome in result.outcomes:
        condition = outcome.condition
        if condition.role == "clean" or condition.role in SINGLE:
            name = " / ".join(filter(None, (condition.name, outcome.member)))
            name += f", {condition.images} images" if condition.images else ""
            found = metric.score(outcome.sums[task.name].sum(0))
            own = {score: float(found[score]) for score in SCORES[case.main_task]}
            lines.append(Line(case.name, name, own, outcome.seconds, condition.role != "clean"))
    worst = {
        score: float(metric.score(found.sums.sum(0))[score])
        for _, score, found in result.worst
        if score in SCORES[case.main_task]
    }
    return [*lines, Line(case.name, "**suite standard, worst case**", worst, seconds, True)]


def single_lines(case: Case, loaded: LoadedNetworks, count: int, threat: ThreatModel) -> list[Line]:
    """Further attacks of ours, one by one; the suite does without them."""
    trained, batch = loaded.networks[0], loaded.batch(0, 0, count)
    lines = []
    for name, steps in FURTHER[case.main_task].items():
        budget = AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=steps)
        attack = NetworkAttack(name, budget, (case.main_task,))
        began = time.perf_counter()
        with fixed_network(trained.model):
            network = trained.under_test(loaded.device)
            made = attack.apply(network, batch, BatchSeed(0, 0))[WHOLE]
            found = scored(loaded, batch, made, SCORES[case.main_task])
        seconds = time.perf_counter() - began
        lines.append(Line(case.name, f"{name}, {steps} steps", found, seconds, True))
    return lines


def peer_lines(case: Case, loaded: LoadedNetworks, count: int, epsilon: float) -> list[Line]:
    """Every peer on the same images; what leaves the ball by more than rounding is an error."""
    trained, task = loaded.networks[0], loaded.networks[0].main
    batch = loaded.batch(0, 0, count)
    target = batch.targets[task.name]
    labels = target.values.long().where(target.valid, IGNORED)
    lines = []
    for name, peer in peers_for(labels.ndim == 3).items():
        torch.manual_seed(0)
        began = time.perf_counter()
        logits = Logits(trained.model, task.name).eval().requires_grad_(False)
        made = peer(logits, batch.images.clone(), labels, epsilon)
        seconds = time.perf_counter() - began
        assert (made - batch.images).abs().max() <= epsilon + 1e-5, name
        assert made.min() >= -1e-6, name
        assert made.max() <= 1 + 1e-6, name
        scores = scored(loaded, batch, made.detach(), SCORES[case.main_task])
        lines.append(Line(case.name, name, scores, seconds, False))
        print(lines[-1], flush=True)
    return lines


def scored(
    loaded: LoadedNetworks, batch: Batch, images: Tensor, names: Sequence[str]
) -> dict[str, float]:
    """Scores of a network on images that were attacked elsewhere."""
    task = loaded.networks[0].main
    target, metric = batch.targets[task.name], task.metric()
    assert not any(module.training for module in loaded.networks[0].model.modules())
    prediction = predict(loaded.networks[0].model, images, [task.name])[task.name]
    found = metric.score(metric.per_image(prediction, target.values, target.valid).sum(0))
    return {name: float(found[name]) for name in names}


def run_case(case: Case, folder: Path, images: int, shorter: int) -> list[Line]:
    """Train a network and attack it."""
    checkpoint = folder / f"{case.name}.pt"
    config = case.config(shorter)
    fit(config, Quiet(), checkpoint=checkpoint)
    loaded = load_networks(NetworkSources((str(checkpoint),)))
    count = min(images, len(loaded.datasets[0]))
    began = time.perf_counter()
    options = EvaluationOptions("standard", count, attacked_tasks=(case.main_task,))
    (result,) = network_results(loaded, options)
    ours = our_lines(case, result, loaded, time.perf_counter() - began)
    print(f"{case.name}: {ours[-1].scores}, {result.findings or 'ok'}", flush=True)
    singles = single_lines(case, loaded, count, loaded.networks[0].threat)
    return [*singles, *ours, *peer_lines(case, loaded, count, config.validation.epsilon)]


def table(lines: Sequence[Line]) -> list[str]:
    """The lines as Markdown."""
    rows = ["| network | attack | scores | s |", "|---|---|---|---|"]
    for line in lines:
        scores = ", ".join(f"{name} {100 * value:.2f} %" for name, value in line.scores.items())
        rows.append(f"| {line.network} | {line.attack} | {scores} | {line.seconds:.0f} |")
    return rows


def verdicts(lines: Sequence[Line], images: int) -> list[str]:
    """Per network and score: ours, the best of the others, and whether the goal is met."""
    limit = max(POINTS, 1 / images)
    rows = [
        "| network | score | ours, % | best other, % | which | ours above by, points | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for network in dict.fromkeys(line.network for line in lines):
        own = [line for line in lines if line.network == network]
        ours = next(line for line in own if line.attack.startswith("**"))
        others = [line for line in own if not line.is_ours and line.attack != "clean"]
        for score, value in ours.scores.items() if others else ():
            best = min(others, key=lambda line, score=score: line.scores[score])
            gap = value - best.scores[score]
            rows.append(
                f"| {network} | {score} | {100 * value:.2f} | {100 * best.scores[score]:.2f} "
                f"| {best.attack} | {100 * gap:+.2f} | {'met' if gap <= limit else 'MISSED'} |"
            )
    return rows


def page(lines: Sequence[Line], images: int) -> str:
    """Everything as Markdown: how it was result, who wins, every score."""
    head = (
        f"- {date.today()}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{images} images, {', '.join(installed().values()) or 'no peers'}"
    )
    return "\n".join([head, "", *verdicts(lines, images), "", *table(lines), ""])


def main() -> None:
    """Run the cases; the table is written anew after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--shorter", type=int, default=1, help="Divides the epochs of training.")
    parser.add_argument("--only", default="", help="Cases whose name holds this.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if arguments.only not in case.name:
                continue
            lines += run_case(case, Path(folder), arguments.images, arguments.shorter)
            if arguments.out is not None:
                arguments.out.write_text(page(lines, arguments.images), encoding="utf-8")
    print(page(lines, arguments.images))


if __name__ == "__main__":
    main()
