"""How long SEA takes, against the ensemble as it is usually written, and what each leaves.

The usual way runs every head in float32 and in torch's default layout, calls ``loss.backward()``,
which fills the gradients of all parameters too, and keeps all images to the end. Ours takes the
gradient of the images alone, runs the attacked head alone, in channels-last and, where the device
multiplies it natively, in bfloat16, and lets finished images leave. Both attack the same images of
the same network from the same random starts with the same steps, and both are scored in float32 by
the same worst cases; other seeds tell what another start changes.

    OMP_NUM_THREADS=1 python benchmarks/sea.py                       # minutes
    OMP_NUM_THREADS=1 python benchmarks/sea.py --images 4 --steps 30 # a small look
    OMP_NUM_THREADS=1 python benchmarks/sea.py --seeds 3
    OMP_NUM_THREADS=1 python benchmarks/sea.py --adversaries natural \
        --auxiliary depth normals edges autoencoding                 # five heads

The networks are trained here on scenes, naturally and adversarially.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median

import torch
from cases import LARGE, SMALL
from sea_protocol import sea_report, worst_mean
from torch import Tensor, nn

import taskgroup.attacks
import taskgroup.data
import taskgroup.models
import taskgroup.tasks
import taskgroup.training.weighting  # noqa: F401  (these five fill the registries)
from taskgroup.attacks.apgd import checkpoints
from taskgroup.attacks.base import AttackBudget
from taskgroup.attacks.ensembles.sea import SEA_LOSSES
from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.phases import SHRINKING, phase_steps
from taskgroup.config import parse
from taskgroup.data.base import Batch
from taskgroup.data.loading import open_dataset
from taskgroup.draws import Draws
from taskgroup.evaluation.loading import TrainedModel, load_trained
from taskgroup.evaluation.objective.network import evaluation_device, fast_precision
from taskgroup.evaluation.objective.task_objective import inverse_shares
from taskgroup.evaluation.perturbations.base import BatchSeed
from taskgroup.evaluation.scoring import predict
from taskgroup.evaluation.verdict.worst_case import worst_case
from taskgroup.results.records import EpochRow
from taskgroup.tasks.base import Target
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit

MAIN = "segmentation"
MODELS = {"small": SMALL, "large": LARGE}
"""resnet_small with pyramid decoders; ResNet-18 at stride 8 with up-convolution decoders."""
ADVERSARIES = {
    "natural": {"attack": "none"},
    "adversarial": {"attack": "pgd", "epsilon": "4/255", "steps": 3},
}


class Silent:
    """A reporter that says nothing."""

    def started(self, output_dimension: int) -> None:
        pass

    def epoch(self, row: EpochRow) -> None:
        pass


def train(
    network: str,
    adversary: dict[str, object],
    *,
    auxiliary: list[str],
    epochs: int,
    size: int,
    folder: Path,
) -> TrainedModel:
    """A network of several tasks on scenes."""
    config = parse(
        TrialConfig,
        {
            "dataset": {"name": "scenes", "image_size": size, "train": 256},
            "model": MODELS[network].model_dump(),
            "main_task": MAIN,
            "auxiliary_tasks": auxiliary,
            "loss_weights": dict.fromkeys(auxiliary, 0.1),
            "adversary": adversary,
            "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 4e-3},
            "validation": {"every": epochs, "images": 16, "steps": 2},
        },
    )
    path = str(folder / "network.pt")
    fit(config, Silent(), checkpoint=path)
    return load_trained(path)


class Usual:
    """SEA as it is usually written: one loop over everything, nothing spared."""

    def __init__(self, trained: TrainedModel, target: Target, epsilon: float) -> None:
        self.model = deepcopy(trained.model).to(memory_format=torch.contiguous_format).eval()
        self.heads = [task.name for task in trained.tasks]
        self.target, self.epsilon = target, epsilon
        shares = trained.main.info.class_shares
        self.setting = Setting(class_weights=inverse_shares(shares))

    def look(self, images: Tensor, loss: str) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of a loss, cross-entropy and pixel accuracy, each per image."""
        probe = images.clone().requires_grad_()
        logits = self.model(probe, self.heads)[MAIN]
        values, valid = self.target
        self.model.zero_grad()
        LOSSES[loss](logits, values, valid, self.setting).sum().backward()
        with torch.no_grad():
            tracked = LOSSES["cross_entropy"](logits, values, valid)
            right = (logits.argmax(1) == values) & valid
            score = right.sum((1, 2)) / valid.sum((1, 2))
        assert probe.grad is not None
        return probe.grad, tracked, score

    def attack(self, images: Tensor, loss: str, steps: int, draws: Draws) -> Tensor:
        """Three phases of APGD."""
        noise = draws.image_rand(*images.shape).to(images) * 2 - 1
        point = (images + SHRINKING[0].radius * self.epsilon * noise).clamp(0, 1)
        for phase, count in zip(SHRINKING, phase_steps(SHRINKING, steps), strict=True):
            point = self.climb(images, point, loss, count, phase.radius * self.epsilon)
        return point

    def climb(self, images: Tensor, start: Tensor, loss: str, steps: int, epsilon: float) -> Tensor:
        """One phase; the iterate of each image with the lowest accuracy."""
        lower, upper = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
        point = before = torch.clamp(start, lower, upper)
        gradient, tracked, lowest = self.look(point, loss)
        best, best_gradient, best_tracked, found = point, gradient, tracked, point
        step = torch.full((len(images),), 2 * epsilon, device=images.device)
        looked, halved = tracked, torch.ones_like(step, dtype=torch.bool)
        history = [torch.zeros_like(tracked)]
        looks = checkpoints(steps)
        for number in range(1, steps + 1):
            share = 1.0 if number == 1 else 0.75
            ahead = torch.clamp(point + _wide(step) * gradient.sign(), lower, upper)
            moved = point + share * (ahead - point) + (1 - share) * (point - before)
            before, point = point, torch.clamp(moved, lower, upper)
            gradient, tracked, score = self.look(point, loss)
            history.append(tracked)
            found = torch.where(_wide(score <= lowest), point, found)
            lowest = torch.minimum(score, lowest)
            higher = tracked > best_tracked
            best = torch.where(_wide(higher), point, best)
            best_gradient = torch.where(_wide(higher), gradient, best_gradient)
            best_tracked = torch.maximum(tracked, best_tracked)
            if number in looks:
                recent = torch.stack(history[-looks[number] - 1 :])
                rises = (recent[1:] > recent[:-1]).sum(0)
                halve = (rises <= 0.75 * looks[number]) | (~halved & (looked >= best_tracked))
                step = torch.where(halve, step / 2, step)
                point = torch.where(_wide(halve), best, point)
                gradient = torch.where(_wide(halve), best_gradient, gradient)
                looked, halved = best_tracked, halve
        return found


