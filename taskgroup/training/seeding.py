"""The one kind of randomness of a step that is not drawn explicitly: layers such as dropout."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_global_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for layers that use them (dropout); restore them after."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
