"""Processor time of one step of a network: forward with parameter or with image gradients.

Processor time of one thread, because a busy machine stretches wall time; the least of the repeats.

    OMP_NUM_THREADS=1 python benchmarks/model_speed.py
"""

import time

import torch

from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import TaskInfo, build_task

TASKS = (TaskInfo("segmentation", 9), TaskInfo("depth"), TaskInfo("normals"), TaskInfo("edges"))
REPEATS = 20


def train_step(model: MultitaskModel, images: torch.Tensor) -> None:
    """Every head forward, gradients of all parameters."""
    sum(prediction.square().mean() for prediction in model(images).values()).backward()


def attack_step(model: MultitaskModel, images: torch.Tensor) -> None:
    """One head forward, gradients of the images alone."""
    images = images.clone().requires_grad_()
    loss = model(images, ["segmentation"])["segmentation"].square().mean()
    torch.autograd.grad(loss, images)


def milliseconds(decoder: str, heads: int, *, attack: bool, precision: torch.dtype | None) -> float:
    tasks = [build_task(info) for info in TASKS[:heads]]
    model = build_model(ModelConfig(decoder=decoder), tasks, seed=0)
    if attack:
        model.eval().requires_grad_(False)
    images = torch.rand(32, 3, 64, 64)
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        with torch.autocast("cpu", precision, enabled=precision is not None):
            (attack_step if attack else train_step)(model, images)
        seconds.append(time.process_time() - begun)
    return 1000 * min(seconds)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| decoder | step | float32 | bfloat16 |\n|---|---|---|---|")
    for decoder in ("pyramid", "upconv"):
        for heads, attack in ((1, False), (4, False), (4, True)):
            name = f"attack, 1 of {heads} heads" if attack else f"training, {heads} head(s)"
            plain, cast = (
                milliseconds(decoder, heads, attack=attack, precision=precision)
                for precision in (None, torch.bfloat16)
            )
            print(f"| {decoder} | {name} | {plain:.0f} ms | {cast:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
