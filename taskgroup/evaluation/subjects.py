"""Whom to evaluate: the winner of a run with its baselines, one trial, or one checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from taskgroup.config import parse_yaml
from taskgroup.errors import ConfigError, DataError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import SPACE_FILE, RunDirectory
from taskgroup.results.runs import newest
from taskgroup.results.storage.places import Place, is_address, within
from taskgroup.results.storage.single_files import exists, run_of
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import max_clean_drop, select_best, study_limits

ELSEWHERE = -1
"""Trial number of a checkpoint that belongs to no run."""
Role = Literal["winner", "baseline", "other"]


@dataclass(frozen=True)
class Subject:
    """One network to evaluate.

    Attributes:
        trial: Number of its trial, or -1.
        label: What a reader calls it.
        role: Its part in the run.
        checkpoint: Where its weights lie.
    """

    trial: int
    label: str
    role: Role
    checkpoint: Place


def resolve(
    which: str, run: str | Path | None, runs: Place
) -> tuple[list[Subject], RunDirectory | None]:
    """The networks that ``which`` names, and the run directory to write to.

    Args:
        which: ``best``, a trial's number, or the path of a checkpoint.
        run: A run directory; None is the newest below ``runs``, or the checkpoint's own.
        runs: Folder of run directories.

    Raises:
        DataError: There is no such run or checkpoint.
        ConfigError: An unknown trial, or neither a number nor a path.
    """
    if which == "best" or which.isdecimal():
        directory = newest(runs) if run is None else RunDirectory.open(run)
        if which == "best":
            return winner_and_baselines(directory), directory
        trials = directory.trials()
        best = best_trial(directory, trials)
        return [one_trial(directory, int(which), trials, best)], directory
    path = Path(which)
    if not is_address(which) and not path.suffix and len(path.parts) == 1 and not path.exists():
        raise ConfigError(
            f"evaluate takes best, all, a trial's number or a checkpoint's path, got {which!r}; "
            "see the trials with: taskgroup runs show"
        )
    subject, home = one_checkpoint(which)
    return [subject], home if run is None else RunDirectory.open(run)


def winner_and_baselines(run: RunDirectory) -> list[Subject]:
    """The run's best trial by its own rule, then the finished baselines.

    Raises:
        DataError: No trial is finished, or the winner has no checkpoint.
        ConfigError: The run's space has no objectives.
    """
    trials = run.trials()
    best = best_trial(run, trials)
    if best is None:
        finished = [trial.number for trial in trials if trial.status == "complete"]
        if finished:
            raise DataError(
                f"run {run.place} must hold a trial with a score to be the best, found none that "
                f"a search scored; name one: taskgroup evaluate {finished[0]} --run {run.place}"
            )
        raise DataError(
            f"run {run.place} must hold a finished trial, found none among {len(trials)}; "
            "resume it with: taskgroup search --resume " + run.place
        )
    baselines = [
        trial
        for trial in trials
        if (trial.stage, trial.role, trial.status) == ("search", "baseline", "complete")
        and trial.number != best.number
    ]
    return [
        _subject(run, best, "winner"),
        *(_subject(run, trial, "baseline") for trial in baselines),
    ]


def one_trial(
    run: RunDirectory, number: int, trials: Sequence[TrialResult], best: TrialResult | None
) -> Subject:
    """One trial of a run.

    Args:
        run: The run.
        number: The trial's number.
        trials: Every trial of the run.
        best: The one that ``best_trial`` finds among them.

    Raises:
        ConfigError: The run has no such trial.
        DataError: The trial left no checkpoint.
    """
    for trial in trials:
        if trial.number == number:
            is_best = best is not None and best.number == number
            other: Role = "baseline" if trial.role == "baseline" else "other"
            return _subject(run, trial, "winner" if is_best else other)
    known = f"0 to {max(trial.number for trial in trials)}" if trials else "none yet"
    raise ConfigError(
        f"run {run.place} must hold the trial to evaluate, found no trial {number}; it has {known}"
    )


def one_checkpoint(place: Place) -> tuple[Subject, RunDirectory | None]:
    """A checkpoint file, and the run that it belongs to, if any.

    Raises:
        DataError: There is no file.
    """
    if not exists(place):
        raise DataError(f"checkpoint {place} must be a file, found none; check the path")
    folder, name = run_of(place)
    if exists(within(folder, SPACE_FILE)):
        run = RunDirectory.open(folder)
        trials = run.trials()
        for trial in trials:
            if trial.checkpoint == name:
                return one_trial(run, trial.number, trials, best_trial(run, trials)), run
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return Subject(ELSEWHERE, stem, "other", place), None


def best_trial(run: RunDirectory, trials: Sequence[TrialResult]) -> TrialResult | None:
    """The best of a run's trials by its own rule, if any is scored.

    Raises:
        ConfigError: The run's space has no objectives.
    """
    space = parse_yaml(run.space_text(), source=run.place_of(SPACE_FILE))
    objectives = _objectives(run, space)
    limits = study_limits(trials, objectives, max_clean_drop(space))
    return select_best(trials, objectives, limits=limits)


def _objectives(run: RunDirectory, space: Mapping[str, Any]) -> list[StudyObjective]:
    """The ``objectives:`` of the run's space."""
    source = run.place_of(SPACE_FILE)
    entries = space.get("objectives")
    found = [
        StudyObjective(str(metric), direction)
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
        for direction, metric in entry.items()
        if direction in ("maximize", "minimize")
    ]
    if not found:
        raise ConfigError(
            f"{source} must list objectives such as {{maximize: segmentation/robust/miou}}, "
            f"got {entries!r}; add them, or evaluate a trial by its number"
        )
    return found


def _subject(run: RunDirectory, trial: TrialResult, role: Role) -> Subject:
    path = None if trial.checkpoint is None else run.place_of(trial.checkpoint)
    if path is None or not exists(path):
        raise DataError(
            f"trial {trial.number} ({trial.label}) must have a checkpoint, "
            f"found {'none on record' if path is None else f'no file {path}'}; "
            "choose another trial or search again"
        )
    return Subject(trial.number, trial.label, role, path)
