"""Jensen-Shannon divergence between the prediction and the class, as in SEA (arXiv:2306.12941)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.logits import classes_where, log_odds


@LOSSES.register("jensen_shannon")
def jensen_shannon(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Divergence of each pixel's softmax from its class, at most log 2; ``(N,)``.

    Its gradient vanishes both for confident right and for confident wrong pixels, so it continues
    with the undecided ones without a mask.

    With ``p`` the probability of the class it is
    ``log 2 - (1 + p) / 2 log(1 + p) + p / 2 log p``. The published code sums two Kullback-Leibler
    divergences over all classes instead, which is NaN from a logit gap of 103 on.
    """
    odds = log_odds(prediction.float(), classes_where(prediction, target, valid))
    return per_image(_divergence(odds), valid)


def _divergence(odds: Tensor) -> Tensor:
    """The divergence of each pixel, with its slope ``p (1 - p) / 2 log(p / (1 + p))`` written out.

    Derived automatically it would be the difference of two terms that are large beside it, and at
    log odds of -90, where ``p`` is a subnormal number, of the wrong sign.
    """
    fixed = odds.detach()
    share, rest = fixed.sigmoid(), (-fixed).sigmoid()
    value = math.log(2) + (share * logsigmoid(fixed) - (1 + share) * share.log1p()) / 2
    slope = share * (rest / 2 * (logsigmoid(fixed) - share.log1p()))
    return value + slope * (odds - fixed)


@LOSSES.register("jensen_shannon_seed")
def jensen_shannon_seed(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """The same as the published code writes it, NaN from a logit gap of 103 on; ``(N,)``.

    Two Kullback-Leibler divergences over all classes: a softmax that underflows to zero meets its
    own logarithm. Only for ``seed_compatible`` runs.
    """
    classes = classes_where(prediction, target, valid)
    shares = prediction.float().softmax(1)
    label = one_hot(classes, shares.shape[1]).movedim(-1, 1).to(shares)
    middle = (shares + label) / 2
    first = (shares * (shares.log() - middle.log())).sum(1)
    second = (torch.xlogy(label, label) - torch.xlogy(label, middle)).sum(1)
    return per_image((first + second) / 2, valid)
