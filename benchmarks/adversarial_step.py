"""What a step of adversarial training costs, in forward and backward passes of the same network.

A step with a k-step attack needs k + 1 of them. The bare pass is the least that training can do:
all heads, the sum of the losses, gradients of all parameters, no optimiser, in the same precision
and layout. Both are timed in turn; the result is the median of the rounds' ratios.

    OMP_NUM_THREADS=1 python benchmarks/adversarial_step.py
"""

import argparse

import torch
from cases import LARGE, MAIN, SMALL, Timing, draw_batch, three_tasks, time_in_turn

import taskgroup.data
import taskgroup.training.weighting  # noqa: F401  (fills the registry)
from taskgroup.data.base import Batch
from taskgroup.data.scenes import SceneConfig
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.network import autocast
from taskgroup.models.base import ModelConfig
from taskgroup.training.build import build_state
from taskgroup.training.config import AdversaryConfig, TrainingConfig, TrialConfig
from taskgroup.training.precision import autocast_dtype
from taskgroup.training.state import TrialState

CPU = torch.device("cpu")


def configure(model: ModelConfig, *, steps: int, precision: str) -> TrialConfig:
    """A trial of three tasks with an attack of ``steps`` steps on the main one."""
    return TrialConfig(
        dataset=SceneConfig(),
        model=model,
        main_task=MAIN,
        auxiliary_tasks=("depth", "normals"),
        loss_weights={"depth": 0.1, "normals": 0.1},
        adversary=AdversaryConfig(attack="pgd", steps=steps),
        training=TrainingConfig.model_validate({"precision": precision}),
    )


def bare_pass(state: TrialState, batch: Batch, precision: torch.dtype | None) -> None:
    """Forward through all heads, backward to all parameters."""
    with autocast(CPU, precision):
        predictions = state.model(batch.images)
    losses = [task.loss(predictions[task.name], batch.targets[task.name]) for task in state.tasks]
    state.model.zero_grad(set_to_none=True)
    torch.stack([loss.mean() for loss in losses]).sum().backward()


def measure(model: ModelConfig, batch: Batch, *, steps: int, precision: str, rounds: int) -> Timing:
    """Seconds of a training step and of ``steps + 1`` bare passes."""
    config = configure(model, steps=steps, precision=precision)
    state = build_state(config, three_tasks(), device=CPU)
    number_format = autocast_dtype(config.training.precision, CPU)
    draws = Draws.seeded(0, "attack")

    def passes() -> None:
        for _ in range(steps + 1):
            bare_pass(state, batch, number_format)

    return time_in_turn(
        {
            "training step": lambda: state.step(batch, draws),
            "bare passes": passes,
        },
        rounds=rounds,
    )


def main() -> None:
    """Print the rows of the table in ``adversarial_step.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    networks = {
        "resnet18 stride 8, upconv, 256 px, batch 2": (LARGE, 256, 2),
        "resnet_small, pyramid, 64 px, batch 32": (SMALL, 64, 32),
    }
    print(
        "| network | precision | k | step, s | k + 1 passes, s | ratio |\n|---|---|---|---|---|---|"
    )
    for name, (model, size, count) in networks.items():
        batch = draw_batch(size=size, count=count)
        for precision in ("float32", "bfloat16"):
            for steps in (1, 3, 7):
                timing = measure(model, batch, steps=steps, precision=precision, rounds=rounds)
                step, passes = (timing.median(way) for way in ("training step", "bare passes"))
                ratio = timing.ratio("training step", "bare passes")
                cells = f"{name} | {precision} | {steps} | {step:.3f} | {passes:.3f} | {ratio:.2f}"
                print(f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
