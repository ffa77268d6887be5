"""Network, views and task losses in one module, as several workers wrap it.

Sums and counts stay apart, and losses stay a vector over tasks: several workers normalise by what
all of them saw, and whoever weighs the losses sees each.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from taskgroup.draws import Draws
from taskgroup.evaluation.objective.network import autocast
from taskgroup.tasks.base import Gather, LossSums, Target, Task
from taskgroup.training.divergence import softmax_divergence


class TaskSums(nn.Module):
    """Sums of the losses of a task set on one batch of images.

    Args:
        network: Maps images and task names to one output per task.
        tasks: The task set.
        precision: Number format of the network's autocast; None computes in float32. Losses are
            always float32.
        gather: Rows of all workers from those of this one, for losses that compare images.
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: Sequence[Task],
        *,
        precision: torch.dtype | None = None,
        gather: Gather = lambda rows: rows,
    ) -> None:
        super().__init__()
        self.network = network
        self._tasks = tuple(tasks)
        self._precision = precision
        self._gather = gather

    def forward(
        self, targets: Mapping[str, Target], draws: Draws, images: Tensor, only: str | None = None
    ) -> Tensor:
        """Losses of images ``(N, 3, H, W)``, clean or attacked.

        Args:
            targets: One per task.
            draws: Source of what is random in a task's views.
            images: The images.
            only: The one task to compute; None means all.

        Returns:
            Sum of losses and number of valid pixels of each task, ``(T, 2)``.
        """
        tasks = [task for task in self._tasks if only in (None, task.name)]
        outputs = self.outputs(images, tasks, draws)
        return stacked([self.loss(task, outputs[task.name], targets) for task in tasks])

    def outputs(
        self, images: Tensor, tasks: Sequence[Task], draws: Draws
    ) -> dict[str, tuple[object, ...]]:
        """What the network gives for every view of each task; tasks of one view share a pass."""
        plain = [task.name for task in tasks if task.views == 1]
        found: dict[str, tuple[object, ...]] = {
            name: (output,) for name, output in self.predict(images, plain).items()
        }
        for task in tasks:
            if task.views > 1:
                views = (task.view(images, number, draws) for number in range(task.views))
                found[task.name] = tuple(self.predict(v, [task.name])[task.name] for v in views)
        return found

    def predict(self, images: Tensor, names: Sequence[str]) -> dict[str, object]:
        """The network's outputs for some tasks, in the precision of training."""
        if not names:
            return {}
        with autocast(images.device, self._precision):
            outputs: dict[str, object] = self.network(images, names)
        return outputs

    def loss(
        self, task: Task, outputs: Sequence[object], targets: Mapping[str, Target]
    ) -> LossSums:
        """Loss sums and counts of one task, each ``(N,)``."""
        return task.training_loss(outputs, targets[task.name], self._gather)


class TradesSums(TaskSums):
    """Losses on clean images plus ``beta`` times the main task's divergence under attack.

    The divergence is KL(clean softmax || attacked softmax), summed over the main task's valid
    pixels and normalised like its loss. For class maps this is TRADES pixel by pixel.

    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy",
    ICML 2019 (arXiv:1901.08573).
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: Sequence[Task],
        *,
        main_task: str,
        beta: float,
        precision: torch.dtype | None = None,
        gather: Gather = lambda rows: rows,
    ) -> None:
        super().__init__(network, tasks, precision=precision, gather=gather)
        self._main_task = main_task
        self._beta = beta

    def forward(  # type: ignore[override]  # this one takes attacked twins
        self, targets: Mapping[str, Target], draws: Draws, images: Tensor, attacked: Tensor
    ) -> Tensor:
        """Loss sums of clean images and of their attacked twins, both ``(N, 3, H, W)``."""
        outputs = self.outputs(images, self._tasks, draws)
        sums = [self.loss(task, outputs[task.name], targets) for task in self._tasks]
        # A second pass, as in the published code: clean and attacked images do not share
        # batch-norm statistics.
        moved = self.predict(attacked, [self._main_task])[self._main_task]
        clean = outputs[self._main_task][0]
        assert isinstance(clean, Tensor)
        assert isinstance(moved, Tensor)
        divergence = softmax_divergence(clean, moved, targets[self._main_task].valid)
        main = [task.name for task in self._tasks].index(self._main_task)
        loss_sum, count = sums[main]
        sums[main] = LossSums(loss_sum + self._beta * divergence, count)
        return stacked(sums)


def stacked(task_sums: Sequence[LossSums]) -> Tensor:
    """Sums over images: ``(T, 2)`` from per-image sums and counts, each ``(N,)``."""
    return torch.stack([torch.stack([part.sum() for part in sums]) for sums in task_sums])


def mean_losses(sums: Tensor) -> Tensor:
    """Losses ``(T,)`` from sums and counts ``(T, 2)``; zero where nothing is valid."""
    loss_sums, counts = sums.unbind(1)
    return loss_sums / torch.where(counts > 0, counts, 1.0)
