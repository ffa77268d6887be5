"""Robust scores of one network against attacked outputs and tasks, as records."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.evaluation.conditions import Combine
from taskgroup.evaluation.dimension.attacks import (
    ScoreSums,
    attack_pixels,
    attack_tasks,
    pixel_score,
    task_subsets,
)
from taskgroup.evaluation.dimension.grids import attack_outputs
from taskgroup.evaluation.dimension.subject import COMBINED, Measured, Tick
from taskgroup.metrics.base import SumMetric
from taskgroup.results.dimension import DimensionRow
from taskgroup.study.intervals import bootstrap_intervals


def attack_rows(measured: Measured, tick: Tick) -> list[DimensionRow]:
    """Score of ``M`` attacked outputs against ``M``."""
    options = measured.options
    outputs = attack_outputs(options.grid, options.outputs, measured.valid.tolist())
    rows = []
    for place, count in enumerate(outputs):
        attack = partial(attack_pixels, measured.trained, measured.task, outputs=count)
        row = _score_row(
            measured,
            [
                partial(attack, repeat=repeat, **_settings(measured))
                for repeat in range(options.repeats)
            ],
            score_name=pixel_score(measured.task),
            counted="outputs",
            count=count,
            images=int((measured.valid >= count).sum()),
        )
        rows.append(row)
        tick((place + 1) / len(outputs))
    return rows


def task_attack_rows(measured: Measured, tick: Tick) -> list[DimensionRow]:
    """Score of the task when it is attacked together with others, against how many there are."""
    tasks = measured.trained.task_set
    rows = [_task_attack_row(measured, 1, "sum")]
    rows.append(replace(rows[0], combine="unit_gradient"))  # one task is the same either way
    for size in range(2, len(tasks) + 1):
        rows += [_task_attack_row(measured, size, combine) for combine in COMBINED]
        tick(size / len(tasks))
    return rows


def _task_attack_row(measured: Measured, size: int, combine: Combine) -> DimensionRow:
    options, task = measured.options, measured.task
    attack = partial(attack_tasks, measured.trained, task, combine=combine, **_settings(measured))
    subsets = task_subsets(
        measured.trained.task_set, task.name, size, most=options.repeats, seed=options.seed
    )
    return _score_row(
        measured,
        [partial(attack, attacked_tasks=subset) for subset in subsets],
        score_name=task.main_score,
        counted="tasks",
        count=size,
        combine=combine,
        images=int((measured.valid > 0).sum()),
    )


def _settings(measured: Measured) -> dict[str, Any]:
    """What every attack on a network has in common."""
    options = measured.options
    return {
        "attack": options.attack,
        "budget": options.budget(measured.trained),
        "seed": options.seed,
    }


def _over_repeats(measured: Measured, attacks: Sequence[Callable[[Batch], ScoreSums]]) -> ScoreSums:
    """Sums of every image, added over its attacks."""
    clean, attacked = [], []
    for batch in measured.batches():
        found = [attack(batch) for attack in attacks]
        clean.append(torch.stack([sums.clean for sums in found]).sum(0))
        attacked.append(torch.stack([sums.attacked for sums in found]).sum(0))
    return ScoreSums(torch.cat(clean), torch.cat(attacked))


def _score_row(
    measured: Measured,
    attacks: Sequence[Callable[[Batch], ScoreSums]],
    *,
    score_name: str,
    **fields: Any,
) -> DimensionRow:
    """Attack every image in each way, and score them together."""
    began = time.perf_counter()
    sums = _over_repeats(measured, attacks)
    metric = measured.task.metric()
    interval = bootstrap_intervals(
        sums.attacked.numpy(),
        lambda drawn: {"value": metric.score(torch.from_numpy(drawn))[score_name]},
        seed=measured.options.seed,
    )["value"]
    budget = measured.options.budget(measured.trained)
    return measured.row(
        interval=interval,
        measure="robust_score",
        score_name=score_name,
        direction=metric.directions[score_name],
        value=_score(metric, sums.attacked, score_name),
        clean=_score(metric, sums.clean, score_name),
        attack=measured.options.attack,
        norm=budget.norm,
        epsilon=budget.epsilon,
        steps=budget.steps,
        restarts=budget.restarts,
        samples=float(len(attacks)),
        seconds=time.perf_counter() - began,
        **fields,
    )


def _score(metric: SumMetric, sums: Tensor, name: str) -> float:
    return float(metric.score(sums.sum(0))[name])
