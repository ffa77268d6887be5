"""Memory of an evaluation of 500 images with 150 classes at 128 pixels; it must stay below 4 GB.

    OMP_NUM_THREADS=2 python benchmarks/evaluation_memory.py

The network has random weights and the scenes' labels are spread over 150 classes: what is measured
is room, not robustness. Steps are few by default, because an attack's room does not grow with them.
"""

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

import taskgroup.models
import taskgroup.tasks  # noqa: F401
from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch, VisionDataset
from taskgroup.data.scenes import SceneConfig
from taskgroup.evaluation.loading import LoadedNetworks, TrainedModel
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import plan_networks
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import plan_shards
from taskgroup.evaluation.verdict.network_result import network_result
from taskgroup.evaluation.verdict.outcomes import finished
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.tasks.base import Target, TaskInfo, build_task

GIGABYTE = 1e9


class Synthetic(VisionDataset):
    """Coloured noise with a class per 8 by 8 block; every sample is drawn when it is asked for."""

    def __init__(self, count: int, classes: int, size: int) -> None:
        self.count, self.classes, self.size = count, classes, size

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at ``indices``."""
        images, maps = zip(*(self._sample(index) for index in indices), strict=True)
        values = torch.stack(maps)
        target = Target(values, torch.ones_like(values, dtype=torch.bool))
        return Batch(torch.stack(images), {"segmentation": target}, torch.tensor(list(indices)))

    def _sample(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        size = self.size // 8
        blocks = torch.randint(self.classes, (size, size), generator=generator)
        picture = torch.rand(3, self.size, self.size, generator=generator)
        return picture, blocks.repeat_interleave(8, 0).repeat_interleave(8, 1)


def shorter(conditions, steps: int):
    """The conditions with at most so many steps, one restart each."""
    return tuple(
        replace(
            c,
            budget=c.budget.model_copy(update={"steps": min(c.budget.steps, steps), "restarts": 1}),
        )
        for c in conditions
    )


def main() -> None:
    """Evaluate and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--steps", type=int, default=2)
    arguments = parser.parse_args()
    names = tuple(str(number) for number in range(arguments.classes))
    task = build_task(TaskInfo("segmentation", arguments.classes, names))
    model = build_model(ModelConfig(backbone="resnet_small", width=16), [task], seed=0).eval()
    trained = TrainedModel(
        model, (task,), SceneConfig(name="scenes"), "segmentation", ThreatModel(epsilon=4 / 255)
    )
    data = Synthetic(arguments.images, arguments.classes, arguments.size)
    loaded = LoadedNetworks((trained,), (data,), torch.device("cpu"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.perf_counter()
    options = EvaluationOptions(arguments.suite, images=arguments.images)
    plans = [
        replace(
            plan,
            conditions=shorter(plan.conditions, arguments.steps),
            transferred=shorter([plan.transferred], arguments.steps)[0],
        )
        for plan in plan_networks(loaded, options)
    ]
    shards = plan_shards(plans)
    done = finished(run_here(loaded, shards))
    result = network_result(loaded, plans, done, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{arguments.images} images, {arguments.classes} classes, {arguments.size} px, "
        f"{len(shards)} shards of {len(result.outcomes)} conditions, "
        f"{torch.get_num_threads()} threads: peak {peak / GIGABYTE:.2f} GB "
        f"({before / GIGABYTE:.2f} GB before), {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
