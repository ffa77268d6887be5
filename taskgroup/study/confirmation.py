"""What the confirm stage found: means over seeds, and differences to one task alone, seed by seed.

A task set is compared with the main task alone **under the same recipe**: the same data, network,
optimiser, learning rate, epochs and attack budgets; only tasks and loss weights differ. A gain over
a baseline of another recipe could come from the recipe.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.wording import counted, format_bound, listed

Verdict = Literal["helps", "hurts", "no evidence", "too few seeds"]
CLEAN, WORST = "clean", "worst_case"
KINDS = {CLEAN: "clean", WORST: "robust"}


@dataclass(frozen=True)
class SuiteScores:
    """What a suite left of the trials of a confirm stage.

    Attributes:
        suite: Its name; empty where none was run.
        images: Images of the confirm split that it attacked.
        values: By trial, then by metric, such as ``segmentation/robust/miou``: the score, for
            ``robust`` the worst case over all attacks of the suite; NaN where that only bounds it.
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

    Where several suites or versions of attacks were run, the one that most trials have counts.

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
    versions = {row.trial: row.attack_version for row in rows if row.condition == WORST}

    def suite_of(row: EvaluationRow) -> tuple[str, int, int]:
        return row.suite, row.images, versions.get(row.trial, 0)

    trials_of = {
        suite: {row.trial for row in rows if suite_of(row) == suite}
        for suite in map(suite_of, rows)
    }
    if not trials_of:
        return SuiteScores()
    chosen = max(trials_of, key=lambda key: len(trials_of[key]))
    suite, images, _ = chosen
    own = [row for row in rows if suite_of(row) == chosen]
    values: dict[int, dict[str, float]] = {}
    for row in own:
        metric = f"{row.task}/{KINDS[row.condition]}/{row.score_name}"
        values.setdefault(row.trial, {})[metric] = float("nan") if row.is_bound else row.score
    return SuiteScores(
        suite=suite,
        images=images,
        values=values,
        verdicts={row.trial: _finding(row) for row in own if row.verdict != "ok"},
        missing=tuple(number for number in confirmed if number not in values),
    )


def _finding(row: EvaluationRow) -> str:
    """What sanity checks say about a score, and what it is worth where they void it."""
    if not row.is_bound:
        return row.verdict
    return f"{format_bound(row.score_name, row.score, direction=row.direction)}; {row.verdict}"


NO_SUITE = SuiteScores()


class MeanInterval(NamedTuple):
    """A mean over seeds and its interval; NaN ends below two values, all NaN below one."""

    mean: float
    low: float
    high: float
    seeds: int


def t_interval(values: ArrayLike, *, level: float = 0.95) -> MeanInterval:
    """Mean with Student's t interval, NaN left out.

    With the three to ten seeds of a confirmation a bootstrap is too narrow; t is right where seeds
    scatter like a normal variable.

    Args:
        values: One score per seed, ``(n,)``.
        level: Confidence of the interval.

    Example:
        >>> [round(float(x), 3) for x in t_interval([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484, 3.0]
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if known.size == 0:
        return MeanInterval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(known.mean())
    if known.size == 1:
        return MeanInterval(mean, float("nan"), float("nan"), 1)
    error = known.std(ddof=1) / np.sqrt(known.size)
    reach = float(t.ppf((1 + level) / 2, known.size - 1) * error)
    return MeanInterval(mean, mean - reach, mean + reach, int(known.size))


def single_task_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the main task alone under the same recipe.

    Args:
        config: A trial's configuration as plain data, as records hold it.

    Returns:
        The same without auxiliary tasks, their weights and options, attacking the main task. What
        an attack's keys say where nothing is attacked is left out.
    """
    main = config["main_task"]
    adversary = {**config.get("adversary", {}), "attacked_tasks": "main"}
    if adversary.get("attack", "none") == "none":
        adversary = {"attack": "none"}
    options = {k: v for k, v in config.get("task_options", {}).items() if k == main}
    return {
        **config,
        "auxiliary_tasks": [],
        "loss_weights": {},
        "task_options": options,
        "adversary": adversary,
    }


@dataclass(frozen=True)
class Confirmed:
    """One configuration, trained again with several seeds.

    Attributes:
        trials: Its trials in the confirm stage, by number; their first stands for all.
        scores: Mean and interval over seeds of each objective on the confirm split.
        partner: The main task alone under the same recipe; None for that itself, or where it was
            not trained.
        differences: This minus the partner, paired by seed, of each objective; empty without one.
        verdict: What the first objective's difference shows; None without a partner.
        suspicions: What sanity checks of the suite found in its networks, each once.
    """

    trials: tuple[TrialResult, ...]
    scores: tuple[MeanInterval, ...]
    partner: TrialResult | None = None
    differences: tuple[MeanInterval, ...] = ()
    verdict: Verdict | None = None
    suspicions: tuple[str, ...] = ()

    @property
    def first(self) -> TrialResult:
        """The trial that stands for all seeds."""
        return self.trials[0]

    @property
    def name(self) -> str:
        """The label with the trial that was confirmed, unless the label names it."""
        named = f"trial {self.first.parent}"
        label = self.first.label
        return label if label.endswith(named) else f"{label} ({named})"


