"""Scores of confirmed trials under a suite of attacks, by the names that objectives have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from taskgroup.results.records import EvaluationRow, TrialResult

CLEAN, WORST = "clean", "worst_case"
KINDS = {CLEAN: "clean", WORST: "robust"}


@dataclass(frozen=True)
class SuiteScores:
    """What a suite left of the trials of a confirm stage.

    Attributes:
        suite: Its name; empty where none was run.
        images: Images of the confirm split that it attacked.
        values: By trial, then by metric, such as ``segmentation/robust/miou``: the score, for
            ``robust`` the worst case over all attacks of the suite.
        verdicts: By trial what sanity checks found, where they found something.
        missing: Complete trials of the stage that it has not scored.
    """

    suite: str = ""
    images: int = 0
    values: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    verdicts: Mapping[int, str] = field(default_factory=dict)
    missing: tuple[int, ...] = ()

    def covers(self, metric: str) -> bool:
        """Whether the suite measures a metric: the robust score of an auxiliary task it does not.

        Where it does, its scores alone count, so that two attacks are never compared.
        """
        return any(metric in own for own in self.values.values())

    def value(self, trial: TrialResult, metric: str) -> float:
        """The trial's score; NaN where the suite has not scored it."""
        return self.values.get(trial.number, {}).get(metric, float("nan"))


def suite_scores(
    trials: Iterable[TrialResult], evaluations: Iterable[EvaluationRow]
) -> SuiteScores:
    """What evaluations on the confirm split say about the trials of the confirm stage.

    Where several suites were run, the one that most trials have counts.

    Args:
        trials: All trials of a run.
        evaluations: The rows of each trial's latest evaluation on each split.
    """
    confirmed = [t.number for t in trials if (t.stage, t.status) == ("confirm", "complete")]
    rows = [
        row
        for row in evaluations
        if row.split == "confirm" and row.trial in confirmed and row.condition in KINDS
    ]
    trials_of = {key: {row.trial for row in rows if _key(row) == key} for key in map(_key, rows)}
    if not trials_of:
        return SuiteScores()
    suite, images = max(trials_of, key=lambda key: len(trials_of[key]))
    own = [row for row in rows if _key(row) == (suite, images)]
    values: dict[int, dict[str, float]] = {}
    for row in own:
        metric = f"{row.task}/{KINDS[row.condition]}/{row.score_name}"
        values.setdefault(row.trial, {})[metric] = row.score
    return SuiteScores(
        suite=suite,
        images=images,
        values=values,
        verdicts={row.trial: row.verdict for row in own if row.verdict != "ok"},
        missing=tuple(number for number in confirmed if number not in values),
    )


def _key(row: EvaluationRow) -> tuple[str, int]:
    return row.suite, row.images
