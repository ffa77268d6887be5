"""From what was found out about networks to the rows that a run keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.loading import LoadedNetworks, NetworkSources, TrainedModel
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.evaluation.suites.strong import Suite
from taskgroup.evaluation.verdict.network_result import NetworkResult
from taskgroup.evaluation.verdict.outcomes import Outcome, inside, worst_of
from taskgroup.evaluation.verdict.sanity import verdict
from taskgroup.metrics.base import SumMetric
from taskgroup.results.records import EvaluationRow, ImageRow, TransferRow
from taskgroup.study.intervals import Interval, bootstrap_intervals, jackknife_influences
from taskgroup.tasks.base import Task

CLEAN, WORST_CASE = "clean", "worst_case"


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of one network.

    Attributes:
        subject: Whose rows they are.
        trained: Its network.
        result: What was found.
        suite: The suite that was run.
        sources: Split and seed.
    """

    subject: Subject
    trained: TrainedModel
    result: NetworkResult
    suite: Suite
    sources: NetworkSources

    def rows(self) -> list[EvaluationRow]:
        """One row per condition, task and score, main task first, then the worst cases.

        Every row carries a bootstrap interval over images and the verdict on the network, together
        with what was found in its own ball. Only those without an attack, clean ones and
        corruptions, say ``ok`` where something was found. A task without a label among the images
        has no rows. An attack of several members has rows of its own, for the worst of them image
        by image, before theirs.
        """
        tasks = sorted(self.trained.tasks, key=lambda task: task.name != self.trained.main_task)
        rows: list[EvaluationRow] = []
        for condition, members in self._by_condition():
            for task in tasks:
                rows += self._rows_of_task(condition, members, task)
        return [*rows, *self._worst_rows()]

    def _by_condition(self) -> list[tuple[Condition, list[Outcome]]]:
        found: list[tuple[Condition, list[Outcome]]] = []
        for outcome in self.result.outcomes:
            if found and found[-1][0] is outcome.condition:
                found[-1][1].append(outcome)
            else:
                found.append((outcome.condition, [outcome]))
        return found

    def _rows_of_task(
        self, condition: Condition, members: Sequence[Outcome], task: Task
    ) -> list[EvaluationRow]:
        """Every score of one task; for several members first the worst of them."""
        first = members[0]
        sums = {
            score: first.sums[task.name]
            if len(members) == 1
            else worst_of(
                members, task.metric(), task=task.name, score=score, seed=self.sources.seed
            ).sums
            for score in task.metric().directions
        }
        rows = [
            self._row(condition.name, condition, task, score, own, first)
            for score, own in sums.items()
        ]
        for member in members if len(members) > 1 else ():
            name = f"{condition.name}/{member.member}"
            rows += [
                self._row(name, condition, task, score, member.sums[task.name], member)
                for score in task.metric().directions
            ]
        return [row for row in rows if row is not None]

    def _worst_rows(self) -> list[EvaluationRow]:
        """Each score of the main task when each image meets the worst attack of a ball."""
        rows = []
        for ball, score, worst in self.result.worst:
            strongest = self._strongest(ball)
            rows.append(
                self._row(
                    WORST_CASE,
                    strongest.condition,
                    self.trained.main,
                    score,
                    worst.sums,
                    strongest,
                )
            )
        return [row for row in rows if row is not None]

    def _strongest(self, ball: ThreatModel) -> Outcome:
        allowed = inside(self.result.outcomes, ball, task=self.trained.main_task)
        strong = [o for o in allowed if o.condition.role == "strong"]
        return max(strong, key=lambda outcome: outcome.condition.perturbation.row().epsilon)

    def _row(
        self,
        name: str,
        condition: Condition,
        task: Task,
        score: str,
        sums: Tensor,
        outcome: Outcome,
    ) -> EvaluationRow | None:
        """One score, or None where nothing was labelled."""
        metric = task.metric()
        valid = int(outcome.valid[task.name].sum())
        if valid == 0:
            return None
        low, high = _interval(metric, score, sums, self.sources.seed)
        fields = condition.perturbation.row()
        is_attacked = fields.kind == "attack" and fields.attack != ""
        words, is_bound = self._judged(condition) if is_attacked else (verdict(()), False)
        if name == WORST_CASE:
            whole = self.trained.task_set
            fields = replace(fields, attack="", attacked_tasks=whole, step_size=None)
        is_open = is_attacked and not is_bound
        return EvaluationRow(
            trial=self.subject.trial,
            label=self.subject.label,
            role=self.subject.role,
            condition=name,
            **fields.of(EvaluationRow),
            task=task.name,
            score_name=score,
            direction=metric.directions[score],
            score=float(metric.score(sums.sum(0))[score]),
            low=low,
            high=high,
            images=len(sums),
            seed=self.sources.seed,
            verdict=words,
            seconds=outcome.seconds,
            valid=valid,
            vulnerability=self._vulnerability(task, score, sums) if is_open else None,
            suite=self.suite,
            split=self.sources.split,
            is_bound=is_bound,
            influences=self._influences(name, task, score, sums, outcome) if not is_bound else (),
            constant=self.result.constant.get(score) if task is self.trained.main else None,
        )

    def _judged(self, condition: Condition) -> tuple[str, bool]:
        """What the checks say of an attack's scores, and whether these only bound the truth."""
        fields, result = condition.perturbation.row(), self.result
        gradients = result.gradients if condition.role != "noise" else None
        findings = result.findings_in(fields.norm, fields.epsilon)
        words = verdict(findings, gradients, is_randomised=result.is_randomised)
        return words, gradients is not None and gradients.is_failed

    def _influences(
        self, name: str, task: Task, score: str, sums: Tensor, outcome: Outcome
    ) -> tuple[float, ...]:
        """What labelled images contribute, where networks of several seeds are compared by it."""
        if name not in (CLEAN, WORST_CASE):
            return ()
        metric, labelled = task.metric(), outcome.valid[task.name].numpy() > 0
        known = jackknife_influences(
            sums.numpy()[labelled], lambda left: metric.score(torch.from_numpy(left))[score]
        )
        return tuple(known.tolist()) if np.isfinite(known).all() else ()

    def _vulnerability(self, task: Task, score: str, sums: Tensor) -> float | None:
        clean = next(o for o in self.result.outcomes if o.condition.role == "clean")
        before = clean.sums[task.name][: len(sums)]
        return relative_vulnerability(task, score, before, sums)

    def worst_images(self) -> list[ImageRow]:
        """Per image the result of the main score's worst case, and the condition it comes from."""
        task = self.trained.main
        return [
            ImageRow(
                trial=self.subject.trial,
                label=self.subject.label,
                condition=WORST_CASE,
                member="/".join(filter(None, (source.condition.name, source.member))),
                scored_trial=self.subject.trial,
                **replace(
                    source.condition.perturbation.row(), norm=ball.norm, epsilon=ball.epsilon
                ).of(ImageRow),
                seed=self.sources.seed,
                split=self.sources.split,
                image=image,
                task=task.name,
                valid=int(self.result.outcomes[0].valid[task.name][image]),
                sums=tuple(worst.sums[image].tolist()),
                seconds=source.seconds,
            )
            for ball, score, worst in self.result.worst
            if score == task.main_score
            for image, source in enumerate(worst.sources)
        ]


