"""How long one attack step takes, against the step that is usually written.

The usual step runs every head in float32, in torch's default layout, and calls
``loss.backward()``, which fills the gradients of all parameters too. Ours takes the gradient of the
images alone, runs the attacked head alone, in channels-last and, where the device multiplies it
natively, in bfloat16. Both are timed in turn; the result is the median of the rounds' ratios.

Where levels 6 to 8 of a DRN are shared, the usual step still runs them once per head, as the
MTRobust code does; ours runs them once.

    OMP_NUM_THREADS=1 python benchmarks/attack_step.py
"""

import argparse
from copy import deepcopy

import torch
from cases import (
    LARGE,
    MAIN,
    SMALL,
    TIED_DRN,
    UNTIED_DRN,
    Timing,
    draw_batch,
    three_tasks,
    time_in_turn,
)
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.models.build import build_model
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Task

EPSILON, STEP = 8 / 255, 2 / 255
BUDGET = AttackBudget(epsilon=EPSILON, steps=1, step_size=STEP, keep="last")


def usual_step(
    model: MultitaskModel, tasks: tuple[Task, ...], batch: Batch, attacked: tuple[str, ...]
) -> Tensor:
    """One sign step as it is usually written; the attacked tasks' losses are summed."""
    images = batch.images.clone().requires_grad_()
    size = (images.shape[-2], images.shape[-1])
    features = model.backbone((images - model.mean) / model.std)
    predictions = {name: head(features, size) for name, head in model.heads.items()}
    losses = [
        task.loss(predictions[task.name], batch.targets[task.name]).mean()
        for task in tasks
        if task.name in attacked
    ]
    model.zero_grad(set_to_none=True)
    torch.stack(losses).sum().backward()
    assert images.grad is not None
    moved = images.detach() + STEP * images.grad.sign()
    change = (moved - batch.images).clamp(-EPSILON, EPSILON)
    return (batch.images + change).clamp(0, 1)


def our_step(
    model: MultitaskModel,
    tasks: tuple[Task, ...],
    batch: Batch,
    attacked: tuple[str, ...],
    precision: torch.dtype | None,
) -> Tensor:
    """One step of our PGD, random start and checks included, as training runs it."""
    objective = TaskObjective(
        model, tasks, batch.targets, main_task=None, attacked_tasks=attacked, autocast=precision
    )
    generator = torch.Generator().manual_seed(0)
    with fixed_network(model):
        return ATTACKS["pgd"](objective, batch.images, budget=BUDGET, draws=Draws(generator))


def with_own_levels(tied: MultitaskModel, tasks: tuple[Task, ...]) -> MultitaskModel:
    """The network with levels 6 to 8 once per task, all with the weights of the shared ones."""
    untied = build_model(UNTIED_DRN, tasks, seed=0)
    weights = tied.state_dict()
    shared = {name: value for name, value in weights.items() if name in untied.state_dict()}
    for number in (6, 7, 8):
        for name, value in tied.backbone.levels[number].state_dict().items():
            for task in tasks:
                shared[f"heads.{task.name}.layers.levels.{number - 6}.{name}"] = value
    untied.load_state_dict(shared)
    return untied


def measure(
    model: MultitaskModel,
    tasks: tuple[Task, ...],
    batch: Batch,
    attacked: tuple[str, ...],
    *,
    usual: MultitaskModel,
    rounds: int,
) -> Timing:
    """Seconds of one step in each way, on the same weights."""
    plain = deepcopy(usual).to(memory_format=torch.contiguous_format).eval()
    return time_in_turn(
        {
            "usual": lambda: usual_step(plain, tasks, batch, attacked),
            "ours, float32": lambda: our_step(model, tasks, batch, attacked, None),
            "ours, bfloat16": lambda: our_step(model, tasks, batch, attacked, torch.bfloat16),
        },
        rounds=rounds,
    )


def main() -> None:
    """Print the rows of the table in ``attack_step.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    tasks = three_tasks()
    every = tuple(task.name for task in tasks)
    networks = {
        "DRN-D-22, shared, 256 px, batch 2": (TIED_DRN, UNTIED_DRN, 256, 2),
        "DRN-D-22, 3 decoders, 256 px, batch 2": (UNTIED_DRN, UNTIED_DRN, 256, 2),
        "resnet18 stride 8, upconv, 256 px, batch 2": (LARGE, LARGE, 256, 2),
        "resnet_small, pyramid, 64 px, batch 32": (SMALL, SMALL, 64, 32),
    }
    print("| network | attacked | way | s per step | times as fast |\n|---|---|---|---|---|")
    for name, (config, usual_config, size, count) in networks.items():
        batch = draw_batch(size=size, count=count)
        model = build_model(config, tasks, seed=0)
        usual = model if usual_config is config else with_own_levels(model, tasks)
        for label, attacked in (("main task", (MAIN,)), ("all tasks", every)):
            timing = measure(model, tasks, batch, attacked, usual=usual, rounds=rounds)
            for way in timing.seconds:
                row = f"{timing.median(way):.3f} | {timing.ratio('usual', way):.2f}"
                print(f"| {name} | {label} | {way} | {row} |", flush=True)


if __name__ == "__main__":
    main()
