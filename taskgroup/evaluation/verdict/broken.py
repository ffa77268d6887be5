"""Images on which a network breaks under an attack: they count as fooled, and a finding names them.

A shard scores an image whose prediction is not finite as NaN. Here it gets the sums of a prediction
that is wrong everywhere, so that the other images keep their scores.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from taskgroup.evaluation.loading import LoadedNetworks
from taskgroup.evaluation.verdict.outcomes import Outcome
from taskgroup.tasks.base import Target, Task
from taskgroup.wording import condition_name, counted, format_radius, listed

FAR = 1e6
"""Size of the numbers that a broken network counts as having predicted."""


def count_as_fooled(
    loaded: LoadedNetworks, network: int, outcomes: Sequence[Outcome]
) -> tuple[tuple[Outcome, ...], list[str]]:
    """Outcomes without NaN, and a finding that names the conditions under which a network broke.

    Args:
        loaded: The networks and their images.
        network: Position of the network.
        outcomes: What every condition did to it.
    """
    filled, counts = [], dict[str, int]()
    for outcome in outcomes:
        broken = torch.stack([_broken(sums) for sums in outcome.sums.values()]).any(0)
        if broken.any():
            row = outcome.condition.perturbation.row()
            ball = format_radius(row.norm, row.epsilon)
            where = f"{condition_name(outcome.condition.name)} at {ball}"
            counts[where] = max(int(broken.sum()), counts.get(where, 0))
        sums = {
            task.name: fill_broken(loaded, network, task, outcome.sums[task.name])
            for task in loaded.networks[network].tasks
        }
        filled.append(replace(outcome, sums=sums))
    named = [f"{where} ({counted(count, 'image')})" for where, count in counts.items()]
    findings = [f"predictions are not finite under {listed(named)}"] if named else []
    return tuple(filled), findings


def fill_broken(loaded: LoadedNetworks, network: int, task: Task, sums: Tensor) -> Tensor:
    """Sums ``(N, S)`` of the first images of a split, those that are NaN replaced by the worst."""
    broken = _broken(sums)
    if not broken.any():
        return sums
    filled = sums.clone()
    for image in broken.nonzero().flatten().tolist():
        target = loaded.batch(network, image, image + 1).targets[task.name]
        filled[image] = worst_sums(task, target)
    return filled


def _broken(sums: Tensor) -> Tensor:
    """Which images have a prediction that is not finite, ``(N,)``."""
    return sums.isnan().all(1)


def worst_sums(task: Task, target: Target) -> Tensor:
    """Sums ``(S,)`` of the prediction of one image that is wrong everywhere, by the main score.

    Of classes it is each pixel's next one; of numbers the worst of some that are a million away.
    """
    metric = task.metric()
    found = torch.cat(
        [
            metric.per_image(prediction, target.values, target.valid).cpu()
            for prediction in _wrong(task, target)
        ]
    )
    scores = metric.score(found)[task.main_score]
    is_share = metric.directions[task.main_score] == "maximize"
    return found[int((-scores if is_share else scores).nan_to_num(-torch.inf).argmax())]


def _wrong(task: Task, target: Target) -> list[Tensor]:
    """Predictions ``(1, C, H, W)`` or ``(1, C)`` to try."""
    count = task.info.num_classes
    if count is not None:
        other = (target.values.long() + 1) % count
        return [functional.one_hot(other, count).movedim(-1, 1).float()]
    size = (1, task.channels, *target.valid.shape[1:])
    values = target.values.float().nan_to_num().view(size)
    far = torch.full_like(values, FAR)
    return [far, -far, -FAR * values, FAR * (1 - 2 * values)]
