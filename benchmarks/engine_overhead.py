"""What the search engine costs a trial: time from a worker's last record to the next first batch.

Searches the smoke space with real, tiny trials, and prints the engine overhead that every search
measures, beside the time from the command to the first batch.

    OMP_NUM_THREADS=1 python benchmarks/engine_overhead.py --trials 24
"""

import argparse
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from taskgroup.search.answer.result import SearchResult
from taskgroup.search.run import search

GOAL, LIMIT = 0.15, 0.5
SMALL = ("dataset.train=64", "dataset.validation=32", "training.epochs=1")


def measure(trials: int, sampler: str) -> tuple[SearchResult, float]:
    """One search; also the seconds from its call to the first batch of its first trial."""
    fixes = (f"search.trials={trials}", f"search.sampler={sampler}", *SMALL)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.time()
        result = search("smoke", fixes=fixes, runs=Path(folder))
        started = [datetime.fromisoformat(trial.started) for trial in result.study.trials]
    return result, min(moment.timestamp() for moment in started) - begin


def row(result: SearchResult, sampler: str, start: float) -> str:
    """A line of the table."""
    trials, seconds = result.study.trials, np.array(result.study.overheads)
    training = np.mean([trial.seconds for trial in trials])
    return (
        f"| {sampler} | {len(trials)} | {seconds.mean():.3f} | {np.median(seconds):.3f} "
        f"| {seconds.max():.3f} | {training:.2f} | {start:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"])
    arguments = parser.parse_args()
    print("| sampler | trials | mean, s | median, s | maximum, s | trial itself, s | start, s |")
    print("|---|---|---|---|---|---|---|")
    for sampler in arguments.samplers:
        result, start = measure(arguments.trials, sampler)
        print(row(result, sampler, start), flush=True)
    print(f"goal {GOAL} s, limit {LIMIT} s a trial")


if __name__ == "__main__":
    main()
