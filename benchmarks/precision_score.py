"""The score that adversarial training ends at in bfloat16, beside float32.

The same trial (network, data, seed, order, random starts) is trained once in each number format:
forward passes of the outer step and of the attack that trains it run in that format, parameters and
the optimiser stay in float32. Every final network is attacked in the same way, in float32.

    OMP_NUM_THREADS=1 python benchmarks/precision_score.py --seeds 3
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean

from cases import LARGE, SMALL

from taskgroup.config import parse
from taskgroup.models.base import ModelConfig
from taskgroup.results.records import EpochRow
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit

MAIN = "segmentation"
AUXILIARY = ("depth", "normals")
NETWORKS: Mapping[str, ModelConfig] = {
    "resnet_small, width 16, pyramid decoders": SMALL,
    "ResNet-18, stride 8, up-convolution decoders": LARGE,
}
FORMATS = ("float32", "bfloat16")
SCORES = ("clean", "robust")


@dataclass
class Last:
    """A reporter that keeps the last epoch's metrics."""

    metrics: Mapping[str, float] = field(default_factory=dict)

    def started(self, output_dimension: int) -> None:
        """Nothing to keep."""

    def epoch(self, row: EpochRow) -> None:
        """Keep the metrics."""
        self.metrics = row.metrics


def train(model: ModelConfig, precision: str, seed: int, options: argparse.Namespace) -> Last:
    """The last metrics of 5-step adversarial training of three tasks on scenes."""
    config = parse(
        TrialConfig,
        {
            "dataset": {"name": "scenes", "image_size": 64, "train": options.images},
            "model": model.model_dump(),
            "main_task": MAIN,
            "auxiliary_tasks": list(AUXILIARY),
            "loss_weights": dict.fromkeys(AUXILIARY, 0.1),
            "adversary": {"attack": "pgd", "epsilon": "4/255", "steps": 5},
            "training": {
                "epochs": options.epochs,
                "batch_size": 16,
                "learning_rate": 4e-3,
                "precision": precision,
            },
            "validation": {"every": options.epochs, "images": 32, "steps": 50, "attack": "apgd"},
            "seed": seed,
        },
    )
    last = Last()
    fit(config, last)
    return last


def main() -> None:
    """Print one row per network, score and number format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--networks", type=int, nargs="+", default=range(len(NETWORKS)))
    options = parser.parse_args()
    print(
        "| network | score | float32, % | bfloat16, % | bfloat16 minus float32, by seed | s, both |"
    )
    print("|---|---|---|---|---|---|")
    for name in [list(NETWORKS)[number] for number in options.networks]:
        found: dict[str, list[Mapping[str, float]]] = {one: [] for one in FORMATS}
        seconds = dict.fromkeys(FORMATS, 0.0)
        for seed in range(options.seeds):
            for precision in FORMATS:
                began = time.perf_counter()
                found[precision].append(train(NETWORKS[name], precision, seed, options).metrics)
                seconds[precision] += time.perf_counter() - began
        for score in SCORES:
            key = f"{MAIN}/{score}/miou"
            full, half = ([100 * one[key] for one in found[precision]] for precision in FORMATS)
            above = ", ".join(f"{b - a:+.2f}" for a, b in zip(full, half, strict=True))
            spent = " and ".join(f"{seconds[precision]:.0f}" for precision in FORMATS)
            print(
                f"| {name} | {score} mIoU | {mean(full):.2f} | {mean(half):.2f} | {above} | "
                f"{spent} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
