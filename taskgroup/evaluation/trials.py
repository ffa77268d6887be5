"""Scores trials of a run one after the other, as the confirm stage and grid studies need it.

Unlike ``evaluate``, which sets networks side by side, this holds one network at a time: a confirm
stage or a grid has dozens. So nobody is scored on another network's images.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from taskgroup.attacks.base import ATTACK_VERSION
from taskgroup.errors import DataError
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import Progress, evaluate_loaded, load_subjects
from taskgroup.evaluation.subjects import Subject, no_finished_trial, one_trial
from taskgroup.results.records import EvaluationRow
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study

PARTS = 1000
"""What one trial counts for in the progress."""


@dataclass(frozen=True)
class TrialScores:
    """What was found about some trials.

    Attributes:
        rows: The rows of those that were scored now; written to the run directory as well.
        problems: Why others could not be scored, by number.
    """

    rows: tuple[EvaluationRow, ...] = ()
    problems: dict[int, str] = field(default_factory=dict)


def evaluate_trials(
    run: RunDirectory,
    numbers: Sequence[int],
    *,
    options: EvaluationOptions,
    progress: Progress | None = None,
) -> TrialScores:
    """Attack finished trials of a run and write what is found, trial by trial.

    A trial that was scored with the same suite, ball, seed and images on the same split, by attacks
    of this version, is left alone, unless its confirmation was scored before rows told what each
    image contributes; an interrupted call resumes where it stopped.

    Args:
        run: The run directory.
        numbers: The trials.
        options: What is done to each.
        progress: Told after every piece of work.

    Raises:
        ConfigError: An unknown trial, or an option out of range.
        ResourceError: The run directory cannot be written, or a cluster does not work.
    """
    return _evaluate(run, Study.read(run), numbers, options, progress)


def evaluate_all(
    run: RunDirectory, *, options: EvaluationOptions, progress: Progress | None = None
) -> TrialScores:
    """Attack every finished trial of a search, one after the other, as a grid study needs it.

    Args:
        run: The run directory.
        options: What is done to each.
        progress: Told after every piece of work.

    Raises:
        DataError: No trial is finished.
        ConfigError, ResourceError: As ``evaluate_trials``.
    """
    study = Study.read(run)
    if not study.complete:
        raise no_finished_trial(study)
    numbers = [trial.number for trial in study.complete]
    return _evaluate(run, study, numbers, options, progress)


def _evaluate(
    run: RunDirectory,
    study: Study,
    numbers: Sequence[int],
    options: EvaluationOptions,
    progress: Progress | None,
) -> TrialScores:
    """Attack some of the trials; records are read once for all, checkpoints once each."""
    run.storage.check_writable()
    known = {
        (row.trial, row.split, row.suite, row.seed, row.images, row.norm, row.epsilon)
        for row in study.evaluations
        if row.condition == "worst_case"
        and row.attack_version == ATTACK_VERSION
        and (row.constant is not None or row.split != "confirm")
    }
    found: list[EvaluationRow] = []
    problems: dict[int, str] = {}
    for place, number in enumerate(numbers):
        told = None if progress is None else _whole(progress, place, len(numbers))
        try:
            subject = one_trial(study, number)
            found += _evaluate_one(run, subject, options, known, told)
        except DataError as error:
            problems[number] = str(error)
    return TrialScores(tuple(found), problems)


def _evaluate_one(
    run: RunDirectory,
    subject: Subject,
    options: EvaluationOptions,
    known: Container[tuple[int, str, str, int, int, str, float]],
    progress: Progress | None,
) -> tuple[EvaluationRow, ...]:
    """The rows of one trial; none where they are known."""
    loaded = load_subjects([subject], options)
    (trained,), (dataset,) = loaded.networks, loaded.datasets
    images = min(options.images, len(dataset))
    ball = options.threat(trained)
    what = (options.split, options.chosen_suite, options.seed, images, ball.norm, ball.epsilon)
    if (subject.trial, *what) in known:
        return ()
    return evaluate_loaded([subject], loaded, run, options, progress).rows


def _whole(progress: Progress, place: int, count: int) -> Progress:
    """Progress of one trial as a part of all."""

    def told(done: int, total: int, label: str) -> None:
        progress(round(PARTS * (place + done / max(total, 1))), PARTS * count, label)

    return told
