"""How long two workers take to sum some numbers: sockets of their own against gloo.

Two processes, one core each, compute for a while and then sum; what counts is the time from the
call to the sum, on the first of them.

    OMP_NUM_THREADS=1 python benchmarks/messages.py
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from taskgroup.training.parallel.links import connect

MESSAGES = 100
COUNTS = (64, 512, 342_000, 15_900_000)
"""Numbers of a batch norm and of more, and gradients of `resnet_small` and of DRN-D-22."""


def gloo_pair(values: Tensor) -> Tensor:
    """The sum by gloo's send and receive."""
    received = torch.empty_like(values)
    other = 1 - dist.get_rank()
    for work in (dist.isend(values, other), dist.irecv(received, other)):
        assert work is not None
        work.wait()
    return values + received


def gloo_sum(values: Tensor) -> Tensor:
    """The sum by gloo's all-reduce."""
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def milliseconds(way: Callable[[Tensor], Tensor], values: Tensor, busy: float) -> list[float]:
    """Time of each sum, after ``busy`` seconds of work."""
    square, times = torch.randn(200, 200), []
    for _ in range(MESSAGES):
        until = time.perf_counter() + busy
        while time.perf_counter() < until:
            square @ square
        began = time.perf_counter()
        way(values)
        times.append(1000 * (time.perf_counter() - began))
    return times


def work(rank: int, folder: str) -> None:
    """One of the two processes."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    store = f"file://{Path(folder, 'store')}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    links = connect()
    assert links is not None

    def linked(values: Tensor) -> Tensor:
        summed = values.clone()
        links.add(summed)
        return summed

    ways = {"all-reduce": gloo_sum, "send and receive": gloo_pair, "sockets": linked}
    for count in COUNTS:
        for busy in (0.0, 0.002, 0.004):
            cells = []
            for way in ways.values():
                times = milliseconds(way, torch.randn(count), busy)
                slow = statistics.quantiles(times, n=10)[-1]
                cells.append(f"{statistics.mean(times):.2f}, {slow:.2f}")
            if rank == 0:
                print(f"| {count} | {1000 * busy:g} | {' | '.join(cells)} |", flush=True)
    dist.destroy_process_group()


def main() -> None:
    print("| numbers | computing before, ms | all-reduce | send and receive | sockets |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (folder,), nprocs=2)


if __name__ == "__main__":
    main()
