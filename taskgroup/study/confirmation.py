"""What the confirm stage found: means over seeds, and differences to one task alone, seed by seed.

A task set is compared with the main task alone **under the same recipe**: the same data, network,
optimiser, learning rate, epochs and attack budgets; only tasks and loss weights differ. A gain over
a baseline of another recipe could come from the recipe.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_means import (
    LEVEL,
    MIN_IMAGES,
    MIN_SEEDS,
    MeanInterval,
    SeedMean,
    holm,
    seed_mean,
)
from taskgroup.wording import counted, format_bound, listed

Verdict = Literal[
    "helps", "hurts", "no evidence", "no better than a constant", "not enough to tell"
]
Influences: TypeAlias = NDArray[np.float64]
CLEAN, WORST = "clean", "worst_case"
KINDS = {CLEAN: "clean", WORST: "robust"}


@dataclass(frozen=True)
class SuiteScores:
    """What a suite left of the trials of a confirm stage.

    Attributes:
        suite: Its name; empty where none was run.
        images: Images of the confirm split that it attacked.
        rows: By trial, then by metric, such as ``segmentation/robust/miou``: its row, for
            ``robust`` the worst case over all attacks of the suite.
        verdicts: By trial what sanity checks found, where they found something.
        missing: Complete trials of the stage that it has not scored.
    """

    suite: str = ""
    images: int = 0
    rows: Mapping[int, Mapping[str, EvaluationRow]] = field(default_factory=dict)
    verdicts: Mapping[int, str] = field(default_factory=dict)
    missing: tuple[int, ...] = ()

    def covers(self, metric: str) -> bool:
        """Whether the suite measures a metric: the robust score of an auxiliary task it does not.

        Where it does, its scores alone count, so that two attacks are never compared.
        """
        return any(metric in own for own in self.rows.values())

    def value(self, trial: TrialResult, metric: str) -> float:
        """The trial's score; NaN where the suite has not scored it, or only bounds it."""
        row = self._row(trial, metric)
        return float("nan") if row is None or row.is_bound else row.score

    def influences(self, trial: TrialResult, metric: str) -> Influences:
        """What each image contributes to it, ``(N,)``; empty where that is not known."""
        row = self._row(trial, metric)
        return np.array(() if row is None else row.influences)

    def constant(self, trial: TrialResult, metric: str) -> float:
        """The best that a constant prediction reaches; NaN where that is not known."""
        row = self._row(trial, metric)
        return float("nan") if row is None or row.constant is None else row.constant

    def _row(self, trial: TrialResult, metric: str) -> EvaluationRow | None:
        return self.rows.get(trial.number, {}).get(metric)


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
    scored: dict[int, dict[str, EvaluationRow]] = {}
    for row in own:
        metric = f"{row.task}/{KINDS[row.condition]}/{row.score_name}"
        scored.setdefault(row.trial, {})[metric] = row
    return SuiteScores(
        suite=suite,
        images=images,
        rows=scored,
        verdicts={row.trial: _finding(row) for row in own if row.verdict != "ok"},
        missing=tuple(number for number in confirmed if number not in scored),
    )


def _finding(row: EvaluationRow) -> str:
    """What sanity checks say about a score, and what it is worth where they void it."""
    if not row.is_bound:
        return row.verdict
    return f"{format_bound(row.score_name, row.score, direction=row.direction)}; {row.verdict}"


NO_SUITE = SuiteScores()


def single_task_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the main task alone under the same recipe.

    Args:
        config: A trial's configuration as plain data, as records hold it.

    Returns:
        The same without auxiliary tasks, their weights and options, attacking the main task. What
        an attack's keys say where nothing is attacked is left out.
    """
    main = config.get("main_task")
    adversary = {**(config.get("adversary") or {}), "attacked_tasks": "main"}
    if adversary.get("attack", "none") == "none":
        adversary = {"attack": "none"}
    options = {k: v for k, v in (config.get("task_options") or {}).items() if k == main}
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
        scores: Mean and interval over seeds and images of each objective on the confirm split.
        partner: The main task alone under the same recipe; None for that itself, or where it was
            not trained.
        differences: This minus the partner, paired by seed and image, of each objective; empty
            without one.
        verdict: What the first objective's difference shows; None without a partner.
        constant: The best that a constant prediction reaches of the first objective; NaN where that
            is not known.
        suspicions: What sanity checks of the suite found in its networks, each once.
    """

    trials: tuple[TrialResult, ...]
    scores: tuple[MeanInterval, ...]
    partner: TrialResult | None = None
    differences: tuple[MeanInterval, ...] = ()
    verdict: Verdict | None = None
    constant: float = float("nan")
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

    Verdicts are corrected for how many task sets are compared (Holm).

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
    measured = {key: _Group.measure(group, objectives, suite) for key, group in groups.items()}
    alone = {
        _key(single_task_config(group.first.config)): group
        for group in measured.values()
        if not group.first.auxiliary_tasks
    }
    partners = [
        alone.get(_key(single_task_config(group.first.config)))
        if group.first.auxiliary_tasks
        else None
        for group in measured.values()
    ]
    pairs = list(zip(measured.values(), partners, strict=True))
    firsts = [_difference(own, partner, 0) for own, partner in pairs]
    chances = holm([SeedMean.chance(first) for first in firsts])
    return tuple(
        own.alone() if partner is None else _compared(own, partner, chance)
        for (own, partner), chance in zip(pairs, chances, strict=True)
    )


