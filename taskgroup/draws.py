"""The random numbers of a step: drawn for a whole batch, of which a worker keeps its own rows.

A batch, the order of the images, their augmentation and the noise of attacks are the same for any
number of workers: worker ``r`` of ``n`` takes images ``r``, ``r + n``, ... of every batch.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """One worker's part of one batch.

    Attributes:
        whole: Images of the batch, over all workers.
        rows: Positions in the batch of this worker's images; none in a last batch that has fewer
            images than there are workers.
    """

    whole: int
    rows: range

    @classmethod
    def all_of(cls, count: int) -> "Share":
        """The share of a worker that has the whole batch of ``count`` images."""
        return cls(count, range(count))

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> int:
        """How many of this worker's images are among the first ``count`` of the batch."""
        return len(range(self.rows.start, min(count, self.whole), self.rows.step))

    def without_first(self, count: int) -> "Share":
        """This worker's part of what is left of the batch after its first ``count`` images."""
        rows = self.rows[self.first(count) :]
        return Share(
            self.whole - count, range(rows.start - count, self.whole - count, self.rows.step)
        )


@dataclass(frozen=True)
class Draws:
    """A stream of random numbers, and which images of a batch this process has.

    What is drawn per image is drawn for the whole batch, and this worker keeps its rows; anything
    else is the same on every worker. So any number of workers sees the same numbers, and one worker
    those that the generator alone would give. An attack that dropped finished images draws for the
    others as it would anywhere, since a worker knows only which of its own are left.

    Attributes:
        generator: Where the numbers come from; drawing advances it.
        share: Which images this process has; None means all that it asks for.
    """

    generator: torch.Generator
    share: Share | None = None

    @classmethod
    def seeded(cls, seed: int, *purpose: str | int, device: torch.device | None = None) -> "Draws":
        """A fresh stream on ``device`` (the CPU by default) for one purpose."""
        generator = torch.Generator(device or torch.device("cpu"))
        return cls(generator.manual_seed(derive_seed(seed, *purpose)))

    @property
    def device(self) -> torch.device:
        """Where the numbers are drawn."""
        return self.generator.device

    @property
    def has_images(self) -> bool:
        """Whether this process has any image of the batch."""
        return self.share is None or len(self.share) > 0

    def of(self, share: Share) -> "Draws":
        """The same stream for a worker's share of a batch."""
        return replace(self, share=share)

    def rand(self, *size: int) -> Tensor:
        """Uniform numbers in [0, 1), the same on every worker."""
        return torch.rand(size, generator=self.generator, device=self.device)

    def randint(self, high: int, size: tuple[int, ...]) -> Tensor:
        """Integers in ``[0, high)``, the same on every worker."""
        return torch.randint(high, size, generator=self.generator, device=self.device)

    def randperm(self, count: int) -> Tensor:
        """A permutation of ``count`` numbers, the same on every worker."""
        return torch.randperm(count, generator=self.generator, device=self.device)

    def image_rand(self, *size: int) -> Tensor:
        """Uniform numbers in [0, 1) ``(N, ...)``, one row per image of this worker."""
        return self._rows(torch.rand, size)

    def image_randn(self, *size: int) -> Tensor:
        """Standard normal numbers ``(N, ...)``, one row per image of this worker."""
        return self._rows(torch.randn, size)

    def _rows(self, draw: Callable[..., Tensor], size: tuple[int, ...]) -> Tensor:
        share = self.share
        if share is None or size[0] != len(share):
            return draw(size, generator=self.generator, device=self.device)
        whole = draw((share.whole, *size[1:]), generator=self.generator, device=self.device)
        return whole[share.rows.start :: share.rows.step]


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed in ``[0, 2**63)`` for one purpose, unrelated to the seeds of other purposes.

    Example:
        >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1)
        True
        >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 2)
        False
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
