"""The worst that several attacks do together: per image the result that hurts the score most."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from taskgroup.metrics.base import SumMetric

MAX_ROUNDS = 50
ORDERS = 8
"""Searches that run side by side, each with its own order of images; the worst end counts."""


class WorstCase(NamedTuple):
    """For each image the attack whose result counts.

    Attributes:
        sums: The chosen results, ``(N, S)``.
        attack: Position of the attack that each came from, ``(N,)`` int64.
    """

    sums: Tensor
    attack: Tensor


def worst_case(
    results: Sequence[Tensor], metric: SumMetric, *, score: str, seed: int = 0
) -> WorstCase:
    """Choose for each image one attack's result, so that the data-set score is as bad as possible.

    For a score that is a mean over images (accuracy, an error) the choice is exact after one round.
    For a ratio of sums (mIoU, F1) it is the search of Croce et al. (2024, "Towards Reliable
    Evaluation and Fast Training of Robust Semantic Segmentation Models"): go over the images in
    random order, give each the result that worsens the score of the whole most, until a round
    changes nothing. The published search takes the last result that helps instead of the best one,
    shifts the classes behind one that is absent, and tries a single order. Here several orders run
    side by side: the first begin with the single worst attacks, the rest at random, and the worst
    end counts. It is never better for the network than any single attack.

    Args:
        results: Per attack the sums of each image, ``(N, S)``.
        metric: What turns sums into scores.
        score: Name of the score to worsen.
        seed: Seed of the orders of images.
    """
    stacked = torch.stack(list(results))
    rng = np.random.default_rng(seed)
    choice = _starts(stacked, metric, score, rng)
    total = _chosen(stacked, choice).sum(1)
    for _ in range(MAX_ROUNDS if stacked.shape[1] else 0):
        before = choice.clone()
        order = rng.permuted(np.tile(np.arange(stacked.shape[1]), (len(choice), 1)), axis=1)
        for images in torch.from_numpy(order).T:
            choice, total = _improved(stacked, metric, score, choice, total, images)
        if torch.equal(choice, before):
            break
    end = choice[int(_badness(metric, _chosen(stacked, choice).sum(1), score).argmax())]
    return WorstCase(_chosen(stacked, end[None])[0], end)


def _starts(stacked: Tensor, metric: SumMetric, score: str, rng: np.random.Generator) -> Tensor:
    """Choices ``(R, N)`` to begin with: single attacks, the worst first, then random ones."""
    attacks, images, _ = stacked.shape
    worst = _badness(metric, stacked.sum(1), score).argsort(descending=True, stable=True)
    alone = worst[: max(1, ORDERS // 2)]
    random = torch.from_numpy(rng.integers(attacks, size=(ORDERS - len(alone), images)))
    return torch.cat([alone[:, None].expand(-1, images), random])


def _improved(
    stacked: Tensor, metric: SumMetric, score: str, choice: Tensor, total: Tensor, images: Tensor
) -> tuple[Tensor, Tensor]:
    """Each of ``R`` searches gives one image the result that worsens its total ``(R, S)`` most."""
    searches = torch.arange(len(choice))
    now = choice[searches, images]
    options = total[:, None] - stacked[now, images][:, None] + stacked[:, images].movedim(0, 1)
    badness = _badness(metric, options, score)
    worst = badness.argmax(1)
    gains = badness[searches, worst] > badness[searches, now]
    picked = torch.where(gains, worst, now)
    changed = choice.clone()
    changed[searches, images] = picked
    return changed, torch.where(gains[:, None], options[searches, picked], total)


def _chosen(stacked: Tensor, choice: Tensor) -> Tensor:
    """The sums ``(R, N, S)`` that choices ``(R, N)`` stand for."""
    return stacked[choice, torch.arange(stacked.shape[1])]


def _badness(metric: SumMetric, sums: Tensor, score: str) -> Tensor:
    """The score of sums ``(..., S)`` turned so that more is worse; NaN is worst of all."""
    values = metric.score(sums)[score]
    turned = -values if metric.directions[score] == "maximize" else values
    return torch.nan_to_num(turned, nan=torch.inf)
