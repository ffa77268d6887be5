"""What is cheap to know about a configuration, and whether it ranks configurations like robustness.

Ghamizi et al. (AAAI 2022) ask the same of clean scores, shorter trainings and smaller networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskgroup.config import flat
from taskgroup.study.agreement import RankCorrelation, spearman
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_groups import Line, Measure, Scored, SeedGroup


@dataclass(frozen=True)
class Predictor:
    """One cheap number of each configuration.

    Attributes:
        name: What a reader calls it.
        values: The number of each configuration, turned so that more should mean more robust; a
            configuration that lacks it is missing.
    """

    name: str
    values: Mapping[SeedGroup, float]


def rank_agreement(
    predictor: Predictor, groups: Iterable[SeedGroup], robust: Mapping[SeedGroup, float]
) -> RankCorrelation:
    """Spearman's correlation of a predictor with robust scores over some configurations."""
    known = [group for group in groups if group in predictor.values and group in robust]
    return spearman([predictor.values[g] for g in known], [robust[g] for g in known])


def measured(
    groups: Iterable[SeedGroup], measure: Measure, *, sign: int = 1
) -> dict[SeedGroup, float]:
    """Means over seeds by configuration, times ``sign``; configurations without one are missing."""
    means = {group: group.mean(measure) for group in groups}
    return {group: sign * found.mean for group, found in means.items() if found.seeds}


def size_predictors(groups: Sequence[SeedGroup]) -> list[Predictor]:
    """Output dimension and number of tasks, which the claim says should go with robustness."""
    return [
        Predictor("output dimension", {g: float(g.trial.output_dimension) for g in groups}),
        Predictor("number of tasks", {g: float(len(g.trial.task_set)) for g in groups}),
    ]


def early_predictors(groups: Sequence[SeedGroup], robust: StudyObjective) -> list[Predictor]:
    """The robust score that a search measured after each epoch before the last."""
    rows = [row for g in groups for row in g.trial.epochs if robust.metric in row.metrics]
    last = max((g.trial.planned_epochs for g in groups), default=0)
    epochs = sorted({row.epoch for row in rows if row.epoch < last})

    def after(epoch: int) -> Measure:
        def read(member: Scored) -> float:
            found = [r for r in member.trial.epochs if r.epoch == epoch]
            value = found[0].metrics.get(robust.metric) if found else None
            return float("nan") if value is None else float(value)

        return read

    return [
        Predictor(f"epoch {epoch}", measured(groups, after(epoch), sign=robust.sign))
        for epoch in epochs
    ]


def other_settings(
    line: Line, lines: Sequence[Line], robust: Mapping[SeedGroup, float]
) -> list[tuple[dict[str, Any], dict[SeedGroup, float]]]:
    """What the same task sets reached where they were trained alike but for some settings.

    Args:
        line: The line whose configurations are asked about.
        lines: Every line of the grid.
        robust: Robust scores by configuration.

    Returns:
        For each such line the settings that differ, by key, and its scores by the configuration of
        ``line`` with the same tasks.
    """
    own = {group.auxiliary_tasks: group for group in line.all_groups}
    found = []
    for other in lines:
        settings = _differing(line.recipe, other.recipe)
        if not settings or not _is_like(line, other):
            continue
        scores = {
            own[group.auxiliary_tasks]: robust[group]
            for group in other.all_groups
            if group.auxiliary_tasks in own and group in robust
        }
        found.append((settings, scores))
    return found


def _is_like(line: Line, other: Line) -> bool:
    """Whether two lines have main task, weights and training attack in common."""
    keys = ("main_task", "attacked_tasks", "weights")
    adversaries = [found.recipe.get("adversary") for found in (line, other)]
    return adversaries[0] == adversaries[1] and all(
        getattr(line, key) == getattr(other, key) for key in keys
    )


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the second recipe, by key, where the two differ."""
    ours, theirs = flat(first), flat(second)
    keys = dict.fromkeys([*ours, *theirs])
    return {key: theirs.get(key) for key in keys if ours.get(key) != theirs.get(key)}
