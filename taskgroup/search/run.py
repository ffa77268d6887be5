"""Searches a space: check, run, answer."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskgroup.cluster.connection import connected
from taskgroup.cluster.dashboard import shown_in_dashboard
from taskgroup.cluster.resources import available_cpus, available_gpus, available_nodes
from taskgroup.errors import DataError, StorageError
from taskgroup.evaluation.progress_bar import progress_bar
from taskgroup.evaluation.subjects import no_finished_trial
from taskgroup.results.run_directory import DEFAULT_PARENT, RunDirectory
from taskgroup.search.answer.live_table import Show, shown
from taskgroup.search.answer.progress import Progress
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.engine.budget import TimeBudget, busy_seconds
from taskgroup.search.engine.recording import Train
from taskgroup.search.engine.tune import check_resources, run_study
from taskgroup.search.loading import read_study
from taskgroup.search.plan.confirm import score_confirmations
from taskgroup.search.plan.gradients import check_answer
from taskgroup.search.plan.preflight import check_names, robust_objective, told_lines
from taskgroup.search.plan.sources import fail_unless_finite
from taskgroup.search.resume import find_target
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.stages import Stage, stages_of
from taskgroup.search.watch.loggers import check_loggers
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study
from taskgroup.training.fit import fit
from taskgroup.wording import argument


def search(
    space: str | Path | Mapping[str, Any] | None = None,
    *,
    fixes: Iterable[str] = (),
    run: str | Path | None = None,
    runs: str | Path = DEFAULT_PARENT,
    resume: str | Path | None = None,
    address: str | None = None,
    dashboard: Callable[[str], None] | None = None,
    tell: Callable[[str], None] | None = None,
    train: Train = fit,
    show: Show = shown,
    on_finish: Callable[[SearchResult], None] | None = None,
) -> SearchResult:
    """Run the trials of a space, or resume those of an interrupted run.

    Args:
        space: YAML file, shipped name, or plain data; by default that of the run to resume.
        fixes: ``key=value`` pins of the space's keys.
        run: Run directory to create or resume; by default the next free name below ``runs``.
        runs: Folder of run directories.
        resume: Run directory to resume: trials that ended never run again, interrupted ones
            continue from their last epoch. Its space must be the same but for
            ``resume.CHANGEABLE``.
        address: Ray cluster to search on, ``auto``, ``host:port`` or ``ray://host:port``; by
            default one is started on this machine, which no other search finds.
        dashboard: Runs Ray's dashboard during the search and is called with each line about where
            it is, such as ``print``; by default there is none.
        tell: Called with each line about the data before anything is trained, such as ``print``.
        train: Trains one trial.
        show: Shows the search while it runs; by default on stderr.
        on_finish: Called with the result at the end, also of an interrupted search.

    Returns:
        What was found, also after Ctrl-C.

    Raises:
        ConfigError: The space is wrong or not that of the run to resume, or another search is
            in the run directory.
        DataError: The space, the data set or the run to resume is missing or damaged.
        ResourceError: No cluster answers at the address, a trial does not fit the machines, or the
            run directory cannot be written.
    """
    target = find_target(space, fixes=fixes, run=run, resume=resume)
    checked = target.space
    check_names(checked)
    check_loggers(checked)
    with connected(address), shown_in_dashboard(dashboard):
        check_resources(checked)
        directory = target.directory or _new_directory(checked, run, runs)
        with directory.lock():
            told = target.lines()
            target.write_changes()
            _tell([*told, *told_lines(checked)], tell)
            try:
                result = _run(checked, directory, train, show)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"resume with: {_again(directory)}") from None
            except StorageError as error:
                raise _ended_early(directory, error) from None
    if on_finish is not None:
        on_finish(result)
    return result


def _again(directory: RunDirectory) -> str:
    return f"taskgroup search --resume {argument(directory.place)}"


def _ended_early(directory: RunDirectory, error: StorageError) -> StorageError:
    """Why a search stopped before its end, and how it goes on."""
    with suppress(DataError):
        if not directory.is_there():
            return StorageError(
                f"run directory {directory.place} must stay where it is while a search runs in it, "
                f"but it is gone; bring it back and resume with: {_again(directory)}, or search "
                "into a new one"
            )
    return StorageError(f"{error}, then resume with: {_again(directory)}")


def _tell(lines: Sequence[str], tell: Callable[[str], None] | None) -> None:
    """Say what is about to happen, if anybody listens."""
    if tell is not None:
        for line in lines:
            tell(line)


def confirm(
    run: str | Path,
    *,
    top: int | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    suite: str | None = None,
    images: int | None = None,
    address: str | None = None,
    train: Train = fit,
    show: Show = shown,
) -> SearchResult:
    """Train the best trials and the baselines of a run again, and score what no search saw.

    A search that was interrupted is finished first.

    Args:
        run: Run directory of the search.
        top: Searched trials to confirm; by default what the run says, or two.
        seeds: Seeds of each; by default what the run says, or three.
        epochs: Epochs of each; by default what the run says, or each trial's own.
        suite: Attacks that each is scored with, ``quick``, ``standard`` or ``none``; by default
            what the run says, or ``standard``.
        images: Images that the suite attacks; by default what the run says, or 128.
        address: As for :func:`search`.
        train: Trains one trial.
        show: Shows the stage while it runs.

    Raises:
        ConfigError: A number is wrong, or another search is in the run directory.
        DataError: There is no such run, it is damaged, or every trial of it failed.
        ResourceError: A trial does not fit the machine, or the run directory cannot be written.
    """
    study = Study.read(RunDirectory.open(run))
    if study.has_only_failures:
        raise no_finished_trial(study)
    asked = {"top": top, "seeds": seeds, "epochs": epochs, "suite": suite, "images": images}
    fixes = [f"search.confirm.{key}={value}" for key, value in asked.items() if value is not None]
    space = find_target(None, resume=run).space
    if not fixes and space.search.confirm is None:
        fixes = ["search.confirm={}"]
    return search(resume=run, fixes=fixes, address=address, train=train, show=show)


def _new_directory(space: SearchSpace, run: str | Path | None, runs: str | Path) -> RunDirectory:
    if run is not None:
        return RunDirectory.create_at(run, space.text)
    return RunDirectory.create(runs, space.name, space.text)


def _run(space: SearchSpace, directory: RunDirectory, train: Train, show: Show) -> SearchResult:
    """Run stage after stage, each planned from the records of those before it."""
    begin = time.monotonic()
    left = planned = 0
    rungs: tuple[int, ...] = ()
    _fail_unmeasured(directory, space.objectives)
    budget = TimeBudget(space.search.max_seconds, spent=busy_seconds(directory.trials()))
    for open_stage in stages_of(space):
        stage = open_stage(directory, directory.trials())
        rungs = rungs or stage.space.rungs
        left = _run_stage(stage, directory, train, show, budget)
        planned = planned or stage.total
        if left > 0:
            break
    problems = {} if left > 0 or budget.is_over else _score(space, directory)
    study = read_study(directory)
    if left == 0:
        study = _checked(study, directory)
    return SearchResult(
        run=directory,
        study=study,
        total=left + sum(trial.status != "interrupted" for trial in study.trials),
        seconds=time.monotonic() - begin,
        rungs=rungs,
        is_over_budget=left > 0 and budget.is_over,
        unscored=problems,
        left_out=max(0, (space.search.trials or 0) - planned),
    )


def _checked(study: Study, directory: RunDirectory) -> Study:
    """The study with the gradients of its answer checked; Ctrl-C leaves that to a later call."""
    with suppress(KeyboardInterrupt):
        check_answer(directory, study)
        return read_study(directory)
    return study


def _score(space: SearchSpace, directory: RunDirectory) -> Mapping[int, str]:
    """Attack what the confirm stage trained; Ctrl-C stops it, and a later call resumes."""
    confirm = space.search.confirm
    if confirm is None:
        return {}
    machines = available_nodes()
    workers = (available_gpus() or available_cpus()) if machines else 1
    with progress_bar() as progress, suppress(KeyboardInterrupt):
        return score_confirmations(directory, confirm, workers=workers, progress=progress)
    return {}


def _fail_unmeasured(directory: RunDirectory, objectives: Sequence[StudyObjective]) -> None:
    """Fail complete trials without a finite score that a killed session had no time to look at."""
    for record in directory.trials():
        kept = fail_unless_finite(record, objectives)
        if kept != record:
            directory.write_trial(kept)


def _run_stage(
    stage: Stage, directory: RunDirectory, train: Train, show: Show, budget: TimeBudget
) -> int:
    """Run what a stage has not run yet; returns how many of its trials are left."""
    progress = Progress(
        stage.title,
        total=stage.total,
        epochs=stage.space.planned_epochs,
        objectives=stage.space.objectives,
        robust=robust_objective(stage.space).metric,
        records=stage.records,
        max_clean_drop=stage.space.max_clean_drop,
        rungs=stage.space.rungs,
    )
    remaining = stage.total - progress.num_ended
    if remaining > 0 and not budget.is_over:
        with show(progress) as listener, suppress(KeyboardInterrupt):
            run_study(
                stage.space,
                directory,
                stage.source,
                remaining=remaining,
                train=train,
                on_change=listener,
                records=stage.records,
                seconds_left=budget.left,
            )
            progress.total = stage.total
    return stage.total - progress.num_ended
