"""Evaluation with two worker processes against one, each with one core.

    OMP_NUM_THREADS=1 python benchmarks/evaluation_workers.py RUN
    OMP_NUM_THREADS=1 python benchmarks/evaluation_workers.py RUN --suite standard --images 16

RUN is a finished run directory; its winner and baselines are evaluated on a copy without finished
shards. Both ways run in Ray tasks; the time from the first finished shard to the last one is
without Ray's start. The numbers of both ways are compared bit by bit.
"""

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import Evaluated, evaluate
from taskgroup.evaluation.suites.catalogue import SUITES, Suite


@dataclass(frozen=True)
class Timed:
    """One evaluation.

    Attributes:
        workers: Worker processes.
        seconds: Time of the whole call.
        working: Time from the first finished shard to the last one, Ray's start left out.
        shards: Number of shards.
        found: What it found.
    """

    workers: int
    seconds: float
    working: float
    shards: int
    found: Evaluated


def timed(run: Path, suite: Suite, workers: int, images: int) -> Timed:
    """Evaluate a copy of a run that no evaluation has touched."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.name
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("shards", "search.lock"))
        told: list[float] = []
        options = EvaluationOptions(suite, images, workers=workers, address="local")
        began = time.perf_counter()
        found = evaluate(
            "best",
            run=copy,
            options=options,
            progress=lambda *_: told.append(time.perf_counter()),
        )
        seconds = time.perf_counter() - began
    return Timed(workers, seconds, told[-1] - told[0], len(told), found)


def main() -> None:
    """Time one worker, then two, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--suite", choices=SUITES, default="quick")
    parser.add_argument("--images", type=int, default=256)
    arguments = parser.parse_args()
    one, two = (
        timed(arguments.run, arguments.suite, workers, arguments.images) for workers in (1, 2)
    )
    print("| workers | shards | whole call, s | first to last shard, s |\n|---|---|---|---|")
    for found in (one, two):
        print(f"| {found.workers} | {found.shards} | {found.seconds:.1f} | {found.working:.1f} |")
    print(
        f"whole call {one.seconds / two.seconds:.2f} times as fast, "
        f"shards alone {one.working / two.working:.2f} times"
    )
    same = [
        replace(a, seconds=0) == replace(b, seconds=0)
        for a, b in zip(one.found.rows, two.found.rows, strict=True)
    ]
    print(f"equal rows: {sum(same)} of {len(same)}")


if __name__ == "__main__":
    main()
