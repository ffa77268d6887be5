"""When an attack looks whether images are finished: a look makes the host wait for a GPU."""

import torch

LOOK_EVERY = 8
"""Iterations between looks where a look must wait for a device."""


def is_look(number: int, device: torch.device) -> bool:
    """Whether to look in iteration ``number``, counted from 1: always on a CPU."""
    return device.type == "cpu" or number % LOOK_EVERY == 1
