"""Signs that a robust score is too good: gradient masking, randomness, dependence on the batch.

An attack that fails for technical reasons makes a network look robust. The checks follow Athalye,
Carlini and Wagner (2018, arXiv:1802.00420) and Carlini et al. (2019, arXiv:1902.06705); each names
what it found in a few words, and every row of the network carries them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taskgroup.attacks.iterates import input_gradient
from taskgroup.data.base import Batch
from taskgroup.evaluation.objective.expectation import NUM_DRAWS, FixedDraw, differ
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.evaluation.scoring import predict
from taskgroup.evaluation.verdict.gradient_check import GradientCheck, is_constant
from taskgroup.tasks.base import Task

COMPANIONS = 8
VANISHED = 0.1
"""Largest share of pixels, or of images, whose gradient may be exactly zero or not finite."""
RANDOMISED = f"randomised: attacked with EOT over {NUM_DRAWS} draws"
"""What is said of a network that answers at random, beside what was found."""


def verdict(
    findings: Sequence[str], gradients: GradientCheck | None = None, *, is_randomised: bool = False
) -> str:
    """One cell of the table: ``ok``, or what was found, and how a randomised network was attacked.

    Example:
        >>> verdict([]), verdict(["noise beats the attack"])
        ('ok', 'gradient masking suspected: noise beats the attack')
        >>> verdict(["noise beats the attack"], GradientCheck(0.91))
        'gradients do not describe the function (share 0.91), noise beats the attack'
    """
    found = ", ".join(findings)
    if gradients is not None and gradients.is_failed:
        found = ", ".join((gradients.text, *findings))
    elif findings:
        found = f"gradient masking suspected: {found}"
    return "; ".join(filter(None, (found, RANDOMISED if is_randomised else ""))) or "ok"


def check_network(
    model: nn.Module,
    tasks: Sequence[Task],
    batch: Batch,
    *,
    main_task: str,
    is_randomised: bool = False,
) -> list[str]:
    """Check a network itself: is it a function of one image, with gradients to follow?

    Args:
        model: The network; it is in evaluation mode meanwhile.
        tasks: The task set.
        batch: Some clean images on the network's device.
        main_task: The task whose prediction and loss are checked.
        is_randomised: Whether it answers at random: then one draw of it is checked, and nothing is
            said about other images of a batch, beside which an image gets other random numbers.

    Returns:
        What was found, in a few words each; nothing is best.
    """
    model = FixedDraw(model, seed=0)
    objective = TaskObjective(
        model, tasks, batch.targets, main_task=None, attacked_tasks=(main_task,)
    )
    task = next(task for task in tasks if task.name == main_task)
    with fixed_network(model):
        whole = predict(model, batch.images, [main_task])[main_task]
        first = batch.images[:COMPANIONS]
        company = predict(model, torch.cat([first, 1 - first]), [main_task])[main_task]
        gradient, _ = input_gradient(objective, batch.images, 0.0)
        attacked = _prediction_with_gradients(model, batch.images, main_task)
    finite = bool(whole.isfinite().all())
    follows = finite and not is_constant(whole)
    checks = {
        "predictions are not finite": not finite,
        "predictions depend on the batch": finite
        and not is_randomised
        and differ(whole[: len(first)], company[: len(first)]),
        "the attack sees another network": finite and differ(whole, attacked),
        "loss gradients vanish": follows and _vanished_share(task, whole, batch) > VANISHED,
        "image gradients vanish": follows and _flat_share(task, gradient, batch) > VANISHED,
    }
    return [finding for finding, found in checks.items() if found]


def _prediction_with_gradients(model: nn.Module, images: Tensor, task: str) -> Tensor:
    """What a network answers to an attack, which follows gradients, instead of to a score."""
    with torch.enable_grad():
        prediction: Tensor = model(images.detach().clone().requires_grad_(), [task])[task]
    return prediction.detach().float()


def _vanished_share(task: Task, prediction: Tensor, batch: Batch) -> float:
    """Share of valid pixels at which the loss does not depend on the prediction at all."""
    target = batch.targets[task.name]
    with torch.enable_grad():
        probe = prediction.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(task.loss(probe, target).loss_sum.sum(), probe)
    follows = (gradient.isfinite() & (gradient != 0)).any(1)[target.valid]
    return float((~follows).float().mean()) if follows.numel() else 0.0


def _flat_share(task: Task, gradient: Tensor, batch: Batch) -> float:
    """Share of the labelled images without any gradient that can be followed."""
    labelled = batch.targets[task.name].valid.view(len(batch), -1).any(1)
    follows = (gradient.isfinite() & (gradient != 0)).flatten(1).any(1)[labelled]
    return float((~follows).float().mean()) if follows.numel() else 0.0
