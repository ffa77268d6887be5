"""A fixed network: what attacks and measurements need, and training must get back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def fixed_network(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without parameter gradients; restore both after.

    Modes and ``requires_grad`` are restored module by module and parameter by parameter, so that a
    frozen part comes back frozen. Frozen parameters keep no activations for gradients that an
    attack on the images never takes.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def autocast(device: torch.device, precision: torch.dtype | None) -> AbstractContextManager[object]:
    """Autocast to a number format; nothing happens for None."""
    if precision is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def evaluation_device() -> torch.device:
    """The current CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device multiplies it natively, else None for float32.

    For the gradients of attacks, never for scores; the last layers of our networks stay in float32
    under it. PGD-20 in bfloat16 (4/255 and 16/255) moved mIoU and depth of two adversarially
    trained networks by 0.0003 or less. SEA-300 left two natural networks 0.0013 and 0.0033 of mIoU
    more than in float32 when last layers were rounded too, and leaves three networks 0.0001 to
    0.0003 more now (benchmarks/sea.md).
    """
    if device.type == "cuda":
        native = bool(torch.cuda.is_bf16_supported(including_emulation=False))
    else:
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return torch.bfloat16 if native else None
