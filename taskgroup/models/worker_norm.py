"""Batch normalisation over the images of several workers, on CPUs.

torch's ``SyncBatchNorm`` needs GPUs. :func:`convert_batch_norms` swaps norms in as torch's own
``convert_sync_batchnorm`` does: parameters, buffers and state-dict keys stay, so that checkpoints
fit any number of workers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed.nn.functional as differentiable
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class WorkerBatchNorm(_BatchNorm):
    """A batch norm whose statistics in training mode are those of all workers' images.

    Sums are added over workers by torch's differentiable collectives, so gradients, of any order,
    run through the statistics. In evaluation mode it is the norm that it took the place of.

    Attributes:
        counts: Whether this worker's images count for the statistics.
        after: What the norm it replaces did to its result, such as an activation.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        """Take over the parameters and buffers of a norm."""
        super().__init__(norm.num_features, norm.eps, norm.momentum, affine=False)
        self.affine, self.track_running_stats = norm.affine, norm.track_running_stats
        self._parameters.update(norm._parameters)
        self._buffers.update(norm._buffers)
        self.training = norm.training
        self.counts = True
        parts = [getattr(norm, name, None) for name in ("drop", "act")]  # timm's norms have these
        self.after = nn.Sequential(*(part for part in parts if isinstance(part, nn.Module)))

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions from two on."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalise features ``(N, C, ...)``; running statistics are updated alike everywhere."""
        normalised = self._joint(images) if self.training else super().forward(images)
        result: Tensor = self.after(normalised)
        return result

    def _joint(self, images: Tensor) -> Tensor:
        dims = [0, *range(2, images.ndim)]
        shape = [1, -1, *[1] * (images.ndim - 2)]
        wide = images.double()  # where squares are subtracted at no cost in accuracy
        count = images.new_full((images.shape[1],), wide[:, 0].numel(), dtype=wide.dtype)
        own = torch.stack([count, wide.sum(dims), wide.square().sum(dims)]) * float(self.counts)
        total, sums, squares = differentiable.all_reduce(own)  # type: ignore[no-untyped-call]
        mean = sums / total
        variance = (squares / total - mean.square()).clamp(min=0)
        self._update(mean.detach(), variance.detach(), total[0].detach())
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
            offset = self.bias - mean * scale
        else:
            offset = -mean * scale
        normalised: Tensor = images.float() * scale.float().view(shape) + offset.float().view(shape)
        return normalised.to(images.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        rate = self.momentum
        if rate is None:  # a plain average, as in torch
            rate = 1 / float(self.num_batches_tracked or 1)
        unbiased = variance * (total / (total - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)


def convert_batch_norms(network: nn.Module, device: torch.device) -> nn.Module:
    """Let a network's batch norms, in place, take statistics from the images of all workers.

    Args:
        network: The network.
        device: Where it trains: CUDA takes torch's ``SyncBatchNorm``, which has no second
            derivative and counts an empty batch as nothing; anything else :class:`WorkerBatchNorm`.
    """
    if device.type == "cuda":
        # timm's knows its norms with activations too; it takes seconds to import.
        from timm.layers.norm_act import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, WorkerBatchNorm(child))
    return network


def has_sync_batch_norm(network: nn.Module) -> bool:
    """Whether a network has norms of torch's that cannot be differentiated twice."""
    return any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())


@contextmanager
def images_counted(network: nn.Module, counted: bool) -> Iterator[None]:
    """Inside, the images of this worker count for the statistics of batch norms, or do not."""
    norms: list[Any] = [m for m in network.modules() if isinstance(m, WorkerBatchNorm)]
    for norm in norms:
        norm.counts = counted
    try:
        yield
    finally:
        for norm in norms:
            norm.counts = True
