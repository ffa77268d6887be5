"""The last words of a search: the answer, how sure it is, where it lies, what to do next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taskgroup.results.records import EvaluationRow, Stage, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.json_answer import answer_json
from taskgroup.search.answer.stage_lines import (
    confirm_lines,
    is_confirmed,
    proxy_lines,
    stage_counts,
    unscored_lines,
)
from taskgroup.search.plan.baselines import ADVERSARIAL_LABEL, ALL_LABEL, NATURAL_LABEL
from taskgroup.study.agreement import RungAgreement, agreement_line, rung_agreements
from taskgroup.study.confirmation import SuiteScores, suite_scores
from taskgroup.study.fronts import pareto_front
from taskgroup.study.objectives import StudyObjective, objective_gains
from taskgroup.study.selection import (
    Limit,
    infeasible_trials,
    select_best,
    selection_rule,
    study_limits,
)
from taskgroup.wording import format_difference, format_gain, format_seconds, parameters_text

REFERENCES = (NATURAL_LABEL, ADVERSARIAL_LABEL, ALL_LABEL)


@dataclass(frozen=True)
class StudyResult:
    """What a search found.

    Attributes:
        run: The run directory.
        objectives: What was optimised.
        trials: Every trial's record, by number.
        total: Trials that the study was to have.
        seconds: Wall time of this session.
        max_clean_drop: What the best trial may give up of the clean score; None without a limit.
        rungs: Epochs after which trials were compared; empty where none was stopped.
        is_over_budget: Whether ``search.max_seconds`` ended it.
        evaluations: The rows of each trial's latest evaluation on each split.
        unscored: Why confirmations could not be scored by their suite, by number.
        left_out: Trials of ``search.trials`` beyond the configurations that the space has.
    """

    run: RunDirectory
    objectives: tuple[StudyObjective, ...]
    trials: tuple[TrialResult, ...]
    total: int
    seconds: float
    max_clean_drop: float | None = None
    rungs: tuple[int, ...] = ()
    is_over_budget: bool = False
    evaluations: tuple[EvaluationRow, ...] = ()
    unscored: Mapping[int, str] = field(default_factory=dict)
    left_out: int = 0

    @property
    def suite(self) -> SuiteScores:
        """What the suite of the confirm stage left of its trials."""
        return suite_scores(self.trials, self.evaluations)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The constraint, once the baseline that it refers to is complete."""
        return study_limits(self.trials, self.objectives, self.max_clean_drop)

    @property
    def infeasible(self) -> list[TrialResult]:
        """Complete trials that gave up more than the constraint allows."""
        return infeasible_trials(self.trials, self.limits)

    @property
    def agreements(self) -> tuple[RungAgreement, ...]:
        """How well the order at each rung foretells the final one."""
        has_proxy = any(trial.stage == "proxy" for trial in self.trials)
        stage: Stage = "proxy" if has_proxy else "search"  # the one that rungs thin out
        return rung_agreements(self.trials, self.objectives, self.rungs, stage=stage)

    @property
    def best(self) -> TrialResult | None:
        """The best trial by the recorded rule; None if none is complete and feasible."""
        return select_best(self.trials, self.objectives, limits=self.limits)

    @property
    def pareto(self) -> tuple[TrialResult, ...]:
        """Complete feasible trials of the search that no other one beats in every objective."""
        beyond = {trial.number for trial in self.infeasible}
        complete = [
            trial
            for trial in self.trials
            if trial.status == "complete" and trial.stage == "search" and trial.number not in beyond
        ]
        front = pareto_front(objective_gains(complete, self.objectives))
        return tuple(trial for trial, kept in zip(complete, front, strict=True) if kept)

    @property
    def is_interrupted(self) -> bool:
        """Whether the study has trials left to run."""
        return sum(trial.status != "interrupted" for trial in self.trials) < self.total

    @property
    def has_only_failures(self) -> bool:
        """Whether trials ran and every one of them failed."""
        return bool(self.trials) and all(trial.status == "failed" for trial in self.trials)

    @property
    def overheads(self) -> tuple[float, ...]:
        """Engine overhead in seconds of every trial that was not its worker's first."""
        found = (trial.overhead_seconds for trial in self.trials)
        return tuple(seconds for seconds in found if seconds is not None)

    @property
    def engine_overhead(self) -> float | None:
        """Mean over trials of the time between a worker's last record and the next first batch."""
        return float(np.mean(self.overheads)) if self.overheads else None

    def to_json(self) -> dict[str, Any]:
        """The answer as plain data."""
        return answer_json(self)

    def summary(self, report: str | None = None) -> str:
        """The last words of the search, several lines.

        Args:
            report: Where the report lies, if one was written.
        """
        answer = self._answer() if self.best is not None else self._no_answer()
        checks = [*self._constraint(), *self._agreement()]
        blocks = [self._counts(), *answer, *checks, *self._places(report), self._next_commands()]
        return "\n".join(blocks)

    def _counts(self) -> str:
        counts = Counter(trial.status for trial in self.trials)
        parts = ", ".join(f"{counts[key]} {key}" for key in ("complete", "pruned", "failed"))
        ended = sum(counts[key] for key in ("complete", "pruned", "failed"))
        words = f"{ended} of {self.total} trials ({parts}) in {format_seconds(self.seconds)}"
        stages = stage_counts(self.trials)
        words += f": {stages}" if stages else ""
        if self.is_over_budget:
            return f"Stopped by search.max_seconds after {words}."
        if self.left_out:
            words += (
                f". Every configuration of the space was tried: {self.left_out} of the "
                f"{self.left_out + self.total} trials that search.trials asks for are left out"
            )
        return f"Stopped after {words}." if self.is_interrupted else f"Done: {words}."

    def _constraint(self) -> list[str]:
        """Which trials gave up too much, or why that is not known."""
        if self.max_clean_drop is None:
            return []
        if not self.limits:
            return [
                "",
                f"Constraint not applied: {NATURAL_LABEL}, whose clean score it refers to, "
                "is not complete",
            ]
        limit = self.limits[0]
        metric = limit.objective.metric
        lines = [
            f"  infeasible: trial {trial.number}, {trial.label}: "
            f"{format_difference(metric, limit.drop(trial))} worse"
            for trial in self.infeasible
        ]
        head = f"Constraint: {limit.text} ({NATURAL_LABEL})"
        return ["", head, *(lines or ["  every complete trial is feasible"])]

    def _agreement(self) -> list[str]:
        """Rank correlation of every rung with the end, with a warning where it is low."""
        if not self.agreements:
            return []
        lines = [f"  {agreement_line(found)}" for found in self.agreements]
        if any(found.is_low for found in self.agreements):
            lines.append(
                "  warning: where it is low, rungs stop trials nearly at random; raise "
                "search.grace_epochs, or search with scheduler none"
            )
        return ["", "Rank agreement of rungs with the end:", *lines]

    def _answer(self) -> list[str]:
        best = self.best
        assert best is not None
        lines = [
            "",
            f"Best: trial {best.number}, {best.label}: {self._scores(best)}",
            f"  {parameters_text(best.parameters)}",
            *self._gains(best),
            f"  chosen by: {selection_rule(self.objectives, limits=self.limits)}",
            *self._doubt(),
            *proxy_lines(self.trials, self.objectives[0]),
            *confirm_lines(self.trials, self.objectives, self.suite),
            *unscored_lines(self.suite, self.unscored, self.run.place),
        ]
        if len(self.objectives) > 1:
            lines += ["", "Pareto set:", *(self._point(trial) for trial in self.pareto)]
        return lines

    def _doubt(self) -> list[str]:
        """What the scores of a search cannot say, until a confirm stage has."""
        if is_confirmed(self.trials):
            return [
                "  one seed, chosen by these scores, which flatters them: see the confirm stage"
            ]
        return [
            "  not confirmed: one seed, chosen on the validation split it is reported on; run "
            f"'taskgroup confirm {self.run.place}'",
            "  for several seeds on images that no search sees, and 'taskgroup evaluate best "
            f"--run {self.run.place}' for stronger attacks",
        ]

    def _gains(self, best: TrialResult) -> list[str]:
        """How the best trial stands against the three fixed references."""
        first = self.objectives[0]
        return [
            f"  {first.metric} {format_gain(first.metric, first.value(best) - first.value(trial))} "
            f"against trial {trial.number}, {trial.label} ({first.text(trial)})"
            for trial in self.trials
            if trial.label in REFERENCES
            and (trial.stage, trial.status) == ("search", "complete")
            and trial != best
        ]

    def _no_answer(self) -> list[str]:
        reasons = Counter(t.reason for t in self.trials if t.status == "failed" and t.reason)
        if self.infeasible:
            return ["", "No complete trial is feasible, so there is no answer."]
        lines = ["", "No trial is complete, so there is no answer."]
        return lines + [f"  failed {count} x: {why}" for why, count in reasons.most_common(3)]

    def _point(self, trial: TrialResult) -> str:
        return f"  trial {trial.number}, {trial.label}: {self._scores(trial)}"

    def _scores(self, trial: TrialResult) -> str:
        return ", ".join(f"{o.metric} {o.text(trial)}" for o in self.objectives)

    def _places(self, report: str | None) -> list[str]:
        best = self.best
        lines = ["", f"Run directory: {self.run.place}"]
        if best is not None and best.checkpoint is not None:
            lines.append(f"Checkpoint:    {self.run.place_of(best.checkpoint)}")
        if report is not None:
            lines.append(f"Report:        {report}")
        lines.append(f"Engine overhead: {self._overhead_text()}")
        return lines

    def _overhead_text(self) -> str:
        mean = self.engine_overhead
        if mean is None:
            return "not measured, every trial was the first of its worker"
        return f"{format_seconds(mean)} per trial (mean of {len(self.overheads)})"

    def _next_commands(self) -> str:
        path = self.run.place
        commands: Sequence[str] = (
            *([self._resume_command()] if self.is_interrupted else []),
            *([f"taskgroup evaluate best --run {path}"] if self.best is not None else []),
            f"taskgroup runs show {path}",
        )
        return "\nNext:\n" + "\n".join(f"  {command}" for command in commands)

    def _resume_command(self) -> str:
        budget = " --fix search.max_seconds=SECONDS" if self.is_over_budget else ""
        return f"taskgroup search --resume {self.run.place}{budget}"
