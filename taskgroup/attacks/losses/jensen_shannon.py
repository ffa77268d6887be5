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
    # Where p is near 1 it must come from 1 - p: the derivative of a sigmoid that rounds to 1 is 0.
    share = torch.where(odds > 0, 1 - torch.sigmoid(-odds), torch.sigmoid(odds))
    entropy = share * logsigmoid(odds) - (1 + share) * torch.log1p(share)
    return per_image(math.log(2) + entropy / 2, valid)


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
