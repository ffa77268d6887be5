"""What runs in a Tune actor: one trial after another in the same warm process."""

import os
from functools import partial
from typing import Any

import torch
from ray import tune

from taskgroup.evaluation.distributed.home import Home
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.naming import trial_name
from taskgroup.search.planning import from_text, last_epoch, to_text
from taskgroup.search.recording import Train, WorkerClock, record_trial
from taskgroup.search.tuner.dashboard import name_actor
from taskgroup.search.tuner.monitoring import publish_trial
from taskgroup.search.tuner.searcher import RECORD

_CLOCK = WorkerClock()  # outlives trials, as the actor does; that is what it measures


def run_trial(
    config: dict[str, Any],
    *,
    train: Train,
    folder: str,
    home: Home,
    named: bool,
    cpus: int,
    gpus: float,
) -> None:
    """Run one planned trial; ends by SystemExit inside a report when the scheduler stops it.

    Args:
        config: Holds the trial's record as text.
        train: Trains one trial.
        folder: Absolute path of the run directory.
        home: What the trial takes along from the driver.
        named: Whether there is a dashboard, in which this process bears the trial's name.
        cpus: Threads that torch may use.
        gpus: Share of GPUs; 0 hides every one, so that trials do not crowd one unasked.
    """
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    home.enter()
    torch.set_num_threads(cpus)
    planned, run = from_text(config[RECORD]), RunDirectory.open(folder)
    if named:
        name_actor(trial_name(planned))
    emit = partial(report_record, run=run.name, named=named)
    record_trial(train, run, planned, clock=_CLOCK, emit=emit)


def report_record(record: TrialResult, *, run: str, named: bool = False) -> None:
    """Publish how the trial goes, and send Tune the record, which decides everything.

    Args:
        record: The record so far.
        run: Name of the run.
        named: Whether to give the trial's name again, to a dashboard that started late.
    """
    if named:
        name_actor(trial_name(record))
    publish_trial(run, record)
    metrics = dict(record.epochs[-1].metrics) if record.epochs else {}
    epoch = last_epoch(record)
    tune.report({**metrics, "epoch": epoch, RECORD: to_text(record)})
