"""Which of the iterates that an attack has seen is the worst for the network, image by image."""

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Worst(NamedTuple):
    """The iterate of each image with the highest tracked loss so far.

    Attributes:
        images: ``(N, C, H, W)``.
        tracked: Its tracked loss, ``(N,)``.
    """

    images: Tensor
    tracked: Tensor

    @classmethod
    def before(cls, images: Tensor) -> Self:
        """Nothing tracked yet: any iterate is worse."""
        return cls(images, images.new_full((len(images),), -torch.inf, dtype=torch.float32))

    def offered(self, images: Tensor, tracked: Tensor) -> "Worst":
        """The worse of the kept iterate and this one; the older one on a tie.

        A loss of NaN counts as infinite: the network broke there, which is what an attacker wants,
        and dropping it would pass for robustness.
        """
        tracked = torch.nan_to_num(tracked, nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        worse = tracked > self.tracked
        return Worst(
            torch.where(worse[:, None, None, None], images, self.images),
            torch.where(worse, tracked, self.tracked),
        )
