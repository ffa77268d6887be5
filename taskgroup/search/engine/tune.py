"""Runs a study's trials in Ray Tune, one-worker trials in warm actors."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ray import tune
from ray.tune.schedulers import TrialScheduler

from taskgroup.cluster.placement import concurrent_trials
from taskgroup.cluster.resources import (
    available_cpus,
    available_gpus,
    available_nodes,
    driver_claim,
    running_ray,
)
from taskgroup.cluster.surroundings import Surroundings
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.budget import TimeBudget
from taskgroup.search.engine.client import is_client, run_on_head
from taskgroup.search.engine.nodes import carry, check_nodes
from taskgroup.search.engine.recording import Train
from taskgroup.search.engine.scheduler import build_scheduler
from taskgroup.search.engine.searcher import StudySearcher
from taskgroup.search.engine.several_workers import run_trial_with_workers, start_caretaker
from taskgroup.search.engine.trainable import run_trial
from taskgroup.search.engine.watchdog import Watchdog
from taskgroup.search.plan.preflight import robust_objective
from taskgroup.search.plan.sources import TrialSource
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.watch.event_files import EventFiles
from taskgroup.search.watch.gauges import StudyGauges
from taskgroup.search.watch.loggers import ray_loggers

Listener = Callable[[TrialResult], None]
"""Hears of a trial that is planned, measured or ended."""


def check_resources(space: SearchSpace) -> int:
    """How many trials of a space run at once here; starts nothing.

    Raises:
        ResourceError: Not even one fits.
        ConfigError: A trial asks for what is not supported.
    """
    return concurrent_trials(
        space.resources, cpus=available_cpus(), gpus=available_gpus(), nodes=available_nodes()
    )


def run_study(
    space: SearchSpace,
    run: RunDirectory,
    source: TrialSource,
    *,
    remaining: int,
    train: Train,
    on_change: Listener,
    records: Sequence[TrialResult] = (),
    seconds_left: float | None = None,
) -> None:
    """Run trials until their source has no more, or Ctrl-C asks to stop.

    Args:
        space: What is searched.
        run: Where records and checkpoints go.
        source: Where trials come from.
        remaining: Trials to run.
        train: Trains one trial.
        on_change: Hears of every trial that is planned, measured or ended.
        records: Trials of the same stage in earlier sessions, which count at rungs.
        seconds_left: When it is over no trial begins any more, and running ones stop after their
            epoch and can be resumed; None is no limit.

    Raises:
        ResourceError: A trial does not fit the machine, or a record could not be written.
        ConfigError: A trial asks for what is not supported.
    """
    at_once = check_resources(space)
    if is_client():
        there = partial(run_study, records=records, seconds_left=seconds_left)
        run_on_head(
            there, space, run.uri, source, remaining=remaining, train=train,
            on_change=on_change,
        )  # fmt: skip
        return
    budget = TimeBudget(seconds_left)
    scheduler = build_scheduler(space, budget=budget, records=records)
    searcher = StudySearcher(
        source,
        run,
        _announced(space, run, records, on_change),
        remaining=remaining,
        max_retries=space.search.max_retries,
        budget=budget,
        stopped=scheduler.stopped,
    )
    _fit(space, run, train, searcher=searcher, scheduler=scheduler, at_once=at_once)
    if searcher.problem is not None:
        raise searcher.problem


def _announced(
    space: SearchSpace, run: RunDirectory, records: Sequence[TrialResult], on_change: Listener
) -> Listener:
    """A listener for all: the caller's own, the gauges, and event files unless turned off."""
    gauges = StudyGauges(run.name, robust_objective(space), records)
    files = EventFiles(run, records) if "tensorboard" in space.search.loggers else None

    def announce(record: TrialResult) -> None:
        on_change(record)
        gauges(record)
        if files is not None:
            files(record)

    return announce


def _fit(
    space: SearchSpace,
    run: RunDirectory,
    train: Train,
    *,
    searcher: StudySearcher,
    scheduler: TrialScheduler,
    at_once: int,
) -> None:
    """Let Ray Tune run what the searcher proposes; its own files are thrown away."""
    with (
        running_ray(cpus=available_cpus(), gpus=available_gpus()),
        tempfile.TemporaryDirectory(prefix="taskgroup-ray-") as scratch,
    ):
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        surroundings = _checked_surroundings(space, run)
        tuner = tune.Tuner(
            _trainable(space, run, train, surroundings, scratch),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # the searcher ends the study, since a lost trial comes back
                max_concurrent_trials=at_once,
                reuse_actors=space.resources.workers == 1,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                verbose=0,
                callbacks=[*_callbacks(space, searcher), *ray_loggers(space, run)],
            ),
        )
        tuner.fit()


def _checked_surroundings(space: SearchSpace, run: RunDirectory) -> Surroundings:
    """What trials take along, once every node has shown that it can run them."""
    surroundings = Surroundings.here()
    datasets = tuple({config.dataset for config in space.examples()})
    missing = check_nodes(run, run.uri, surroundings, datasets)
    return replace(surroundings, carried=carry(missing))


def _callbacks(space: SearchSpace, searcher: StudySearcher) -> list[tune.Callback]:
    """Who watches the trials besides the searcher and the scheduler."""
    limit = space.search.epoch_timeout
    return [] if limit is None else [Watchdog(limit, why_lost=searcher.why_lost)]


def _trainable(
    space: SearchSpace, run: RunDirectory, train: Train, surroundings: Surroundings, scratch: str
) -> Callable[..., None]:
    """The trial function with what every trial shares and the resources that each takes."""
    resources = space.resources
    shared = {
        "train": train,
        "folder": run.uri,
        "surroundings": surroundings,
    }
    if resources.workers > 1:
        function = tune.with_parameters(
            run_trial_with_workers,
            **shared,
            resources=resources,
            scratch=scratch,
            caretaker=start_caretaker(),
        )
        claim = driver_claim()
    else:
        function = tune.with_parameters(
            run_trial, **shared, cpus=resources.cpus, gpus=resources.gpus
        )
        claim = {"CPU": resources.cpus, "GPU": resources.gpus}
    trainable: Callable[..., None] = tune.with_resources(function, claim)
    return trainable