@dataclass(frozen=True)
class _Group:
    """One configuration: by objective, what each seed scores and what each image contributes."""

    trials: tuple[TrialResult, ...]
    objectives: tuple[StudyObjective, ...]
    values: tuple[Mapping[int, float], ...]
    influences: tuple[Mapping[int, Influences], ...]
    constant: float
    suspicions: tuple[str, ...]

    @classmethod
    def measure(
        cls, group: Sequence[TrialResult], objectives: Sequence[StudyObjective], suite: SuiteScores
    ) -> "_Group":
        complete = [trial for trial in group if trial.status == "complete"]
        found = [suite.verdicts[trial.number] for trial in group if trial.number in suite.verdicts]
        constants = [suite.constant(trial, objectives[0].metric) for trial in complete]
        return cls(
            trials=tuple(group),
            objectives=tuple(objectives),
            values=tuple(_by_seed(complete, objective, suite) for objective in objectives),
            influences=tuple(
                {trial.seed: suite.influences(trial, objective.metric) for trial in complete}
                for objective in objectives
            ),
            constant=next((value for value in constants if value == value), float("nan")),
            suspicions=tuple(dict.fromkeys(found)),
        )

    @property
    def first(self) -> TrialResult:
        return self.trials[0]

    def mean(self, place: int) -> SeedMean:
        seeds = list(self.values[place])
        return seed_mean(
            [self.values[place][seed] for seed in seeds],
            [self.influences[place][seed] for seed in seeds],
        )

    def alone(self) -> Confirmed:
        scores = [
            self.mean(place).score_interval(objective.metric)
            for place, objective in enumerate(self.objectives)
        ]
        return Confirmed(
            self.trials, tuple(scores), constant=self.constant, suspicions=self.suspicions
        )


def _difference(own: _Group, partner: _Group | None, place: int) -> SeedMean:
    """This minus its partner, paired by seed and image; nothing without a partner."""
    if partner is None:
        return SeedMean()
    ours, theirs = own.values[place], partner.values[place]
    seeds = [seed for seed in ours if seed in theirs]
    return seed_mean(
        [ours[seed] - theirs[seed] for seed in seeds],
        [_minus(own.influences[place][seed], partner.influences[place][seed]) for seed in seeds],
    )


def _minus(ours: Influences, theirs: Influences) -> Influences:
    """What each image contributes to a difference; nothing where the images differ."""
    return ours - theirs if len(ours) == len(theirs) else np.empty(0)


def _compared(own: _Group, partner: _Group, chance: float) -> Confirmed:
    differences = [_difference(own, partner, place) for place in range(len(own.objectives))]
    better = max(own, partner, key=lambda group: own.objectives[0].sign * group.mean(0).mean)
    return replace(
        own.alone(),
        partner=partner.first,
        differences=tuple(
            difference.difference_interval(objective.metric)
            for difference, objective in zip(differences, own.objectives, strict=True)
        ),
        verdict=_verdict(differences[0], chance, better),
    )


def _verdict(difference: SeedMean, chance: float, better: _Group) -> Verdict:
    """What a difference shows, given the chance of one as large where there is none."""
    sign = better.objectives[0].sign
    if not difference.has_interval or better.constant != better.constant:
        return "not enough to tell"
    if not sign * better.mean(0).mean > sign * better.constant:
        return "no better than a constant"
    if not chance < 1 - LEVEL:
        return "no evidence"
    return "helps" if sign * difference.mean > 0 else "hurts"


def _by_seed(
    complete: Sequence[TrialResult], objective: StudyObjective, suite: SuiteScores
) -> dict[int, float]:
    is_covered = suite.covers(objective.metric)
    return {
        trial.seed: suite.value(trial, objective.metric) if is_covered else objective.value(trial)
        for trial in complete
    }


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

    Only a difference beyond chance, over seeds, images and comparisons, makes it help or hurt.
    """
    tasks, main = found.first.auxiliary_tasks, found.first.main_task
    if found.verdict is None or not tasks:
        return ""
    named = listed(tasks)
    end = "" if len(tasks) > 1 else "s"
    if found.verdict == "not enough to tell":
        return f"not enough to tell: {_what_lacks(found)}"
    if found.verdict == "no better than a constant":
        return (
            f"no verdict: {main} with and without {named} is no better than a constant prediction"
        )
    if found.verdict == "no evidence":
        return f"no evidence that {named} help{end} {main}"
    return f"{named} {found.verdict.removesuffix('s')}{end} {main}"


def _what_lacks(found: Confirmed) -> str:
    """Why there is no verdict, and what would suffice for one."""
    difference = found.differences[0]
    seeds, images = counted(difference.seeds, "seed"), counted(difference.images, "image")
    needed = f"at least {MIN_IMAGES} images and {MIN_SEEDS} seeds"
    if difference.seeds < MIN_SEEDS or 0 < difference.images < MIN_IMAGES:
        known = f"{images}, {seeds}" if difference.images else seeds
        return f"{known}; a verdict takes {needed}"
    if difference.images == 0:
        return f"no scores of single images; confirm with a suite of attacks, on {needed}"
    if difference.low != difference.low:
        return (
            "every seed, or every image, differs by the same amount; more of them would show chance"
        )
    return "the best constant prediction is not known"


def correction_text(confirmed: Sequence[Confirmed]) -> str:
    """For how many comparisons verdicts are corrected; empty for one, or none."""
    count = sum(
        len(own.differences) > 0 and own.differences[0].low == own.differences[0].low
        for own in confirmed
    )
    if count < 2:
        return ""
    return f"verdicts are corrected for {count} comparisons (Holm), intervals are not"


def attack_words(metric: str, suite: SuiteScores) -> str:
    """What a confirmed score was measured under, in words."""
    is_clean, is_covered = "/clean/" in metric, suite.covers(metric)
    if not is_covered:
        return "without attack" if is_clean else "under the validation attack, as in the search"
    images = counted(suite.images, "image")
    if is_clean:
        return f"without attack on {images}"
    return f"the worst of all attacks of suite {suite.suite} on each of {images}"
