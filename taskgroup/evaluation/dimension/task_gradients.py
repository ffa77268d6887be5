"""Inner products of the gradients of a network's tasks, image by image."""

import numpy as np
import torch
from numpy.typing import NDArray

from taskgroup.data.base import Batch
from taskgroup.evaluation.loading import TrainedModel


def task_gram(trained: TrainedModel, batch: Batch) -> NDArray[np.float64]:
    """Gram matrix ``(N, T, T)`` of the gradients of the tasks' losses by the images.

    A task's loss of an image is its mean over valid pixels; a task that an image lacks has a zero
    gradient. Tasks are in the order of ``trained.task_set``. One forward pass and one backward pass
    per task, to the images alone.

    Args:
        trained: The network, held still.
        batch: Images with a target per task.
    """
    named = {task.name: task for task in trained.tasks}
    rows = []
    with torch.enable_grad():
        images = batch.images.detach().requires_grad_()
        predictions = trained.model(images, trained.task_set)
        for name in trained.task_set:
            sums = named[name].loss(predictions[name].float(), batch.targets[name])
            loss = (sums.loss_sum / sums.valid_count.clamp(min=1)).sum()
            (gradient,) = torch.autograd.grad(loss, images, retain_graph=True)
            rows.append(gradient.flatten(1))
    stacked = torch.stack(rows, 1)
    gram: NDArray[np.float64] = (stacked @ stacked.mT).double().cpu().numpy()
    return gram
