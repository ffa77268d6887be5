"""What runs in a Tune actor: one trial after another in the same warm process."""

import os
from functools import partial
from typing import Any

import torch
from ray import tune

from taskgroup.cluster.surroundings import Surroundings
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.recording import Train, WorkerClock, record_trial
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.plan.planning import from_text, last_epoch, to_text
from taskgroup.search.watch.gauges import publish_trial

_CLOCK = WorkerClock()  # outlives trials, as the actor does; that is what it measures


def run_trial(
    config: dict[str, Any],
    *,
    train: Train,
    folder: str,
    surroundings: Surroundings,
    cpus: int,
    gpus: float,
) -> None:
    """Run one planned trial; ends by SystemExit inside a report when the scheduler stops it.

    Args:
        config: Holds the trial's record as text.
        train: Trains one trial.
        folder: Absolute path of the run directory.
        surroundings: What the trial takes along from the driver.
        cpus: Threads that torch may use.
        gpus: Share of GPUs; 0 hides every one, so that trials do not crowd one unasked.
    """
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    surroundings.enter()
    torch.set_num_threads(cpus)
    planned, run = from_text(config[RECORD]), RunDirectory.open(folder)
    emit = partial(report_record, run=run.name)
    record_trial(train, run, planned, clock=_CLOCK, emit=emit)


def report_record(record: TrialResult, *, run: str) -> None:
    """Publish how the trial goes, and send Tune the record, which decides everything.

    Args:
        record: The record so far.
        run: Name of the run.
    """
    publish_trial(run, record)
    metrics = dict(record.epochs[-1].metrics) if record.epochs else {}
    epoch = last_epoch(record)
    tune.report({**metrics, "epoch": epoch, RECORD: to_text(record)})
