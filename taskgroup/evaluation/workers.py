"""Threads that take whole batches, because small networks leave the cores idle inside one batch.

Measured on two cores that were busy with other work: 64 images of 32 pixels took nine minutes with
two threads inside each operation, which wait for one another hundreds of times per step, and half a
minute with one thread.
"""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def batch_workers(num_batches: int, device: torch.device) -> Iterator[Executor | None]:
    """An executor for ``num_batches`` pieces of work that share torch's threads among them.

    None where there is nothing to share: on a GPU, with one batch, with one thread. An exception
    inside the block drops the work that has not begun. Torch's number of threads is restored.
    """
    threads = torch.get_num_threads()
    workers = min(threads, num_batches)
    if device.type != "cpu" or workers < 2:
        yield None
        return
    pool = ThreadPoolExecutor(
        workers, initializer=torch.set_num_threads, initargs=(threads // workers,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
