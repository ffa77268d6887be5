"""The worst that several attacks do together: per image the result that hurts the score most."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from taskgroup.metrics.base import SumMetric

MAX_ROUNDS = 20


def worst_case(
    results: Sequence[Tensor], metric: SumMetric, *, score: str, seed: int = 0
) -> Tensor:
    """Choose for each image one attack's result, so that the data-set score is as bad as possible.

    For a score that is a mean over images (accuracy, an error) the choice is exact after one round.
    For a ratio of sums (mIoU, F1) it is the search of Croce et al. (2024, "Towards Reliable
    Evaluation and Fast Training of Robust Semantic Segmentation Models"): begin with the single
    worst attack, go over the images in random order, replace an image's result where that worsens
    the score, until a round changes nothing. The end is never better than any single attack.

    Args:
        results: Per attack the sums of each image, ``(N, S)``.
        metric: What turns sums into scores.
        score: Name of the score to worsen.
        seed: Seed of the order of images.

    Returns:
        The chosen sums, ``(N, S)``.
    """
    stacked = torch.stack(list(results))
    chosen = stacked[_badness(metric, stacked.sum(1), score).argmax()].clone()
    rng = np.random.default_rng(seed)
    total = chosen.sum(0)
    for _ in range(MAX_ROUNDS):
        before = total.clone()
        for image in rng.permutation(len(chosen)).tolist():
            options = total - chosen[image] + stacked[:, image]
            badness = _badness(metric, torch.cat([total[None], options]), score)
            worst = int(badness.argmax())
            if worst > 0:
                total, chosen[image] = options[worst - 1], stacked[worst - 1, image]
        if torch.equal(total, before):
            break
    return chosen


def _badness(metric: SumMetric, sums: Tensor, score: str) -> Tensor:
    """The score of sums ``(..., S)`` turned so that more is worse; NaN is worst of all."""
    values = metric.score(sums)[score]
    turned = -values if metric.directions[score] == "maximize" else values
    return torch.nan_to_num(turned, nan=torch.inf)
