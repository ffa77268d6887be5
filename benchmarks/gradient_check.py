"""How often the check of gradients flags honest networks and frauds, and what frauds would claim.

Every network is tried behind honest functions and behind tricks that leave its answers nearly as
they are but spoil its gradient. A trick's claim is what the main attack of suite ``quick`` leaves
of it; the truth is what that of ``standard`` against the network without the trick leaves when the
images are scored through the trick.

    OMP_NUM_THREADS=1 python benchmarks/gradient_check.py runs/quickstart-1/checkpoints/0000[01].pt
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch
from taskgroup.evaluation.loading import NetworkSources, TrainedModel, load_networks
from taskgroup.evaluation.objective.network import fast_precision, fixed_network
from taskgroup.evaluation.perturbations.base import BatchSeed, NetworkUnderTest
from taskgroup.evaluation.scoring import predict, sums_per_image
from taskgroup.evaluation.suites.strong import Suite, strong_conditions
from taskgroup.evaluation.verdict.gradient_check import check_gradients
from taskgroup.evaluation.verdict.worst_case import worst_case

IMAGES = 32
Images = Callable[[Tensor], Tensor]


class Behind(nn.Module):
    """A network behind a function of its images, before a function of its predictions."""

    def __init__(self, network: nn.Module, images: Images, predictions: Images) -> None:
        super().__init__()
        self.network, self.images, self.predictions = network, images, predictions

    def forward(self, images: Tensor, tasks: list[str]) -> dict[str, Tensor]:
        """Predictions by task."""
        found = self.network(self.images(images), tasks)
        return {name: self.predictions(prediction) for name, prediction in found.items()}


def same(values: Tensor) -> Tensor:
    """Nothing done."""
    return values


def blurred(images: Tensor, size: int = 3) -> Tensor:
    """Means of squares of pixels."""
    return avg_pool2d(pad(images, [size // 2] * 4, mode="reflect"), size, stride=1)


def coarse(images: Tensor) -> Tensor:
    """Half the resolution."""
    return interpolate(avg_pool2d(images, 2), scale_factor=2.0, mode="nearest")


def median(images: Tensor) -> Tensor:
    """Medians of 3 x 3 pixels."""
    patches = pad(images, [1] * 4, mode="reflect").unfold(2, 3, 1).unfold(3, 3, 1)
    return patches.flatten(-2).median(-1).values


def winners(images: Tensor) -> Tensor:
    """Of each 16 neighbours in a row the four largest, the others zero (k-WTA)."""
    rows = images.unflatten(-1, (-1, 16))
    return (rows * (rows >= rows.topk(4, dim=-1).values[..., -1:])).flatten(-2)


def through(value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Images:
    """The value of one function with the gradient of another."""
    return lambda images: slope(images) + (value(images) - slope(images)).detach()


class Changed(torch.autograd.Function):
    """The images, with a changed gradient."""

    @staticmethod
    def forward(ctx, images, change):  # type: ignore[no-untyped-def]
        """The images themselves."""
        ctx.change = change
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        """What the change makes of the gradient."""
        return ctx.change(gradient), None


def changed(change: Images) -> Images:
    """The images, with a gradient that ``change`` makes of the true one."""
    return lambda images: Changed.apply(images, change)


def flip_every(gradient: Tensor, *, columns: int) -> Tensor:
    """The opposite sign in every so many columns."""
    spoilt = gradient.clone()
    spoilt[..., ::columns] *= -1
    return spoilt


def flip_small(gradient: Tensor) -> Tensor:
    """The opposite sign of every entry below the median."""
    sizes = gradient.abs()
    return gradient.where(sizes > sizes.flatten(1).median(1).values.view(-1, 1, 1, 1), -gradient)


def flip_half(gradient: Tensor) -> Tensor:
    """The opposite sign in the left half."""
    spoilt = gradient.clone()
    spoilt[..., : gradient.shape[-1] // 2] *= -1
    return spoilt


def shifted(gradient: Tensor) -> Tensor:
    """The gradient of the pixel 3 to the right."""
    return gradient.roll(3, -1)


def flip_low(gradient: Tensor) -> Tensor:
    """The opposite sign of what is coarse."""
    low = interpolate(avg_pool2d(gradient, 8), scale_factor=8.0, mode="nearest")
    return gradient - 2 * low


def add_noise(gradient: Tensor, size: float = 1.0) -> Tensor:
    """Noise so many times as large as the gradient."""
    noise = size * torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0))
    return gradient + gradient.flatten(1).std(1).view(-1, 1, 1, 1) * noise


def rippled(images: Tensor, *, gain: float, period: float = 3 / 255) -> Tensor:
    """The images with a fine wave on them, which moves them little and their slope a lot."""
    wave = 2 * torch.pi / period
    return images + gain / wave * torch.sin(wave * images)


class ChangedAt(torch.autograd.Function):
    """The images, with noise for the gradient of those that a test picks."""

    @staticmethod
    def forward(ctx, images, is_changed):  # type: ignore[no-untyped-def]
        """The images themselves."""
        ctx.save_for_backward(is_changed(images))
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        """Noise where the test says so."""
        (chosen,) = ctx.saved_tensors
        return torch.where(chosen, add_noise(gradient, 100), gradient), None


def at_the_border(images: Tensor) -> Tensor:
    """Whether a number of an image is 0 or 1, as attacks leave it."""
    return ((images <= 0) | (images >= 1)).flatten(1).any(1).view(-1, 1, 1, 1)


def in_bfloat16(images: Tensor) -> Tensor:
    """Whether attacks run in bfloat16, which scores do not."""
    is_so = torch.is_autocast_enabled(images.device.type)
    return torch.full((len(images), 1, 1, 1), is_so, device=images.device)


def rounded(levels: int) -> Images:
    """So many steps from black to white."""
    return lambda images: (levels * images).round() / levels


def jpeg(images: Tensor, size: int = 8, step: float = 0.1) -> Tensor:
    """Rounded cosine coefficients of 8 x 8 pixels, as JPEG keeps them."""
    grid = torch.arange(size, dtype=images.dtype)
    basis = torch.cos(torch.pi / size * (grid[None] + 0.5) * grid[:, None]) * (2 / size) ** 0.5
    basis[0] *= 0.5**0.5
    tiles = images.unflatten(-1, (-1, size)).unflatten(-3, (-1, size)).transpose(-2, -3)
    kept = (basis @ tiles @ basis.T / step).round() * step
    return (basis.T @ kept @ basis).transpose(-2, -3).flatten(-4, -3).flatten(-2)


def sharpened(images: Tensor) -> Tensor:
    """The images and once more what a blur takes from them."""
    return 2 * images - blurred(images)


def standardised(images: Tensor) -> Tensor:
    """Each image with the same mean and contrast."""
    mean, spread = images.mean((1, 2, 3), True), images.std((1, 2, 3), keepdim=True)
    return (0.5 + 0.2 * (images - mean) / (spread + 1e-3)).clamp(0, 1)


def smooth(images: Tensor) -> Tensor:
    """Three steps that lower the total variation."""
    for _ in range(3):
        images = 0.5 * images + 0.25 * (blurred(images) + blurred(images, 5))
    return images


HONEST: dict[str, tuple[Images, Images]] = {
    "nothing": (same, same),
    "blur": (blurred, same),
    "half the resolution": (coarse, same),
    "maxima of 3 x 3": (lambda x: max_pool2d(pad(x, [1] * 4, mode="reflect"), 3, stride=1), same),
    "median of 3 x 3": (median, same),
    "clipping": (lambda images: images.clamp(0.1, 0.9), same),
    "sigmoid contrast": (lambda images: torch.sigmoid(8 * (images - 0.5)), same),
    "sharpening": (sharpened, same),
    "equal contrast": (standardised, same),
    "smoothing in 3 steps": (smooth, same),
    "double resolution": (
        lambda x: avg_pool2d(interpolate(x, scale_factor=2.0, mode="bilinear"), 2),
        same,
    ),
    "grey": (lambda images: images.mean(1, keepdim=True).expand_as(images), same),
    "logits x 10": (same, lambda prediction: 10 * prediction),
    "logits / 1000": (same, lambda prediction: prediction / 1000),
    "logits + 1000": (same, lambda prediction: prediction + 1000),
    "squashed logits": (same, torch.tanh),
}
FRAUDS: dict[str, tuple[Images, Images]] = {
    "rounding, 16 levels": (through(rounded(16), same), same),
    "rounding, 6 levels": (through(rounded(6), same), same),
    "straight-through blur": (through(lambda x: blurred(x, 5), same), same),
    "gradient of grey": (through(same, lambda x: x.mean(1, keepdim=True).expand_as(x)), same),
    "gradient of the mean": (
        through(same, lambda x: x.mean((2, 3), keepdim=True).expand_as(x)),
        same,
    ),
    "gradient of a blur": (through(same, lambda x: blurred(x, 5)), same),
    "signs of every 4th column": (changed(lambda g: flip_every(g, columns=4)), same),
    "signs of every 8th column": (changed(lambda g: flip_every(g, columns=8)), same),
    "signs of small entries": (changed(flip_small), same),
    "signs of what is coarse": (changed(flip_low), same),
    "signs of the left half": (changed(flip_half), same),
    "the neighbour's gradient": (changed(shifted), same),
    "straight-through JPEG": (through(jpeg, same), same),
    "JPEG": (jpeg, same),
    "straight-through rounded logits": (same, through(lambda p: 4 * (p / 4).round(), same)),
    "gradient of saturated logits": (same, through(same, lambda p: torch.tanh(20 * p))),
    "noise": (changed(add_noise), same),
    "a ripple, gain 3": (lambda x: rippled(x, gain=3), same),
    "a ripple, gain 8": (lambda x: rippled(x, gain=8), same),
    "noise where a number is 0 or 1": (lambda x: ChangedAt.apply(x, at_the_border), same),
    "noise in bfloat16": (lambda x: ChangedAt.apply(x, in_bfloat16), same),
    "no gradient": (lambda images: images.detach(), same),
    "k-WTA": (winners, same),
}


def attacked(trained: TrainedModel, batch: Batch, suite: Suite) -> list[Tensor]:
    """Images by member of a suite's main attack."""
    attack = strong_conditions(suite, at_eight(trained), trained.main)[0].perturbation
    network = NetworkUnderTest(trained.model, trained.tasks)
    return list(attack.apply(network, batch, BatchSeed(0, 0)).values())


