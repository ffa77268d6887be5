"""Every random number of a trial comes from its seed, its purpose and its epoch.

Generators are made for each epoch, so a resumed trial needs no generator state: epoch 3
draws the same numbers whether or not epochs 1 and 2 ran in this process.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


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


def make_generator(
    seed: int, *purpose: str | int, device: torch.device | None = None
) -> torch.Generator:
    """A fresh generator on ``device`` (the CPU by default) for one purpose."""
    generator = torch.Generator(device or torch.device("cpu"))
    return generator.manual_seed(derive_seed(seed, *purpose))


@contextmanager
def seeded_global_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for layers that use them (dropout); restore them after."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
