"""Batch normalisation over the images of all workers.

torch's ``SyncBatchNorm`` refuses the CPU and replaces modules. Here the function that every batch
norm calls in training mode is exchanged while the network runs, so that weights, names and
statistics are those of an ordinary network and checkpoints fit any number of workers.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from taskgroup.training.parallel.group import WorkerGroup

PIECE_VALUES = 2**19
"""Numbers of features that a CPU handles at once where it can choose."""


def joint_norms(group: WorkerGroup, *, counts: bool = True) -> AbstractContextManager[object]:
    """Inside, batch norms in training mode take their statistics from all workers' images.

    Args:
        group: The workers; each must run the same layers.
        counts: Whether this worker's images count; those of a worker without a share do not.
    """
    return nullcontext() if group.size == 1 else _JointNorms(group, counts)


class _JointNorms(TorchFunctionMode):
    """Replaces ``F.batch_norm`` in training mode."""

    def __init__(self, group: WorkerGroup, counts: bool) -> None:
        super().__init__()
        self._group, self._counts = group, counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm and kwargs.get("training"):
            return joint_batch_norm(self._group, self._counts, *args, **kwargs)
        return func(*args, **kwargs)


def joint_batch_norm(
    group: WorkerGroup,
    counts: bool,
    images: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    *,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """``F.batch_norm`` in training mode over the features ``(N, C, ...)`` of all workers.

    Running statistics are updated in place, alike on every worker.
    """
    channels = images.shape[1]
    normalised, mean, var, total = _JointBatchNorm.apply(
        images,
        images.new_ones(channels, dtype=torch.float32) if weight is None else weight,
        images.new_zeros(channels, dtype=torch.float32) if bias is None else bias,
        group,
        counts,
        eps,
    )
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = var * (total / (total - 1).clamp(min=1))
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    joined: Tensor = normalised
    return joined


class _JointBatchNorm(torch.autograd.Function):
    """Normalises by the joint mean and variance; its gradient goes through both."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        group: WorkerGroup,
        counts: bool,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, total = _joint_statistics(images, group, counts)
        ctx.save_for_backward(images, weight, mean, var, total)
        ctx.group, ctx.counts, ctx.eps = group, counts, eps
        normalised = F.batch_norm(images, mean, var, weight, bias, eps=eps)
        ctx.mark_non_differentiable(mean, var, total)
        return normalised, mean, var, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Any, ...]:
        images, weight, mean, var, total = ctx.saved_tensors
        constant, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, images, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = ctx.group.sum(torch.stack([of_weight, of_bias]).double()) / total
        if not ctx.counts:
            return constant, of_weight, of_bias, None, None, None
        # The statistics' part: -(gamma / std) * (mean of dy + xhat * mean of dy xhat).
        scale = -weight * (var.double() + ctx.eps).rsqrt()
        slope, offset = ((scale * of_gradient).to(weight.dtype) for of_gradient in sums)
        for part, own in zip(*(_pieces(whole) for whole in (constant, images)), strict=True):
            part += F.batch_norm(own, mean, var, slope, offset, eps=ctx.eps)
        return constant, of_weight, of_bias, None, None, None


def _pieces(images: Tensor) -> tuple[Tensor, ...]:
    """Views of some images each.

    On a CPU what is computed for a piece stays in the cache and in memory that the process has
    already; for a whole it would come from the system each time, at four times the time.
    """
    if images.device.type != "cpu":
        return (images,)
    return torch.split(images, max(1, PIECE_VALUES // images[0].numel()))


def _joint_statistics(
    images: Tensor, group: WorkerGroup, counts: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance ``(C,)`` float32 and number of values of all workers' images.

    Means of squares are subtracted in float64, where that costs no accuracy.
    """
    mean, var = (part.double() for part in _statistics(images))
    count = images.numel() // images.shape[1] if counts else 0
    own = torch.stack([torch.ones_like(mean), mean, var + mean.square()]) * count
    ones, sums, squares = group.sum(own)
    joint = sums / ones
    spread = (squares / ones - joint.square()).clamp(min=0)
    return joint.float(), spread.float(), ones[0]


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, float32."""
    if images.device.type != "cpu":
        dims = [0, *range(2, images.ndim)]
        var, mean = torch.var_mean(images.float(), dims, correction=0)
        return mean, var
    # Ten times as fast as var_mean on channels-last features, and float32 for bfloat16 ones.
    zeros = images.new_zeros(images.shape[1], dtype=torch.float32)
    found: tuple[Tensor, Tensor] = torch.ops.aten.batch_norm_update_stats(
        images, zeros, zeros.clone(), 0.0
    )
    return found
