"""One study, read once: what every answer, table, chart and report is made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from taskgroup.config import flat, parse_yaml
from taskgroup.results import flat_tables
from taskgroup.results.flat_tables import DataFrame, FlatTable
from taskgroup.results.record_files import DIMENSIONS, GRADIENT_CHECKS, TASK_GRADIENTS, TRANSFERS
from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    GradientCheckRow,
    Stage,
    TaskGradientRow,
    TransferRow,
    TrialResult,
)
from taskgroup.results.run_directory import SPACE_FILE, RunDirectory
from taskgroup.study.agreement import (
    FinalSpread,
    RankCorrelation,
    RungAgreement,
    final_spread,
    proxy_agreement,
    random_rungs,
    rung_agreements,
)
from taskgroup.study.configurations import (
    configurations,
    difference,
    mean_gains,
    mean_value,
    seed_differences,
    standing_trial,
)
from taskgroup.study.confirmation import Confirmed, SuiteScores, confirmed_task_sets, suite_scores
from taskgroup.study.fronts import pareto_front
from taskgroup.study.objectives import StudyObjective, study_keys
from taskgroup.study.seed_groups import Scored, SeedGroup
from taskgroup.study.seed_means import ASSUMED_IMAGES, MIN_SEEDS, chance_gap, t_interval
from taskgroup.study.selection import (
    Limit,
    infeasible_trials,
    rank_trials,
    select_best,
    selection_rule,
    study_limits,
)
from taskgroup.wording import argument, format_bound, format_score, metric_parts

Complete = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Fills the configuration of a trial with today's defaults."""


