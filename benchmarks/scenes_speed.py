"""How fast scenes are rendered with all labels, and how fast they are read from the cache.

Each row is the best of several rounds, by the clock and by processor time: other work on the
machine only ever slows a round down, and processor time says what a core of one's own gives (of
several processes, the one that needed most of it counts). Reading takes shuffled batches of the
picture and four labels, once in their stored types and once as float tensors with masks.

    OMP_NUM_THREADS=1 python benchmarks/scenes_speed.py
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import multiprocessing

from taskgroup.data.scenes import SceneDataset
from taskgroup.data.scenes.render import STORED, render_rows
from taskgroup.data.scenes.writing import SceneRequest, entry_bytes, write_entry

LABELS = ("segmentation", "depth", "normals", "edges")
BATCH = 32

Fetch = Callable[[list[int]], object]


def render_all(count: int, size: int) -> None:
    for _ in render_rows(0, "train", range(count), size=size):
        pass


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time that ``work`` takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def report(what: str, count: int, work: Callable[[], float], *, rounds: int) -> None:
    """Time rounds of ``work`` on ``count`` images; it returns its processor seconds."""
    clock, processor = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        processor.append(work())
        clock.append(time.perf_counter() - start)
    rates = " | ".join(f"{count / min(seconds):,.0f}" for seconds in (clock, processor))
    print(f"| {what} | {count} | {rates} |", flush=True)


def serve(orders: multiprocessing.Queue, answers: multiprocessing.Queue) -> None:
    """Body of a rendering process: one round for each order."""
    torch.set_num_threads(1)
    while (order := orders.get()) is not None:
        answers.put(processor_seconds(partial(render_all, *order)))


def report_processes(number: int, count: int, size: int, *, rounds: int) -> None:
    """One row: several processes that render ``count`` images each at the same time."""
    context = multiprocessing.get_context("spawn")
    orders, answers = context.Queue(), context.Queue()
    processes = [context.Process(target=serve, args=(orders, answers)) for _ in range(number)]
    for process in processes:
        process.start()

    def work() -> float:
        for _ in processes:
            orders.put((count, size))
        return max(answers.get() for _ in processes)

    work()  # the first round waits for the processes to start
    report(f"render, {size} px, {number} processes", number * count, work, rounds=rounds)
    for _ in processes:
        orders.put(None)
    for process in processes:
        process.join()


def read_all(fetch: Fetch, batches: list[list[int]]) -> None:
    for batch in batches:
        fetch(batch)


def report_reading(count: int, *, rounds: int) -> None:
    """Two rows: stored types, and tensors with masks."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    batches = [order[start : start + BATCH] for start in range(0, count, BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        write_entry(Path(folder), SceneRequest(0, "train", 64, count), helpers=0)
        dataset = SceneDataset(Path(folder), count, LABELS)
        ways: dict[str, Fetch] = {"stored types": dataset.stored, "float tensors": dataset.batch}
        for way, fetch in ways.items():
            read_all(fetch, batches)  # the first pass reads the disk
            what = f"read {way}, 64 px, shuffled batches of {BATCH}"
            work = partial(processor_seconds, partial(read_all, fetch, batches))
            report(what, count, work, rounds=rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="images a round at 64 px")
    parser.add_argument("--rounds", type=int, default=25, help="rounds a row")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    render_all(32, 64)
    bytes_each = entry_bytes(SceneRequest(0, "train", 64, 1))
    print(f"{len(STORED)} arrays, {bytes_each:,} bytes an image at 64 px\n")
    print(
        "| what | images | images/s by the clock | images/s by processor time |\n|---|---|---|---|"
    )
    for size in (32, 64, 128, 256, 512):
        count = max(arguments.images * 64**2 // max(size, 64) ** 2, 2)
        work = partial(processor_seconds, partial(render_all, count, size))
        report(f"render, {size} px, 1 process", count, work, rounds=arguments.rounds)
    report_processes(2, arguments.images, 64, rounds=arguments.rounds)
    report_reading(1024, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
