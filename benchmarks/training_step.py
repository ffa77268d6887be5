"""Training steps of MTRobust's two networks, natural and adversarial, against plain loops.

A *plain* natural step is the loop that anybody writes: all heads, the weighted sum of the losses,
gradients of all parameters, the optimiser's step, in float32 and torch's default layout. A *seed's*
adversarial step attacks like the published code before that: each of five attack steps runs every
head and fills the gradients of every parameter. Ways are timed in turn; the results are medians
over rounds, and medians of the rounds' ratios.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py
"""

import argparse
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from cases import Timing, time_in_turn
from torch import Tensor, nn

import taskgroup.attacks
import taskgroup.models
import taskgroup.tasks
import taskgroup.training.weighting  # noqa: F401  (these four fill the registries)
from taskgroup.data.base import Batch
from taskgroup.data.scenes import SceneConfig
from taskgroup.draws import Draws
from taskgroup.models.base import ModelConfig
from taskgroup.tasks.base import TASKS, Target, Task, TaskInfo, build_task
from taskgroup.training.build import build_state
from taskgroup.training.config import AdversaryConfig, TrainingConfig, TrialConfig

CPU = torch.device("cpu")
EPSILON, STEP, STEPS = 8 / 255, 2 / 255, 5
MAIN = "segmentation"
INDOOR = (
    "depth", "edges", "occlusion_edges", "normals", "reshading", "keypoints2d", "keypoints3d",
    "curvature", "autoencoding", "depth_euclidean",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network with its tasks and batch.

    Attributes:
        name: What the table calls it.
        model: The network.
        classes: Classes of the main task.
        auxiliary: The other tasks.
        size: Height and width of images.
        count: Images per step.
        is_repeated: Whether the plain loop runs the levels that its heads share once per head, as
            the released code does; they take the time of levels of their own.
    """

    name: str
    model: ModelConfig
    classes: int
    auxiliary: tuple[str, ...]
    size: int
    count: int
    is_repeated: bool = False

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task set, main task first."""
        infos = [TaskInfo(MAIN, num_classes=self.classes), *map(TaskInfo, self.auxiliary)]
        return tuple(build_task(info) for info in infos)


DRN = ModelConfig(backbone="drn_d_22", decoder="bilinear")
DECODERS = ModelConfig(backbone="drn_d_22", decoder="bilinear", untied=True)
THREE = ("depth", "autoencoding")
CASES = (
    Case("DRN-D-22, 3 tasks, 256 px, batch 2", DRN, 19, THREE, 256, 2),
    Case("the same, plain as released", DRN, 19, THREE, 256, 2, is_repeated=True),
    Case("DRN-D-22, 3 decoders, 256 px, batch 2", DECODERS, 19, THREE, 256, 2),
    Case(
        f"ResNet-18, {1 + sum(name in TASKS for name in INDOOR)} tasks, 256 px, batch 4",
        ModelConfig(backbone="resnet18", decoder="taskonomy"),
        17,
        tuple(name for name in INDOOR if name in TASKS),
        256,
        4,
    ),
)


def draw(case: Case) -> Batch:
    """Random images with random targets for every task."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.count, case.size, case.size)
    images = torch.rand(case.count, 3, *shape[1:], generator=generator)
    valid = torch.ones(shape, dtype=torch.bool)
    targets = {
        task.name: Target(
            torch.randint(0, case.classes, shape, generator=generator)
            if task.info.num_classes
            else 0.1 + torch.rand(case.count, task.channels, *shape[1:], generator=generator),
            valid,
        )
        for task in case.tasks
    }
    return Batch(images, targets, torch.arange(case.count))


def configure(case: Case, *, attack: str, precision: str) -> TrialConfig:
    """A trial of the case: SGD, one shared budget of 0.1 for the auxiliary tasks."""
    return TrialConfig(
        dataset=SceneConfig(),
        model=case.model,
        main_task=MAIN,
        auxiliary_tasks=case.auxiliary,
        loss_weights=dict.fromkeys(case.auxiliary, 0.1 / len(case.auxiliary)),
        adversary=AdversaryConfig(attack=attack, epsilon=EPSILON, steps=STEPS, step_size=STEP),
        training=TrainingConfig.model_validate({"precision": precision, "optimizer": "sgd"}),
    )


class PlainLoop:
    """The step that is usually written, on a copy of the same network or what takes its time."""

    def __init__(self, case: Case, network: nn.Module) -> None:
        if case.is_repeated:
            apart = replace(case, model=DECODERS)
            config = configure(apart, attack="none", precision="float32")
            network = build_state(config, case.tasks, device=CPU).model
        model = deepcopy(network).to(memory_format=torch.contiguous_format)
        self.model, self.tasks = model.train(), case.tasks
        self.weights = [1.0, *[0.1 / len(case.auxiliary)] * len(case.auxiliary)]
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def natural(self, batch: Batch, images: Tensor) -> None:
        """One update on some images."""
        losses = self._losses(batch, images)
        total = sum(weight * loss for weight, loss in zip(self.weights, losses, strict=True))
        self.optimizer.zero_grad(set_to_none=True)
        assert isinstance(total, Tensor)
        total.backward()
        self.optimizer.step()

    def adversarial(self, batch: Batch) -> None:
        """Attack as the published code does, then update on the attacked images."""
        images = batch.images + EPSILON * (2 * torch.rand_like(batch.images) - 1)
        for _ in range(STEPS):
            images = images.clamp(0, 1).detach().requires_grad_()
            self.model.zero_grad(set_to_none=True)
            self._losses(batch, images)[0].backward()
            assert images.grad is not None
            moved = images.detach() + STEP * images.grad.sign()
            images = batch.images + (moved - batch.images).clamp(-EPSILON, EPSILON)
        self.natural(batch, images.clamp(0, 1).detach())

    def _losses(self, batch: Batch, images: Tensor) -> Sequence[Tensor]:
        predictions = self.model(images, [task.name for task in self.tasks])
        return [t.loss(predictions[t.name], batch.targets[t.name]).mean() for t in self.tasks]


def measure(case: Case, *, attack: str, rounds: int) -> Timing:
    """Seconds of a step, plain and ours in both number formats."""
    batch = draw(case)
    ways = {}
    for precision in ("float32", "bfloat16"):
        config = configure(case, attack=attack, precision=precision)
        state = build_state(config, case.tasks, device=CPU)
        state.train()
        draws = Draws.seeded(0, "attack")
        ways[f"ours, {precision}"] = lambda state=state, draws=draws: state.step(batch, draws)
    plain = PlainLoop(case, state.model)
    usual = (lambda: plain.natural(batch, batch.images)) if attack == "none" else (
        lambda: plain.adversarial(batch)
    )  # fmt: skip
    return time_in_turn({"plain": usual, **ways}, rounds=rounds)


def main() -> None:
    """Print the rows of the table in ``training_step.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | step | way | s per step | times as fast |\n|---|---|---|---|---|")
    for case in [CASES[number] for number in arguments.cases]:
        for name, attack in (("natural", "none"), (f"{STEPS}-step adversarial", "pgd")):
            timing = measure(case, attack=attack, rounds=arguments.rounds)
            for way in timing.seconds:
                row = f"{timing.median(way):.2f} | {timing.ratio('plain', way):.2f}"
                print(f"| {case.name} | {name} | {way} | {row} |", flush=True)


if __name__ == "__main__":
    main()
