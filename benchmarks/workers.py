"""Throughput of two workers, one core each, against one worker on one core.

The workers are plain processes joined by gloo, as Ray Train joins them, so that Ray's start-up is
not in the numbers; each is bound to a core of its own. Both train the same trials of scenes with
the same batches, in turn, and the throughput is what an epoch's record says (validation excluded).
Two trials of one worker each, side by side, tell what this machine gives to two busy cores at most.

    OMP_NUM_THREADS=1 python benchmarks/workers.py --rounds 3
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from taskgroup.results.records import EpochRow
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit
from taskgroup.training.parallel.group import ALONE, WorkerGroup

SMALL = {"size": 64, "batch": 32, "model": {"backbone": "resnet_small", "width": 16}}
LARGE = {"size": 128, "batch": 64, "model": {"backbone": "resnet_small", "width": 32}}
DRN = {"size": 256, "batch": 8, "model": {"backbone": "drn_d_22", "decoder": "bilinear"}}
CASES: Mapping[str, Mapping[str, Any]] = {
    "natural, resnet_small, 64 px, width 16, batch 32": {**SMALL, "steps": 0},
    "pgd-3, resnet_small, 64 px, width 16, batch 32": {**SMALL, "steps": 3},
    "natural, resnet_small, 128 px, width 32, batch 64": {**LARGE, "steps": 0},
    "pgd-3, resnet_small, 128 px, width 32, batch 64": {**LARGE, "steps": 3},
    "natural, DRN-D-22, 256 px, batch 8": {**DRN, "steps": 0},
    "pgd-3, DRN-D-22, 256 px, batch 8": {**DRN, "steps": 3},
}


@dataclass
class Rates:
    """A reporter that keeps the images per second of every epoch."""

    rates: list[float] = field(default_factory=list)

    def started(self, output_dimension: int) -> None:
        """Nothing to keep."""

    def epoch(self, row: EpochRow) -> None:
        """Keep one epoch's throughput."""
        self.rates.append(row.metrics["images_per_second"])


def trial(case: Mapping[str, Any], *, batches: int, epochs: int) -> TrialConfig:
    """Two tasks on scenes; the last batch is partial."""
    attack = {"attack": "pgd", "steps": case["steps"]} if case["steps"] else {"attack": "none"}
    images = batches * case["batch"] - case["batch"] // 4
    return TrialConfig.model_validate(
        {
            "dataset": {
                "name": "scenes", "image_size": case["size"], "train": images, "validation": 8,
            },
            "model": case["model"],
            "main_task": "segmentation",
            "auxiliary_tasks": ["depth"],
            "loss_weights": {"depth": 0.1},
            "adversary": attack,
            "training": {"epochs": epochs, "batch_size": case["batch"]},
            "validation": {"steps": 1, "every": epochs},
        }
    )  # fmt: skip


def together(rank: int, size: int, folder: str, config: TrialConfig) -> None:
    """One worker of a trial; worker 0 writes the throughput of all epochs but the first."""
    _begin(rank, size, folder)
    reporter = Rates()
    fit(config, reporter, group=WorkerGroup.current())
    if rank == 0:
        _end(rank, folder, reporter)


def apart(rank: int, size: int, folder: str, config: TrialConfig) -> None:
    """A trial of its own, which begins when the others do."""
    _begin(rank, size, folder)
    torch.distributed.barrier()
    reporter = Rates()
    fit(config, reporter, group=ALONE)
    _end(rank, folder, reporter)


def _begin(rank: int, size: int, folder: str) -> None:
    """Take a core, and find the other processes."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)


def _end(rank: int, folder: str, reporter: Rates) -> None:
    Path(folder, f"{rank}.json").write_text(json.dumps(reporter.rates[1:]))


def throughput(way: Callable[..., None], size: int, config: TrialConfig) -> float:
    """Images per second of ``size`` processes together: medians of their epochs."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(way, (size, folder, config), nprocs=size)
        found = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    return sum(statistics.median(rates) for rates in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)))
    arguments = parser.parse_args()
    print(
        "| trial | 1 worker, images/s | 2 workers | 2 separate trials | ratios, 2 workers "
        "| ratios, 2 trials |"
    )
    print("|---|---|---|---|---|---|")
    for name in [list(CASES)[number] for number in arguments.cases]:
        config = trial(CASES[name], batches=arguments.batches, epochs=arguments.epochs)
        rounds = [
            (
                throughput(together, 1, config),
                throughput(together, 2, config),
                throughput(apart, 2, config),
            )
            for _ in range(arguments.rounds)
        ]
        one, two, separate = (statistics.median(rates) for rates in zip(*rounds, strict=True))
        ratios = ", ".join(f"{second / first:.2f}" for first, second, _ in rounds)
        most = ", ".join(f"{third / first:.2f}" for first, _, third in rounds)
        print(
            f"| {name} | {one:.1f} | {two:.1f} | {separate:.1f} | {ratios} | {most} |", flush=True
        )


if __name__ == "__main__":
    main()