@dataclass(frozen=True)
class Study:
    """A run's space and records.

    Attributes:
        name: Name of the run directory.
        place: Where it lies, as the reader wrote it: a path, or an address.
        main_task: The task to protect.
        objectives: What was optimised; never empty, the first decides the winner.
        trials: Every trial of every stage, by number.
        evaluations: The rows of each trial's latest evaluation on each split.
        transfers: The latest transfer matrix.
        dimensions: Each trial's latest curves against the number of outputs or tasks.
        task_gradients: Each trial's latest norms and angles of task gradients.
        gradient_checks: Whether gradients describe the winner and the baselines of a search.
        max_clean_drop: What a winner may give up of the clean score; None without a constraint.
        space: The search space as plain data.
        space_text: The same as it was written.
    """

    name: str
    place: str
    main_task: str
    objectives: tuple[StudyObjective, ...]
    trials: tuple[TrialResult, ...] = ()
    evaluations: tuple[EvaluationRow, ...] = ()
    transfers: tuple[TransferRow, ...] = ()
    dimensions: tuple[DimensionRow, ...] = ()
    task_gradients: tuple[TaskGradientRow, ...] = ()
    gradient_checks: tuple[GradientCheckRow, ...] = ()
    max_clean_drop: float | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    space_text: str = ""

    @classmethod
    def read(cls, run: RunDirectory, complete: Complete | None = None) -> "Study":
        """Read everything but pictures from a run directory.

        Args:
            run: The run directory.
            complete: As for :func:`comparable`; None leaves configurations as they were stored.

        Raises:
            DataError: A record is torn or foreign.
            ConfigError: ``space.yaml`` names no main task, or its objectives or constraint are
                wrong.
        """
        text, source = run.space_text(), run.place_of(SPACE_FILE)
        space = parse_yaml(text, source=source)
        keys = study_keys(space, source=source)
        study = cls(
            name=run.name,
            place=run.place,
            main_task=keys.main_task,
            objectives=tuple(entry.objective for entry in keys.objectives),
            trials=tuple(run.trials()),
            evaluations=tuple(run.evaluations()),
            transfers=tuple(TRANSFERS.latest(run.storage)),
            dimensions=tuple(DIMENSIONS.latest(run.storage)),
            task_gradients=tuple(TASK_GRADIENTS.latest(run.storage)),
            gradient_checks=tuple(GRADIENT_CHECKS.latest(run.storage)),
            max_clean_drop=keys.max_clean_drop,
            space=space,
            space_text=text,
        )
        return study if complete is None else comparable([study], complete)[0]

    @property
    def searched(self) -> tuple[TrialResult, ...]:
        """The trials of the search itself, whose scores can be compared, by number."""
        return tuple(trial for trial in self.trials if trial.stage == "search")

    @property
    def staged(self) -> tuple[TrialResult, ...]:
        """The trials of the proxy and confirm stages, whose scores cost something else."""
        return tuple(trial for trial in self.trials if trial.stage != "search")

    @property
    def complete(self) -> tuple[TrialResult, ...]:
        """The trials of the search that ran to their end, by number."""
        return tuple(trial for trial in self.searched if trial.status == "complete")

    @property
    def baselines(self) -> tuple[TrialResult, ...]:
        """The complete fixed references of the search."""
        return tuple(trial for trial in self.complete if trial.role == "baseline")

    @cached_property
    def configurations(self) -> tuple[SeedGroup, ...]:
        """The complete trials of the search by configuration: seeds are no settings."""
        return configurations(self.searched)

    @cached_property
    def _groups(self) -> Mapping[int, SeedGroup]:
        return {trial.number: group for group in self.configurations for trial in group.trials}

    def configuration(self, trial: TrialResult) -> SeedGroup:
        """A trial with those that differ from it in their seed alone."""
        return self._groups.get(trial.number) or SeedGroup((Scored(trial),))

    def value(self, objective: StudyObjective, trial: TrialResult) -> float:
        """A score of a trial's configuration: its mean over seeds; NaN where not measured."""
        return mean_value(self.configuration(trial), objective)

    def score(self, objective: StudyObjective, trial: TrialResult) -> float | None:
        """The same, None where not measured."""
        value = self.value(objective, trial)
        return None if value != value else value

    def difference(
        self, objective: StudyObjective, trial: TrialResult, other: TrialResult
    ) -> float:
        """By how much a score of a trial's configuration is above another's, paired by seed."""
        return difference(self.configuration(trial), self.configuration(other), objective)

    @property
    def has_seeds(self) -> bool:
        """Whether the search trained a configuration with several seeds."""
        return any(len(group.members) > 1 for group in self.configurations)

    @property
    def rule(self) -> str:
        """How the best trial is chosen, in words."""
        return selection_rule(self.objectives, limits=self.limits, has_seeds=self.has_seeds)

    def has_stage(self, stage: Stage) -> bool:
        """Whether any trial belongs to a stage."""
        return any(trial.stage == stage for trial in self.trials)

    @property
    def advice(self) -> str:
        """What to do where no trial is finished: a search that failed throughout runs no more."""
        place = argument(self.place)
        if not self.has_only_failures:
            return f"resume it with: taskgroup search --resume {place}"
        first = self.trials[0]
        repair = f"; repair it with: {self.repair}" if self.repair else ""
        return (
            f"every one failed, trial {first.number} because: {first.reason}; "
            f"read all reasons with: taskgroup runs show {place}{repair}"
        )

    @property
    def has_only_failures(self) -> bool:
        """Whether there are trials, and every one failed."""
        return bool(self.trials) and all(trial.status == "failed" for trial in self.trials)

    @property
    def repair(self) -> str:
        """The command that corrects a space of which no epoch was measured; empty where one was."""
        if not self.has_only_failures or any(trial.epochs for trial in self.trials):
            return ""
        return f"taskgroup search --run {argument(self.place)} --fix KEY=VALUE"

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """The constraint, once the baseline that it refers to is complete."""
        return study_limits(self.trials, self.objectives, self.max_clean_drop)

    @cached_property
    def infeasible(self) -> tuple[TrialResult, ...]:
        """Complete trials whose configuration gave up more than the constraint allows."""
        return tuple(infeasible_trials(self.trials, self.limits))

    @cached_property
    def best(self) -> TrialResult | None:
        """The trial that stands for the study, or None while none is complete and feasible."""
        return select_best(self.trials, self.objectives, limits=self.limits)

    @cached_property
    def rival(self) -> TrialResult | None:
        """The best trial of the other kind: alone against a task set, a task set against alone."""
        best = self.best
        others = [
            trial
            for trial in rank_trials(self.complete, self.objectives, limits=self.limits)
            if best is not None
            and bool(trial.auxiliary_tasks) != bool(best.auxiliary_tasks)
            and not self.is_void(trial)
        ]
        return others[0] if others else None

    def is_apart(self, first: TrialResult, second: TrialResult) -> bool:
        """Whether two configurations differ by more than other images or seeds would make.

        Seeds count from three on that both have. Where the confirm stage has a verdict on either,
        that counts instead.
        """
        verdicts = {group.first.parent: group.verdict for group in self.confirmed}
        own = {verdicts.get(trial.number) for trial in (first, second)}
        known = own - {None, "not enough to tell"}
        if known & {"helps", "hurts"}:
            return True
        if known:
            return False
        objective = self.objectives[0]
        values = [self.value(objective, trial) for trial in (first, second)]
        images = min(
            trial.fidelity.get("validation_images", ASSUMED_IMAGES) for trial in (first, second)
        )
        gap = abs(self.difference(objective, first, second))
        if gap <= chance_gap(objective.metric, values, images):
            return False
        sides = self.configuration(first), self.configuration(second)
        paired = t_interval(list(seed_differences(*sides, objective).values()))
        return paired.seeds < MIN_SEEDS or paired.low > 0 or paired.high < 0

    def finding(self, trial: TrialResult) -> GradientCheckRow | None:
        """What the check of its gradients found; None where nothing was found, or looked for."""
        found = {row.trial: row for row in self.gradient_checks if row.finding}
        return found.get(trial.number)

    def is_void(self, trial: TrialResult) -> bool:
        """Whether its robust scores only bound what a better attack would leave."""
        found = self.finding(trial)
        return found is not None and found.is_void

    def score_text(self, objective: StudyObjective, trial: TrialResult) -> str:
        """A score of a trial's configuration as text, ``at most 28.8 %`` where it is void."""
        value = self.value(objective, trial)
        if self.is_void(trial) and "/robust/" in objective.metric:
            return format_bound(objective.metric, value, direction=objective.direction)
        return format_score(objective.metric, value)

    @cached_property
    def pareto(self) -> tuple[TrialResult, ...]:
        """What stands for the feasible configurations that no other beats in every objective."""
        beyond = {trial.number for trial in self.infeasible}
        feasible = [group for group in self.configurations if group.trial.number not in beyond]
        front = pareto_front(mean_gains(feasible, self.objectives))
        kept = (group for group, is_kept in zip(feasible, front, strict=True) if is_kept)
        standing = (standing_trial(group, self.objectives[0]) for group in kept)
        return tuple(sorted(standing, key=lambda trial: trial.number))

    @cached_property
    def suite(self) -> SuiteScores:
        """What the suite of the confirm stage left of its trials."""
        return suite_scores(self.trials, self.evaluations)

    @cached_property
    def confirmed(self) -> tuple[Confirmed, ...]:
        """What the confirm stage measured, configuration by configuration."""
        return confirmed_task_sets(self.trials, self.objectives, self.suite)

    @property
    def is_confirmed(self) -> bool:
        """Whether the confirm stage has measured anything."""
        return any((t.stage, t.status) == ("confirm", "complete") for t in self.trials)

    @property
    def proxy_agreement(self) -> RankCorrelation:
        """Rank correlation of the first objective between stand-ins and the real setting."""
        return proxy_agreement(self.trials, self.objectives[0])

    @property
    def overheads(self) -> tuple[float, ...]:
        """Engine overhead in seconds of every trial that was not its worker's first.

        That is the time between the worker's last record and this trial's first batch.
        """
        found = (trial.overhead_seconds for trial in self.trials)
        return tuple(seconds for seconds in found if seconds is not None)

    @property
    def engine_overhead(self) -> float | None:
        """Mean engine overhead in seconds, if any was measured."""
        return fmean(self.overheads) if self.overheads else None

    def rung_agreements(self, epochs: Sequence[int]) -> tuple[RungAgreement, ...]:
        """How well the order after some epochs predicts the final one, in the stage with rungs."""
        stage: Stage = "proxy" if self.has_stage("proxy") else "search"
        return rung_agreements(self.trials, self.objectives, epochs, stage=stage)

    @property
    def final_spread(self) -> FinalSpread | None:
        """How far final scores lie apart, in the stage with rungs; None with too few trials."""
        stage: Stage = "proxy" if self.has_stage("proxy") else "search"
        return final_spread(self.trials, self.objectives[0], stage=stage)

    def random_rungs(self, epochs: Sequence[int]) -> tuple[int, ...]:
        """Rungs that stop nobody any more: their order says nothing about the end."""
        stage: Stage = "proxy" if self.has_stage("proxy") else "search"
        return random_rungs(self.trials, self.objectives, epochs, stage=stage)

    @property
    def robust(self) -> StudyObjective:
        """The main task's score under attack: the first objective that is one."""
        return self._main_score("robust")

    @property
    def clean(self) -> StudyObjective:
        """The main task's score without attack, by the metric of the robust one."""
        return self._main_score("clean")

    def _main_score(self, kind: str) -> StudyObjective:
        """The objective of that kind, or its like on the first objective's task and score."""
        first = self.objectives[0]
        task, _, score = metric_parts(first.metric)
        like = StudyObjective(f"{task}/{kind}/{score}", first.direction)
        return next((o for o in self.objectives if f"/{kind}/" in o.metric), like)

    @property
    def table(self) -> FlatTable:
        """One row per trial: plain columns, drawn values by dotted key, last metrics by name."""
        return flat_tables.trials_table(self.trials)

    @property
    def epochs(self) -> FlatTable:
        """One row per trial and epoch: metrics by name, seconds, peak memory in bytes."""
        return flat_tables.epochs_table(self.trials)

    @property
    def evaluation_table(self) -> FlatTable:
        """One row per score."""
        return flat_tables.scores_table(self.evaluations)

    def to_pandas(self) -> DataFrame:
        """``table`` as a pandas data frame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return flat_tables.to_pandas(self.table)


def comparable(studies: Sequence[Study], complete: Complete) -> tuple[Study, ...]:
    """Studies whose configurations can be compared: where some have keys that others lack, all.

    A version that adds a key leaves it out of no record that it writes, so trials of one
    configuration differ in their keys where a newer version resumed an older one's run.

    Args:
        studies: What is read together.
        complete: Fills a configuration with today's defaults; called only where keys differ, since
            it may have to import much.
    """
    if _have_same_keys([trial.config for study in studies for trial in study.trials]):
        return tuple(studies)
    return tuple(
        replace(study, trials=tuple(replace(t, config=complete(t.config)) for t in study.trials))
        for study in studies
    )


def _have_same_keys(configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether configurations have the same keys, but for those that name the trial's own tasks."""
    named = ("loss_weights", "task_options")
    plain = {frozenset(flat({k: v for k, v in c.items() if k not in named})) for c in configs}
    options = {frozenset(flat(o)) for c in configs for o in c.get("task_options", {}).values()}
    return len(plain) <= 1 and len(options) <= 1