def transfer_rows(
    subjects: Sequence[Subject], results: Sequence[NetworkResult], loaded: LoadedNetworks
) -> list[TransferRow]:
    """Source by target; empty where no network was scored on another one's images."""
    transfers = [transfer for found in results for transfer in found.transfers]
    if all(transfer.source == transfer.target for transfer in transfers):
        return []
    rows, seed = [], loaded.seed
    for transfer in transfers:
        task = loaded.networks[transfer.target].main
        metric, score = task.metric(), task.main_score
        low, high = _interval(metric, score, transfer.sums, seed)
        source, target = subjects[transfer.source], subjects[transfer.target]
        rows.append(
            TransferRow(
                source=source.trial,
                source_label=source.label,
                target=target.trial,
                target_label=target.label,
                **transfer.condition.perturbation.row().of(TransferRow),
                task=task.name,
                score_name=score,
                direction=metric.directions[score],
                score=float(metric.score(transfer.sums.sum(0))[score]),
                low=low,
                high=high,
                images=len(transfer.sums),
                seed=seed,
                split=loaded.sources.split,
            )
        )
    return rows


def _interval(metric: SumMetric, score: str, sums: Tensor, seed: int) -> Interval:
    """Where a score lies for resampled images, from the sums of each ``(N, S)``."""
    found = bootstrap_intervals(
        sums.numpy(),
        lambda drawn: {score: metric.score(torch.from_numpy(drawn))[score]},
        seed=seed,
    )
    return found[score]


def relative_vulnerability(task: Task, score: str, clean: Tensor, attacked: Tensor) -> float | None:
    """Mean over images of (error under attack - clean error) / clean error; lower is better.

    Definition of Ghamizi et al. ("Adversarial Robustness in Multi-Task Learning: Promises and
    Illusions", AAAI 2022), where the error is the score itself or, for a share such as IoU or
    accuracy, one minus it. Images without clean error have nothing to be divided by and are left
    out. An image with one label has an error of 0 or 1, so errors of the data set are compared.

    Args:
        task: Whose score it is.
        score: Which score.
        clean: Sums of each image without attack, ``(N, S)``.
        attacked: The same images under attack.

    Returns:
        None where no clean error is left to divide by.
    """
    metric = task.metric()
    if task.output == "vector":
        clean, attacked = clean.sum(0, keepdim=True), attacked.sum(0, keepdim=True)
    before, after = _errors(metric, score, clean), _errors(metric, score, attacked)
    counts = (before > 0) & before.isfinite() & after.isfinite()
    if not counts.any():
        return None
    return float(((after - before) / torch.where(counts, before, 1.0))[counts].mean())


def _errors(metric: SumMetric, score: str, sums: Tensor) -> Tensor:
    values = metric.score(sums)[score]
    return 1 - values if metric.directions[score] == "maximize" else values
