"""Shards in this process: on a CPU in threads, because small networks leave the cores idle.

Measured on two cores that were busy with other work: 64 images of 32 pixels took nine minutes with
two threads inside each operation, which wait for one another hundreds of times per step, and half a
minute with one thread. So a shard has one thread, whatever the machine, and its numbers are the
same on any number of cores.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

from taskgroup.evaluation.shards.shard import Bench, Shard, ShardResult, held_still, run_shard

T = TypeVar("T")


def run_here(bench: Bench, shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult]]:
    """Run shards in this process and yield each as soon as it is finished.

    Args:
        bench: Networks and images.
        shards: What to do, in this order.
    """
    with held_still(bench):
        if bench.device.type == "cpu":
            threads = min(torch.get_num_threads(), len(shards))
            yield from _side_by_side(lambda shard: run_shard(bench, shard), shards, threads)
        else:
            yield from ((shard, run_shard(bench, shard)) for shard in shards)


def _side_by_side(
    work: Callable[[Shard], T], shards: Sequence[Shard], threads: int
) -> Iterator[tuple[Shard, T]]:
    """Work on several shards at once, each in one thread, and yield what is finished.

    An exception drops the work that has not begun.
    """
    with one_thread():
        if threads < 2:
            yield from ((shard, work(shard)) for shard in shards)
            return
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            waiting: dict[Future[T], Shard] = {pool.submit(work, shard): shard for shard in shards}
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
