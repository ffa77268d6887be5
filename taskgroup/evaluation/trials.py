"""Scores trials of a run one after the other, as the confirm stage needs it.

Unlike ``evaluate``, which sets networks side by side, this holds one network at a time: a confirm
stage has dozens. So nobody is scored on another network's images, and no pictures are kept.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from taskgroup.data.loading import open_dataset
from taskgroup.errors import DataError
from taskgroup.evaluation.loading import load_trained
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import Progress, evaluate_subjects
from taskgroup.evaluation.subjects import one_trial
from taskgroup.results.records import EvaluationRow
from taskgroup.results.run_directory import RunDirectory

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

    A trial that was scored with the same suite, seed and images on the same split is left alone; an
    interrupted call goes on where it stopped. Only the main task is attacked.

    Args:
        run: The run directory.
        numbers: The trials.
        options: What is done to each; its ``attacked_tasks`` do not count.
        progress: Told after every piece of work.

    Raises:
        ConfigError: An unknown trial, or an option out of range.
        ResourceError: The run directory cannot be written, or a cluster does not work.
    """
    known = {
        (row.trial, row.split, row.suite, row.seed, row.images)
        for row in run.evaluations()
        if row.condition == "clean"
    }
    found: list[EvaluationRow] = []
    problems: dict[int, str] = {}
    for place, number in enumerate(numbers):
        told = None if progress is None else _whole(progress, place, len(numbers))
        try:
            found += _evaluate_one(run, number, options, known, told)
        except DataError as error:
            problems[number] = str(error)
    return TrialScores(tuple(found), problems)


def _evaluate_one(
    run: RunDirectory,
    number: int,
    options: EvaluationOptions,
    known: Container[tuple[int, str, str, int, int]],
    progress: Progress | None,
) -> tuple[EvaluationRow, ...]:
    """The rows of one trial; none where they are known."""
    subject = one_trial(run, number)
    trained = load_trained(subject.checkpoint)
    length = len(open_dataset(trained.dataset, options.split, trained.task_set))
    images = min(options.images, length)
    if (number, options.split, options.chosen_suite, options.seed, images) in known:
        return ()
    alone = replace(options, attacked_tasks=(trained.main_task,))
    return evaluate_subjects([subject], run, alone, progress).rows


def _whole(progress: Progress, place: int, count: int) -> Progress:
    """Progress of one trial as a part of all."""

    def told(done: int, total: int, label: str) -> None:
        progress(round(PARTS * (place + done / max(total, 1))), PARTS * count, label)

    return told
