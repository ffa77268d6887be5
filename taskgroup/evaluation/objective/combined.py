"""Several tasks attacked at once by combining their gradients instead of adding their losses."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from taskgroup.attacks.base import Evaluation
from taskgroup.attacks.iterates import evaluate_only, input_gradient
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.expectation import ExpectedObjective
from taskgroup.evaluation.objective.task_objective import Join, TaskObjective
from taskgroup.tasks.base import Target, Task

Combine = Literal["sum", "relative", "unit_gradient", "loss_ratio", "worst_task"]
TINY = 1e-12


class CombinedObjective:
    """Raises the losses of several tasks relative to where they began, ``L_t / L_t(0)``.

    - ``unit_gradient``: the sum of the tasks' gradients, each divided by its length image by image,
      so that no task drowns the others.
    - ``loss_ratio``: each gradient times the task's ratio over the mean ratio (WGD of Ghamizi et
      al. 2022, arXiv:2110.15053).
    - ``worst_task``: image by image the gradient of the task that has grown least, so that none is
      left out.

    What is tracked is the sum of the ratios, for the worst task their minimum. A gradient takes one
    pass forward and back per task. A task that has no label in an image has no say there.
    """

    def __init__(
        self,
        objectives: Sequence[TaskObjective | ExpectedObjective],
        combine: Combine,
        before: Tensor,
        labelled: Tensor,
    ) -> None:
        """Bind one objective per task.

        Args:
            objectives: What each task raises.
            combine: How they become one.
            before: Their clean losses, ``(T, N)``, above zero.
            labelled: Whether a task has a label in an image, ``(T, N)`` bool.
        """
        self.objectives = tuple(objectives)
        self.combine = combine
        self.before = before
        self.labelled = labelled

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        """Evaluate images ``(N, 3, H, W)``."""
        found = [objective(images, progress) for objective in self.objectives]
        ratios = torch.stack([one.loss for one in found]) / self.before
        joined = self._joined(ratios)
        return Evaluation(joined, joined.detach(), found[0].score)

    def gradient(self, images: Tensor, progress: float) -> tuple[Tensor, Evaluation]:
        """Ascent direction ``(N, 3, H, W)`` and the evaluation it comes from."""
        pairs = [input_gradient(objective, images, progress) for objective in self.objectives]
        gradients = torch.stack([gradient for gradient, _ in pairs])
        ratios = torch.stack([found.loss for _, found in pairs]) / self.before
        joined = self._joined(ratios)
        direction = (self._weights(gradients, ratios)[..., None, None, None] * gradients).sum(0)
        return direction, Evaluation(joined, joined, pairs[0][1].score)

    def select(self, index: Tensor) -> "CombinedObjective":
        """The objective of some of the images; ``index`` is ``(M,)`` int64 or ``(N,)`` bool."""
        objectives = [objective.select(index) for objective in self.objectives]
        return CombinedObjective(
            objectives, self.combine, self.before[:, index], self.labelled[:, index]
        )

    def _joined(self, ratios: Tensor) -> Tensor:
        if self.combine != "worst_task":
            return ratios.sum(0)
        least = ratios.where(self.labelled, torch.inf).amin(0)
        return torch.where(self.labelled.any(0), least, 0.0)

    def _weights(self, gradients: Tensor, ratios: Tensor) -> Tensor:
        """Weight of each task's gradient for each image, ``(T, N)``."""
        if self.combine == "unit_gradient":
            lengths: Tensor = torch.linalg.vector_norm(gradients.flatten(2), dim=2)
            return 1 / lengths.clamp(min=TINY)
        if self.combine == "loss_ratio":
            mean = ratios.sum(0) / self.labelled.sum(0).clamp(min=1)
            return ratios / mean.clamp(min=TINY)
        least = ratios.where(self.labelled, torch.inf).argmin(0)
        return nn.functional.one_hot(least, len(ratios)).T.to(gradients)


def combined_objective(
    model: nn.Module,
    tasks: Sequence[Task],
    targets: Mapping[str, Target],
    images: Tensor,
    *,
    attacked_tasks: Sequence[str],
    combine: Combine,
    autocast: torch.dtype | None = None,
    randomness: Draws | None = None,
) -> TaskObjective | ExpectedObjective | CombinedObjective:
    """The objective of an attack on several tasks.

    Args:
        model: ``model(images, names)`` gives a prediction per name; fixed.
        tasks: The task set.
        targets: One target per attacked task.
        images: The clean images, where the losses begin, ``(N, 3, H, W)``.
        attacked_tasks: The tasks.
        combine: How they become one; ``sum`` adds the raw losses, ``relative`` their logarithms.
        autocast: Number format of the forward passes.
        randomness: Where the draws of a randomised network come from, over which losses and
            gradients are averaged; None takes the network as it answers.
    """

    def of(names: Sequence[str], join: Join = "sum") -> TaskObjective | ExpectedObjective:
        objective = TaskObjective(
            model,
            tasks,
            targets,
            main_task=None,
            attacked_tasks=names,
            join=join,
            autocast=autocast,
        )
        return objective if randomness is None else ExpectedObjective(objective, randomness)

    if combine == "sum" or combine == "relative":
        return of(attacked_tasks, "sum" if combine == "sum" else "log_sum")
    objectives = [of((name,)) for name in attacked_tasks]
    before = torch.stack([evaluate_only(objective, images, 0.0).loss for objective in objectives])
    labelled = torch.stack(
        [targets[name].valid.view(len(images), -1).any(1) for name in attacked_tasks]
    )
    return CombinedObjective(objectives, combine, before.clamp(min=TINY), labelled)