def score(trained: TrainedModel, batch: Batch, images: list[Tensor]) -> float:
    """Main score in percent, of each image the member that hurts most."""
    task = trained.main
    metric = task.metric()
    found = [
        sums_per_image(
            {task.name: metric}, predict(trained.model, one, [task.name]), batch.targets
        )[task.name]
        for one in images
    ]
    sums = worst_case(found, metric, score=task.main_score).sums
    return 100 * float(metric.score(sums.sum(0))[task.main_score])


def main() -> None:
    """Print the rows of the tables in ``gradient_check.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--only", choices=("honest", "frauds"))
    parser.add_argument("--names", nargs="+", help="functions and tricks; default: all")
    parser.add_argument("--no-claims", action="store_true", help="check alone, attack nothing")
    arguments = parser.parse_args()
    for path in arguments.checkpoints:
        loaded = load_networks(NetworkSources((str(path),)))
        trained, batch = loaded.networks[0], loaded.batch(0, 0, IMAGES)
        with fixed_network(trained.model):
            is_attacked = arguments.only != "honest" and not arguments.no_claims
            best = attacked(trained, batch, "standard") if is_attacked else []
        kinds = {"honest": HONEST, "frauds": FRAUDS}
        for kind in [arguments.only] if arguments.only else kinds:
            for name, functions in kinds[kind].items():
                if arguments.names and name not in arguments.names:
                    continue
                tried = replace(trained, model=Behind(trained.model, *functions).eval())
                check = check_gradients(
                    tried.model,
                    tried.tasks,
                    batch,
                    main_task=tried.main_task,
                    threat=at_eight(trained),
                    at_once=IMAGES,
                    precision=fast_precision(loaded.device),
                )
                row = f"{kind} | {path.stem} | {name} | {check.share:.2f}"
                row += f" | {'flagged' if check.is_failed else check.text or 'passes'}"
                if kind == "frauds" and best:
                    with fixed_network(tried.model):
                        claim = score(tried, batch, attacked(tried, batch, "quick"))
                        row += f" | {claim:.1f} | {score(tried, batch, best):.1f}"
                print(f"| {row} |", flush=True)


def at_eight(trained: TrainedModel) -> ThreatModel:
    """The network's ball at 8/255."""
    return trained.threat.model_copy(update={"epsilon": 8 / 255})


if __name__ == "__main__":
    main()
