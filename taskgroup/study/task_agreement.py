"""How much the gradients of several tasks agree, from their inner products.

Everything here is a function of the Gram matrix ``G[i, j] = <g_i, g_j>`` of each image's task
gradients, so that norms, angles and the joint gradient of every subset of tasks cost no further
gradient.
"""

from itertools import combinations, islice
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_SUBSETS = 512
"""Subsets of one size up to which all are taken; beyond, so many are drawn."""


class Agreement(NamedTuple):
    """Per image; NaN where a task has no gradient.

    Attributes:
        norms: Length of each task's gradient, ``(N, T)``.
        cosines: Cosines between them, ``(N, T, T)``.
        joint_norm: Length of the gradient of the mean of the losses, ``(N,)``.
        joint: Cosine of each task's gradient with it, ``(N, T)``.
        balanced_norm: Length of the mean of the unit gradients, ``(N,)``: 1 where all agree,
            1 / sqrt(T) where they are orthogonal.
        balanced: Cosine of each task's gradient with that, ``(N, T)``.
    """

    norms: Floats
    cosines: Floats
    joint_norm: Floats
    joint: Floats
    balanced_norm: Floats
    balanced: Floats


def agreement(gram: Floats) -> Agreement:
    """Norms and angles of task gradients.

    Args:
        gram: Inner products ``(N, T, T)``.

    Example:
        >>> found = agreement(np.array([[[4.0, 0.0], [0.0, 1.0]]]))
        >>> found.norms.tolist(), found.cosines[0].tolist()
        ([[2.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
        >>> found.joint.round(3).tolist(), found.balanced.round(3).tolist()
        ([[0.894, 0.447]], [[0.707, 0.707]])
    """
    norms = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    cosines = unit_gram(gram)
    joint, joint_norm = _towards_sum(gram, norms)
    balanced, balanced_norm = _towards_sum(cosines, np.ones_like(norms))
    return Agreement(norms, cosines, joint_norm, joint, balanced_norm, balanced)


def unit_gram(gram: Floats) -> Floats:
    """Inner products of the gradients divided by their lengths; NaN where one has none."""
    norms = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(gram / (norms[:, :, None] * norms[:, None, :]))


def _towards_sum(gram: Floats, norms: Floats) -> tuple[Floats, Floats]:
    """Cosines with the sum ``(N, T)``, and the length of the mean ``(N,)``."""
    sums = gram.sum(2)
    length = np.sqrt(np.maximum(sums.sum(1), 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums / (norms * length[:, None])), length / gram.shape[1]


def subset_squares(gram: Floats, size: int, *, seed: int) -> Floats:
    """Squared length of the gradient of the mean loss of subsets of tasks.

    Args:
        gram: Inner products ``(N, T, T)``.
        size: Tasks in a subset.
        seed: Draws the subsets where there are more than ``MOST_SUBSETS``.

    Returns:
        One column per subset, ``(N, S)``.
    """
    count = gram.shape[1]
    members = np.zeros((0, count)) if size > count else _subsets(count, size, seed)
    return np.asarray(np.einsum("st,ntu,su->ns", members, gram, members) / size**2)


def _subsets(count: int, size: int, seed: int) -> Floats:
    """Membership ``(S, T)`` of all subsets, or of many that are drawn."""
    if comb(count, size) <= MOST_SUBSETS:
        chosen = list(islice(combinations(range(count), size), MOST_SUBSETS))
    else:
        rng = np.random.default_rng(seed)
        drawn = (rng.choice(count, size, replace=False) for _ in range(MOST_SUBSETS))
        chosen = sorted({tuple(sorted(int(task) for task in one)) for one in drawn})
    members = np.zeros((len(chosen), count))
    for row, tasks in enumerate(chosen):
        members[row, list(tasks)] = 1
    return members