def _wide(flags: Tensor) -> Tensor:
    return flags[:, None, None, None]


@dataclass(frozen=True)
class Outcome:
    """One SEA of a batch: its time in s, and the worst accuracy and mean IoU it leaves, in %."""

    seconds: float
    accuracy: float
    miou: float


def usual(trained: TrainedModel, batch: Batch, budget: AttackBudget, seed: int) -> Outcome:
    """SEA in the usual way."""
    target, metric = batch.targets[MAIN], trained.main.metric()
    way = Usual(trained, target, budget.epsilon)
    draws = BatchSeed(seed, 0).draws()
    begin, results = time.perf_counter(), []
    for loss in SEA_LOSSES:
        images = way.attack(batch.images, loss, budget.steps, draws)
        logits = predict(way.model, images, [MAIN])[MAIN]
        results.append(metric.per_image(logits, target.values, target.valid).cpu())
    seconds = time.perf_counter() - begin
    chosen = worst_case(results, metric, score="miou", seed=seed).sums.sum(0)
    accuracy = worst_mean(results, metric, score="accuracy")
    return Outcome(seconds, 100 * accuracy, 100 * float(metric.score(chosen)["miou"]))


def ours(
    trained: TrainedModel,
    batch: Batch,
    budget: AttackBudget,
    seed: int,
    *,
    precision: torch.dtype | None,
) -> Outcome:
    """SEA in ours."""
    begin = time.perf_counter()
    report = sea_report(
        trained.model, trained.main, [batch], budget=budget, seed=seed, autocast=precision
    )
    seconds = time.perf_counter() - begin
    return Outcome(seconds, 100 * report.worst_accuracy, 100 * report.worst_miou)


def compare(trained: TrainedModel, batch: Batch, budget: AttackBudget, seeds: int) -> Iterator[str]:
    """A row per way: medians of time, means of scores, and each seed's distance to the usual."""
    ways: dict[str, Callable[..., Outcome]] = {
        "usual": usual,
        "ours, float32": partial(ours, precision=None),
    }
    precision = fast_precision(batch.images.device)
    if precision is not None:
        ways[f"ours, {str(precision).removeprefix('torch.')}"] = partial(ours, precision=precision)
    found: dict[str, list[Outcome]] = {way: [] for way in ways}
    for seed in range(seeds):
        for way, attack in ways.items():
            found[way].append(attack(trained, batch, budget, seed))
    for way, outcomes in found.items():
        pairs = list(zip(found["usual"], outcomes, strict=True))
        ratio = median(plain.seconds / mine.seconds for plain, mine in pairs)
        above = ", ".join(f"{mine.miou - plain.miou:+.2f}" for plain, mine in pairs)
        cells = [
            way,
            f"{median(mine.seconds for mine in outcomes):.1f}",
            f"{ratio:.1f}",
            f"{mean(mine.accuracy for mine in outcomes):.2f}",
            f"{mean(mine.miou for mine in outcomes):.2f}",
            above,
        ]
        yield " | ".join(cells) + " |"


def main() -> None:
    """Print one row per network, radius and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=list(MODELS), default="large")
    parser.add_argument("--auxiliary", nargs="*", default=["depth", "normals"])
    parser.add_argument(
        "--adversaries", nargs="+", choices=list(ADVERSARIES), default=list(ADVERSARIES)
    )
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--epsilons", nargs="+", default=["4/255", "8/255"])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    device = evaluation_device()
    print("| network | epsilon | way | s | times as fast | accuracy | mIoU | mIoU above usual |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.adversaries:
        with tempfile.TemporaryDirectory() as folder:
            trained = train(
                options.network,
                ADVERSARIES[name],
                auxiliary=options.auxiliary,
                epochs=options.epochs,
                size=options.size,
                folder=Path(folder),
            )
        nn.Module.to(trained.model, device)
        dataset = open_dataset(trained.dataset, "test", trained.task_set)
        batch = dataset.batch(range(options.images)).to(device)
        for epsilon in options.epsilons:
            budget = parse(AttackBudget, {"epsilon": epsilon, "steps": options.steps})
            for row in compare(trained, batch, budget, options.seeds):
                print(f"| {name} | {epsilon} | {row}", flush=True)


if __name__ == "__main__":
    main()
