"""Shards in Ray tasks, on this machine or on a cluster. The only place where evaluation knows Ray.

Ray starts here only when it is asked for: with several workers, or with the address of a cluster.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import torch

from taskgroup.errors import ResourceError
from taskgroup.evaluation.bench import BenchPlan, open_bench
from taskgroup.evaluation.shards import Bench, Shard, ShardResult, held_still, run_shard
from taskgroup.evaluation.workers import one_thread

OBJECT_STORE_BYTES = 256 * 2**20
"""Shards exchange sums only, so Ray's shared memory stays small."""
RETRIES = 3
"""How often a shard is tried again when its worker dies."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def run_with_ray(
    plan: BenchPlan, shards: Sequence[Shard], *, workers: int, address: str | None = None
) -> Iterator[tuple[Shard, ShardResult]]:
    """Run shards in Ray tasks and yield each as soon as it is finished.

    Args:
        plan: What every worker opens: checkpoints and their images.
        shards: What to do; the longest begin first.
        workers: Shards at a time, each with one CPU core, and a GPU where there are some.
        address: A running cluster; None starts one on this machine.

    Raises:
        ResourceError: The cluster has no core to run on, or a worker died again and again.
    """
    waiting = sorted(shards, key=lambda shard: -shard.cost)
    with _running_ray(workers, address):
        work = _task(plan)
        running: dict[Any, Shard] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    shard = waiting.pop(0)
                    running[work.remote(plan, shard, str(Path.cwd()))] = shard
                (done, *_), _ = ray.wait(list(running))
                yield running.pop(done), _result(done)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _task(plan: BenchPlan) -> Any:
    gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0  # type: ignore[no-untyped-call]
    return ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_run_shard)


def _run_shard(plan: BenchPlan, shard: Shard, home: str) -> ShardResult:
    """What a worker does; it keeps its bench for the next shard."""
    os.chdir(home) if Path(home).is_dir() else None
    bench = _opened(plan)
    with one_thread(), held_still(bench):
        return run_shard(bench, shard)


@lru_cache(maxsize=1)
def _opened(plan: BenchPlan) -> Bench:
    torch.set_num_threads(1)
    return open_bench(plan)


def _result(reference: Any) -> ShardResult:
    try:
        result: ShardResult = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        problem = " ".join(str(error).split())[:200]
        raise ResourceError(
            f"a worker of the evaluation must stay alive, but it died {RETRIES + 1} times: "
            f"{problem}; lower --workers, or run the same command again to go on"
        ) from None
    return result


@contextmanager
def _running_ray(workers: int, address: str | None) -> Iterator[None]:
    """A Ray cluster for the time of an evaluation; one that already runs is left running."""
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ |= {name: os.environ.get(name, value) for name, value in _QUIET.items()}
    ours = not ray.is_initialized()
    try:
        if ours:
            _start(workers, address)
        yield
    finally:
        if ours:
            ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(workers: int, address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        ray.init(address=address, **quiet)
        return
    ray.init(
        address="local",  # without it Ray would join whatever cluster it finds on this machine
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        **quiet,
    )
