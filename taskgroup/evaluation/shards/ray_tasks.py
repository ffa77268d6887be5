"""Shards in Ray tasks, on this machine or on a cluster.

Ray starts here only when it is asked for: with several workers, or with the address of a cluster.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import ray
import torch

from taskgroup.cluster.connection import joined
from taskgroup.cluster.resources import ray_on_this_machine
from taskgroup.cluster.surroundings import Surroundings
from taskgroup.errors import ResourceError
from taskgroup.evaluation.loading import (
    LoadedNetworks,
    NetworkSources,
    fixed_networks,
    load_networks,
)
from taskgroup.evaluation.shards.execute import one_thread, run_shard
from taskgroup.evaluation.shards.shard import Shard, ShardResult

RETRIES = 3
"""How often a shard is begun again when its worker dies."""


def run_with_ray(
    sources: NetworkSources, shards: Sequence[Shard], *, workers: int, address: str | None = None
) -> Iterator[tuple[Shard, ShardResult]]:
    """Run shards in Ray tasks and yield each as soon as it is finished.

    On a cluster the driver's code and settings go to every worker, as in a search.

    Args:
        sources: What every worker loads: checkpoints and their images.
        shards: What to do; the longest begin first.
        workers: Shards at a time, each with one CPU core, and a GPU where there are some.
        address: A running cluster; None starts one on this machine.

    Raises:
        ResourceError: The cluster cannot be joined, has no core to run on, or a worker died again
            and again.
    """
    waiting = sorted(shards, key=lambda shard: -shard.cost)
    with joined(address), ray_on_this_machine(cpus=workers):
        work, surroundings = _task(), Surroundings.here()
        running: dict[Any, Shard] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    shard = waiting.pop(0)
                    running[work.remote(sources, shard, surroundings)] = shard
                (done, *_), _ = ray.wait(list(running))
                yield running.pop(done), _result(done)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _task() -> Any:
    """The task that runs a shard, with what it claims of the cluster."""
    found = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if found.get("CPU", 0) < 1:
        raise ResourceError(
            "an evaluation needs a CPU core of the cluster, but its nodes offer none; "
            "add a node with cores, or leave --address out"
        )
    gpus = 1 if found.get("GPU", 0) >= 1 else 0
    return ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_run_shard)


def _run_shard(sources: NetworkSources, shard: Shard, surroundings: Surroundings) -> ShardResult:
    """What a worker does; it keeps its networks for the next shard."""
    surroundings.enter()
    loaded = _loaded(sources)
    with one_thread(), fixed_networks(loaded):
        return run_shard(loaded, shard)


@lru_cache(maxsize=1)
def _loaded(sources: NetworkSources) -> LoadedNetworks:
    torch.set_num_threads(1)
    return load_networks(sources)


def _result(reference: Any) -> ShardResult:
    try:
        result: ShardResult = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        problem = " ".join(str(error).split())[:200]
        raise ResourceError(
            f"a worker of the evaluation must stay alive, but it died {RETRIES + 1} times: "
            f"{problem}; lower --workers, or run the same command again to resume"
        ) from None
    return result
