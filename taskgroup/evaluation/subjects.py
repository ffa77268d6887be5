"""Whom to evaluate: the winner of a run with its baselines, one trial, or one checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskgroup.errors import ConfigError, DataError
from taskgroup.paths import is_file
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import SPACE_FILE, RunDirectory
from taskgroup.results.runs import newest
from taskgroup.results.storage.places import Place, is_address, within
from taskgroup.results.storage.single_files import exists, run_of
from taskgroup.study.study import Study
from taskgroup.wording import argument

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
            return winner_and_baselines(Study.read(directory)), directory
        return [one_trial(Study.read(directory), int(which))], directory
    path = Path(which)
    if not is_address(which) and not path.suffix and len(path.parts) == 1 and not is_file(path):
        raise ConfigError(
            f"evaluate takes best, all, a trial's number or a checkpoint's path, got {which!r}; "
            "see the trials with: taskgroup runs show"
        )
    subject, home = one_checkpoint(which)
    return [subject], home if run is None else RunDirectory.open(run)


def winner_and_baselines(study: Study) -> list[Subject]:
    """The best trial of a study by its own rule, then the finished baselines.

    Raises:
        DataError: No trial is finished, or the winner has no checkpoint.
    """
    best = study.best
    if best is None:
        finished = [trial.number for trial in study.trials if trial.status == "complete"]
        if finished:
            raise DataError(
                f"run {study.place} must hold a trial with a score to be the best, found none that "
                f"a search scored; name one: taskgroup evaluate {finished[0]} "
                f"--run {argument(study.place)}"
            )
        raise no_finished_trial(study)
    baselines = [trial for trial in study.baselines if trial.number != best.number]
    return [
        _subject(study, best, "winner"),
        *(_subject(study, trial, "baseline") for trial in baselines),
    ]


def no_finished_trial(study: Study) -> DataError:
    """That a study has nothing to evaluate yet, and what to do."""
    return DataError(
        f"run {study.place} must hold a finished trial, found none among {len(study.trials)}; "
        f"{study.advice}"
    )


def one_trial(study: Study, number: int) -> Subject:
    """One trial of a study.

    Raises:
        ConfigError: The study has no such trial.
        DataError: The trial left no checkpoint.
    """
    for trial in study.trials:
        if trial.number == number:
            is_best = study.best is not None and study.best.number == number
            other: Role = "baseline" if trial.role == "baseline" else "other"
            return _subject(study, trial, "winner" if is_best else other)
    known = f"0 to {study.trials[-1].number}" if study.trials else "none yet"
    raise ConfigError(f"run {study.place} has no trial {number} to evaluate; it has {known}")


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
        study = Study.read(run)
        for trial in study.trials:
            if trial.checkpoint == name:
                return one_trial(study, trial.number), run
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return Subject(ELSEWHERE, stem, "other", place), None


def _subject(study: Study, trial: TrialResult, role: Role) -> Subject:
    path = None if trial.checkpoint is None else within(study.place, trial.checkpoint)
    if path is None or not exists(path):
        raise DataError(
            f"trial {trial.number} ({trial.label}) must have a checkpoint, "
            f"found {'none on record' if path is None else f'no file {path}'}; "
            "choose another trial or search again"
        )
    return Subject(trial.number, trial.label, role, path)
