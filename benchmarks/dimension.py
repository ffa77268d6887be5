"""How long gradients against the number of outputs take, against a naive loop over ``M``.

The naive loop goes once forward and once back for every number of outputs and every repeat: all
heads in float32, in torch's default layout, ``loss.backward()`` with the gradients of all
parameters, as the published script does. The spare loop does the same as sparingly as a step of an
attack: the head alone, the gradient of the images alone. Ours goes forward once, and back once for
each part of random orders, whose unions are the samples.

Every way measures the same numbers of outputs on the same images, with as many random choices of
each (all pixels of an image can be chosen in one way only). Values of the same choice must agree
to 1e-3.

    OMP_NUM_THREADS=1 python benchmarks/dimension.py
"""

import argparse
from collections.abc import Sequence
from copy import deepcopy

import torch
from cases import MAIN, SMALL, UNTIED_DRN, draw_batch, three_tasks, time_in_turn
from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch
from taskgroup.data.scenes import SceneConfig
from taskgroup.evaluation.dimension.options import GRIDS, Grid, gradient_outputs
from taskgroup.evaluation.dimension.pixel_gradients import pixel_gradients
from taskgroup.evaluation.dimension.sampling import plan_walks, random_ranks
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.models.build import build_model
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Target, Task

SEED = 0


def loss_of(task: Task, prediction: Tensor, batch: Batch, chosen: Tensor) -> Tensor:
    """Summed loss of the chosen pixels ``(N, H, W)``."""
    target = batch.targets[task.name]
    return task.loss(prediction, Target(target.values, chosen)).loss_sum.sum()


def naive(
    model: MultitaskModel, task: Task, batch: Batch, outputs: Sequence[int], repeats: int
) -> Tensor:
    """Mean norms ``(N, K)``: one pass forward and one back, parameters included, per choice."""
    norms = torch.zeros(len(batch), len(outputs))
    valid = batch.targets[task.name].valid
    for repeat in range(repeats):
        ranks = random_ranks(valid, batch.index, seed=SEED, repeat=repeat)
        for place, count in enumerate(outputs):
            images = batch.images.clone().requires_grad_()
            model.zero_grad(set_to_none=True)
            predictions = model(images)
            loss_of(task, predictions[task.name], batch, ranks < count).backward()
            assert images.grad is not None
            norms[:, place] += images.grad.flatten(1).norm(dim=1) / count
    return norms / repeats


def spare(
    model: MultitaskModel, task: Task, batch: Batch, outputs: Sequence[int], repeats: int
) -> Tensor:
    """The same with the head alone and the gradient of the images alone."""
    norms = torch.zeros(len(batch), len(outputs))
    valid = batch.targets[task.name].valid
    with fixed_network(model):
        for repeat in range(repeats):
            ranks = random_ranks(valid, batch.index, seed=SEED, repeat=repeat)
            for place, count in enumerate(outputs):
                images = batch.images.clone().requires_grad_()
                prediction = model(images, [task.name])[task.name]
                loss = loss_of(task, prediction, batch, ranks < count)
                (gradient,) = torch.autograd.grad(loss, images)
                norms[:, place] += gradient.flatten(1).norm(dim=1) / count
    return norms / repeats


def ours(
    trained: TrainedModel, task: Task, batch: Batch, outputs: Sequence[int], repeats: int
) -> Tensor:
    """Mean norms ``(N, K)`` over as many choices."""
    with fixed_network(trained.model):
        found = pixel_gradients(trained, task, batch, outputs=outputs, repeats=repeats, seed=SEED)
    return found.norms / found.samples


def check(
    model: MultitaskModel, trained: TrainedModel, task: Task, batch: Batch, outputs: Sequence[int]
) -> float:
    """Largest relative difference where a choice is the only sample: the last number of outputs."""
    last = outputs[-1:]
    theirs = naive(model, task, batch, last, 1)
    own = ours(trained, task, batch, last, 1)
    return float(((own - theirs) / theirs).abs().max())


def main() -> None:
    """Print the rows of the table in ``dimension.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--small", action="store_true", help="Only the small network.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tasks = three_tasks()
    cases = {"resnet_small, pyramid, 3 tasks, 64 px, batch 16": (SMALL, 64, 16, GRIDS)}
    if not arguments.small:
        cases["DRN-D-22, 3 decoders, 128 px, batch 2"] = (UNTIED_DRN, 128, 2, GRIDS[:2])
    print(
        "| network | grid | naive s | spare s | ours s | naive / ours | spare / ours | "
        "backward passes, loops | ours |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (config, size, count, grids) in cases.items():
        model = build_model(config, tasks, seed=0)
        for grid in grids:
            print(row(name, model, grid, size, count, tasks, arguments), flush=True)


def row(
    name: str,
    model: MultitaskModel,
    grid: Grid,
    size: int,
    count: int,
    tasks: tuple[Task, ...],
    arguments: argparse.Namespace,
) -> str:
    """One line of the table."""
    batch, repeats = draw_batch(size=size, count=count), arguments.repeats
    task = next(one for one in tasks if one.name == MAIN)
    outputs = gradient_outputs(grid, (), [size**2])
    plain = deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    model.eval()
    dataset = SceneConfig(name="scenes")
    trained = TrainedModel(model, tasks, dataset, MAIN, ThreatModel())
    difference = check(plain, trained, task, batch, outputs)
    assert difference < 1e-3, difference
    timing = time_in_turn(
        {
            "naive": lambda: naive(plain, task, batch, outputs, repeats),
            "spare": lambda: spare(model, task, batch, outputs, repeats),
            "ours": lambda: ours(trained, task, batch, outputs, repeats),
        },
        rounds=arguments.rounds,
    )
    seconds = " | ".join(f"{timing.median(way):.2f}" for way in ("naive", "spare", "ours"))
    ratio = timing.ratio("naive", "ours")
    walks = plan_walks(outputs, repeats, size**2)
    passes = f"{len(outputs) * repeats} | {sum(len(walk.parts) for walk in walks)}"
    shown = f"{ratio:.2f} | {timing.ratio('spare', 'ours'):.2f} | {passes}"
    return f"| {name} | {grid}, {len(outputs)} numbers | {seconds} | {shown} |"


if __name__ == "__main__":
    main()
