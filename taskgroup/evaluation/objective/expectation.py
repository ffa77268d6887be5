"""Networks that answer at random: attacked and scored by their mean over draws of the randomness.

Expectation over transformation (EOT; Athalye, Engstrom, Ilyas and Kwok 2018, arXiv:1707.07397,
against randomised defences Athalye, Carlini and Wagner 2018, arXiv:1802.00420): the gradient of one
draw is mostly noise, the mean over many is what an attacker can follow. A draw is the network with
the global generators of torch, numpy and Python seeded, so that numbers reproduce; they are put
back afterwards.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from taskgroup.attacks.base import Evaluation, Predicts
from taskgroup.attacks.iterates import input_gradient
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.task_objective import TaskObjective

NUM_DRAWS = 20
"""Draws per gradient and per score; docs/evaluation.md says what more and fewer leave."""
CLOSE = 1e-2
"""Largest change of a prediction against its own size that rounding explains (TF32 on a GPU)."""
LARGEST_SEED = 2**31
_ONE_AT_A_TIME = threading.RLock()  # the generators are those of all threads


class FixedDraw(nn.Module):
    """One draw of a network's randomness: the same images always get the same answer.

    A network that does not look at the global generators answers as it does alone.
    """

    def __init__(self, network: nn.Module, seed: int) -> None:
        super().__init__()
        self.network = network
        self.seed = seed

    def forward(self, images: Tensor, tasks: Sequence[str] | None = None) -> Any:
        """The network's predictions."""
        with _seeded_everywhere(self.seed, images.device):
            return self.network(images, tasks)


@contextmanager
def _seeded_everywhere(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, one thread at a time, and put them back."""
    devices = [device] if device.type == "cuda" else []
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=devices):
        plain, numbers = random.getstate(), np.random.get_state()
        try:
            # Not torch.manual_seed: it would also reseed other GPUs, which are not restored.
            torch.default_generator.manual_seed(seed)
            if devices:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numbers)


def draws_of(network: nn.Module, draws: Draws) -> list[nn.Module]:
    """``NUM_DRAWS`` draws of a network."""
    return [FixedDraw(network, seed) for seed in _seeds(draws)]


def _seeds(draws: Draws) -> list[int]:
    found: list[int] = draws.randint(LARGEST_SEED, (NUM_DRAWS,)).tolist()
    return found


@torch.no_grad()
def is_randomised(network: nn.Module, images: Tensor, task: str) -> bool:
    """Whether two draws of a network answer the same images differently.

    Args:
        network: In evaluation mode.
        images: ``(N, 3, H, W)``.
        task: Whose predictions are compared; where one is not finite nothing is said.
    """
    first, second = (FixedDraw(network, seed)(images, [task])[task].float() for seed in (0, 1))
    return bool(first.isfinite().all()) and differ(first, second)


def differ(first: Tensor, second: Tensor) -> bool:
    """Whether two predictions of the same images differ by more than rounding."""
    size = first.abs().amax().clamp(min=torch.finfo(torch.float32).tiny)
    return bool((first - second).abs().amax() > CLOSE * size)


class ExpectedObjective:
    """The mean of an objective over new draws of its network, in every evaluation others.

    It supplies its gradient, draw by draw, so that memory does not grow with their number.
    """

    def __init__(self, objective: TaskObjective, draws: Draws) -> None:
        """Bind an objective to a stream of seeds, which every evaluation advances."""
        self.objective = objective
        self.draws = draws

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        """The mean evaluation of images ``(N, 3, H, W)``."""
        return _mean([drawn(images, progress) for drawn in self._drawn()])

    def gradient(self, images: Tensor, progress: float) -> tuple[Tensor, Evaluation]:
        """The mean gradient ``(N, 3, H, W)``, and the evaluation it comes from."""
        total, found = torch.zeros_like(images), []
        for drawn in self._drawn():
            gradient, evaluation = input_gradient(drawn, images, progress)
            total += gradient
            found.append(evaluation)
        return total / len(found), _mean(found)

    def select(self, index: Tensor) -> "ExpectedObjective":
        """The objective of some of the images; ``index`` is ``(M,)`` int64 or ``(N,)`` bool."""
        return ExpectedObjective(self.objective.select(index), self.draws)

    def with_loss(self, loss: str, **options: Any) -> "ExpectedObjective":
        """The same under another attack loss; the arguments are those of ``TaskObjective``."""
        return ExpectedObjective(self.objective.with_loss(loss, **options), self.draws)

    @property
    def predicts(self) -> Predicts:
        """What the main task predicts."""
        return self.objective.predicts

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that the main task reports."""
        return self.objective.scores

    @property
    def labels(self) -> Tensor:
        """Classes of the main task ``(N,)``; -1 where an image has none."""
        return self.objective.labels

    def logits(self, images: Tensor) -> Tensor:
        """The mean logits ``(N, K)`` of the main task."""
        return torch.stack([drawn.logits(images) for drawn in self._drawn()]).mean(0)

    def logit_gap(self, images: Tensor) -> Tensor:
        """The mean gap of the two highest logits, ``(N,)``."""
        return torch.stack([drawn.logit_gap(images) for drawn in self._drawn()]).mean(0)

    def _drawn(self) -> Iterator[TaskObjective]:
        for model in draws_of(self.objective.model, self.draws):
            yield self.objective.of_network(model)


def _mean(found: Sequence[Evaluation]) -> Evaluation:
    return Evaluation(*(torch.stack(values).mean(0) for values in zip(*found, strict=True)))