def confirmed_task_sets(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    suite: SuiteScores = NO_SUITE,
) -> tuple[Confirmed, ...]:
    """What the confirm stage measured, configuration by configuration, in the order planned.

    Args:
        trials: All trials of a run; those of other stages are left out.
        objectives: What the study optimised; the first gives the verdict.
        suite: Scores under a suite of attacks, which count instead of the validation attack's
            where it measures an objective.
    """
    groups: dict[str, list[TrialResult]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.stage == "confirm":
            groups.setdefault(_key(trial.config), []).append(trial)
    recipes = {
        _key(single_task_config(group[0].config)): group
        for group in groups.values()
        if not group[0].auxiliary_tasks
    }
    return tuple(
        _confirmed(group, recipes.get(_key(single_task_config(group[0].config))), objectives, suite)
        for group in groups.values()
    )


def _confirmed(
    group: Sequence[TrialResult],
    partner: Sequence[TrialResult] | None,
    objectives: Sequence[StudyObjective],
    suite: SuiteScores,
) -> Confirmed:
    ours = [_by_seed(group, objective, suite) for objective in objectives]
    scores = tuple(t_interval(list(values.values())) for values in ours)
    found = [suite.verdicts[trial.number] for trial in group if trial.number in suite.verdicts]
    alone = Confirmed(tuple(group), scores, suspicions=tuple(dict.fromkeys(found)))
    if partner is None or not group[0].auxiliary_tasks:
        return alone
    theirs = [_by_seed(partner, objective, suite) for objective in objectives]
    differences = tuple(
        t_interval([own[seed] - other[seed] for seed in own if seed in other])
        for own, other in zip(ours, theirs, strict=True)
    )
    verdict = _verdict(differences[0], objectives[0].sign)
    return replace(alone, partner=partner[0], differences=differences, verdict=verdict)


def _by_seed(
    group: Sequence[TrialResult], objective: StudyObjective, suite: SuiteScores
) -> dict[int, float]:
    is_covered = suite.covers(objective.metric)
    return {
        trial.seed: suite.value(trial, objective.metric) if is_covered else objective.value(trial)
        for trial in group
        if trial.status == "complete"
    }


def _verdict(difference: MeanInterval, sign: int) -> Verdict:
    """Whether the interval of a difference leaves 0 out, and on which side."""
    if np.isnan(difference.low):
        return "too few seeds"
    low, high = sorted((sign * difference.low, sign * difference.high))
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "no evidence"


def _key(config: Mapping[str, Any]) -> str:
    """A configuration as text, whatever its seed."""
    return json.dumps({k: v for k, v in config.items() if k != "seed"}, sort_keys=True)


def best_alone(confirmed: Sequence[Confirmed], objective: StudyObjective) -> Confirmed | None:
    """The main task alone under the recipe that suits it best, by its mean over seeds."""
    alone = [found for found in confirmed if not found.first.auxiliary_tasks and found.scores]
    known = [found for found in alone if found.scores[0].mean == found.scores[0].mean]
    return max(known, key=lambda found: objective.sign * found.scores[0].mean, default=None)


def verdict_text(found: Confirmed) -> str:
    """What the stage says about a task set, in words; empty for the main task alone.

    Only an interval of the paired difference that leaves 0 out makes it help or hurt.
    """
    tasks = found.first.auxiliary_tasks
    if found.verdict is None or not tasks:
        return ""
    named = listed(tasks)
    end = "" if len(tasks) > 1 else "s"
    if found.verdict == "too few seeds":
        return "too few complete seeds for a verdict"
    if found.verdict == "no evidence":
        return f"no evidence that {named} help{end} {found.first.main_task}"
    return f"{named} {found.verdict.removesuffix('s')}{end} {found.first.main_task}"


def attack_words(metric: str, suite: SuiteScores) -> str:
    """What a confirmed score was measured under, in words."""
    is_clean, is_covered = "/clean/" in metric, suite.covers(metric)
    if not is_covered:
        return "without attack" if is_clean else "under the validation attack, as in the search"
    images = counted(suite.images, "image")
    if is_clean:
        return f"without attack on {images}"
    return f"the worst of all attacks of suite {suite.suite} on each of {images}"
