"""Running shards in this process: on a CPU in threads, as small networks leave the cores idle.

Measured on two cores that were busy with other work: 64 images of 32 pixels took nine minutes with
two threads inside each operation, which wait for one another hundreds of times per step, and half a
minute with one thread. So a shard has one thread, whatever the machine, and its numbers are the
same on any number of cores.
"""

import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn

from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.errors import DataError
from taskgroup.evaluation.loading import LoadedNetworks, TrainedModel, fixed_networks
from taskgroup.evaluation.objective.expectation import draws_of
from taskgroup.evaluation.perturbations.base import BatchSeed
from taskgroup.evaluation.scoring import predict, sums_per_image
from taskgroup.evaluation.shards.shard import NUM_SAMPLES, Part, SampleImages, Shard, ShardResult


def run_here(
    loaded: LoadedNetworks, shards: Sequence[Shard]
) -> Iterator[tuple[Shard, ShardResult]]:
    """Run shards in this process and yield each as soon as it is finished.

    Args:
        loaded: Networks and images.
        shards: What to do, in this order.
    """
    with fixed_networks(loaded):
        if loaded.device.type == "cpu":
            threads = min(torch.get_num_threads(), len(shards))
            yield from _side_by_side(loaded, shards, threads)
        else:
            yield from ((shard, run_shard(loaded, shard)) for shard in shards)


def _side_by_side(
    loaded: LoadedNetworks, shards: Sequence[Shard], threads: int
) -> Iterator[tuple[Shard, ShardResult]]:
    """Work on several shards at once, each in one thread, and yield what is finished.

    An exception drops the work that has not begun.
    """
    with one_thread():
        if threads < 2:
            yield from ((shard, run_shard(loaded, shard)) for shard in shards)
            return
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            waiting: dict[Future[ShardResult], Shard] = {
                pool.submit(run_shard, loaded, shard): shard for shard in shards
            }
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works with one thread; its number of threads is restored after."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_shard(loaded: LoadedNetworks, shard: Shard) -> ShardResult:
    """Perturb the images of a shard and score its network, and its transfer targets, on them.

    The networks must be fixed, see ``fixed_networks``.
    """
    began = time.perf_counter()
    trained = loaded.networks[shard.network]
    batch = loaded.batch(shard.network, shard.first, shard.stop)
    perturbed = shard.condition.perturbation.apply(
        trained.under_test(loaded.device, is_randomised=shard.network in shard.randomised),
        batch,
        BatchSeed(loaded.seed, shard.first),
    )
    parts = []
    samples = None
    for member, images in perturbed.items():
        own, seen = _scored(_drawn(loaded, shard, shard.network), trained, batch, images)
        parts.append(Part(member, shard.network, own))
        if shard.keeps_samples and samples is None:
            samples = seen
    parts += [
        Part(
            member,
            target,
            _transferred(_drawn(loaded, shard, target), loaded.networks[target], batch, images),
        )
        for target in shard.transfer_targets
        for member, images in perturbed.items()
    ]
    result = ShardResult(
        parts=tuple(parts),
        index=batch.index.cpu(),
        valid={name: _counts(batch, name) for name in trained.task_set},
        seconds=time.perf_counter() - began,
        samples=samples,
    )
    del perturbed
    release_freed_memory()
    return result


def _drawn(loaded: LoadedNetworks, shard: Shard, network: int) -> list[nn.Module]:
    """A network, or draws of one that answers at random, the same ones for all conditions."""
    model = loaded.networks[network].model
    if network not in shard.randomised:
        return [model]
    return draws_of(model, Draws.seeded(loaded.seed, "randomised score", shard.first))


def _scored(
    drawn: Sequence[nn.Module], trained: TrainedModel, batch: Batch, images: Tensor
) -> tuple[dict[str, Tensor], SampleImages]:
    """Sums of every task of a network, their mean over draws, and pictures of the first images."""
    metrics = {task.name: task.metric() for task in trained.tasks}
    found, samples = [], None
    for model in drawn:
        predictions = predict(model, images, list(metrics))
        if images is batch.images:
            _check_finite(predictions)
        main = trained.main_task
        samples = samples or _samples(batch, images, predictions[main], task=main)
        found.append(sums_per_image(metrics, predictions, batch.targets))
    assert samples is not None
    return _mean(found), samples


def _mean(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean over draws of each task's sums."""
    return {task: torch.stack([sums[task] for sums in found]).mean(0) for task in found[0]}


def _check_finite(predictions: Mapping[str, Tensor]) -> None:
    """Refuse a network that breaks without an attack; under one the image counts as fooled."""
    for task, prediction in predictions.items():
        broken = ~prediction.flatten(1).isfinite().all(1)
        if broken.any():
            raise DataError(
                f"the network must predict finite numbers, but its {task} is NaN or infinite on "
                f"{int(broken.sum())} of {len(broken)} clean images; its training went wrong: "
                "evaluate another trial"
            )


def _transferred(
    drawn: Sequence[nn.Module], trained: TrainedModel, batch: Batch, images: Tensor
) -> dict[str, Tensor]:
    """Sums of a network's main task on images that were attacked for another one."""
    metrics = {trained.main_task: trained.main.metric()}
    predictions = [predict(model, images, [trained.main_task]) for model in drawn]
    return _mean([sums_per_image(metrics, found, batch.targets) for found in predictions])


def _counts(batch: Batch, task: str) -> Tensor:
    return batch.targets[task].valid.view(len(batch), -1).sum(1).cpu()


def _samples(batch: Batch, images: Tensor, prediction: Tensor, *, task: str) -> SampleImages:
    """The first images of the split in a batch, with what was predicted for one task."""
    first = batch.index < NUM_SAMPLES

    def chosen(tensor: Tensor) -> Tensor:
        return tensor[first].cpu()

    target = batch.targets[task].map(chosen)
    return SampleImages(chosen(batch.index), chosen(images), chosen(prediction), target)


def release_freed_memory() -> None:
    """Return the holes of the heap to the system; nothing happens where there is no glibc.

    glibc keeps blocks below 32 MB in its heap when they are freed. An attack frees thousands of
    them of many sizes, and the holes add up: measured, 500 images with 150 classes at 128 pixels
    grew from 1 to 6 GB in 1500 shards, none of which needs more than 1.3 GB.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
