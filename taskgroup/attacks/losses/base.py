"""The contract of an attack loss: prediction, target and valid mask in, one number per image out.

An attack raises these numbers. A task's training loss need not be the best one to raise: pixels
that are wrong already keep pulling at it, and confident ones hardly move it.

Every loss is the sum over valid pixels divided by the number of **all** pixels ``H W``, the
normaliser of the SEA attack (a vector prediction counts as one pixel). An ignored pixel is in no
loss and gets no gradient; an image with nothing valid has loss zero.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from taskgroup.registry import Registry


class Setting(NamedTuple):
    """What a few losses need beside prediction and target.

    Attributes:
        progress: Share of the attack that is over, from 0 to 1 (``segpgd``).
        class_weights: One weight per class; only their ratios matter to an attack (the balanced
            losses).
        towards: Class to be predicted instead, of the target's shape (``targeted_dlr``).
    """

    progress: float = 0.0
    class_weights: tuple[float, ...] = ()
    towards: Tensor | None = None


PLAIN = Setting()


class AttackLoss(Protocol):
    """A pure function; float32, differentiable in the prediction."""

    def __call__(
        self, prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
    ) -> Tensor:
        """Loss per image ``(N,)``.

        Args:
            prediction: Logits ``(N, K, H, W)`` or ``(N, K)``, or numbers ``(N, C, H, W)``.
            target: Classes ``(N, H, W)`` or ``(N,)``, read only where valid, or numbers of the
                prediction's shape.
            valid: ``(N, H, W)`` or ``(N,)`` bool.
            setting: What else the loss needs.

        Raises:
            ConfigError: The loss does not fit the task, or lacks something of the setting.
        """


LOSSES = Registry[AttackLoss]("attack loss")


def per_image(losses: Tensor, valid: Tensor) -> Tensor:
    """Sum over valid pixels divided by the number of all pixels, ``(N,)``.

    Args:
        losses: ``(N, H, W)`` or ``(N,)``.
        valid: Same shape, bool; elsewhere a loss counts nothing and gets no gradient.
    """
    return losses.masked_fill(~valid, 0.0).unsqueeze(-1).flatten(1).mean(1)
