"""Gradient norms of one network against outputs and tasks, as records."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from taskgroup.evaluation.dimension.measured_network import COMBINED, Floats, MeasuredNetwork, Tick
from taskgroup.evaluation.dimension.options import gradient_outputs
from taskgroup.evaluation.dimension.pixel_gradients import (
    GradientSums,
    images_per_batch,
    joint_gradients,
    pixel_gradients,
)
from taskgroup.results.records import DimensionRow
from taskgroup.study.intervals import Interval, bootstrap_intervals
from taskgroup.study.task_agreement import subset_squares, unit_gram


def gradient_rows(network: MeasuredNetwork, tick: Tick) -> list[DimensionRow]:
    """Gradient norm of the mean loss over ``M`` outputs against ``M``."""
    began = time.perf_counter()
    options, task = network.options, network.task
    outputs = gradient_outputs(options.grid, options.outputs, network.valid.tolist())
    pixels = network.loaded.datasets[network.place][0].images[0, 0].numel()
    measure = joint_gradients if options.seed_compatible else pixel_gradients
    parts = []
    for batch in network.batches(images_per_batch(pixels, outputs, network.count)):
        parts.append(
            measure(
                network.trained,
                task,
                batch,
                outputs=outputs,
                repeats=options.repeats,
                seed=options.seed,
            )
        )
        tick(len(parts) * len(batch) / network.count)
    found = GradientSums(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    return _norm_rows(network, outputs, found, began)


def _norm_rows(
    network: MeasuredNetwork, outputs: Sequence[int], found: GradientSums, began: float
) -> list[DimensionRow]:
    samples = found.samples.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        squares, norms = found.squares.numpy() / samples, found.norms.numpy() / samples
    return [
        row
        for place, count in enumerate(outputs)
        for row in norm_pair(
            network,
            norms[:, place],
            squares[:, place],
            counted="outputs",
            count=count,
            samples=float(samples[:, place].mean()),
            seconds=time.perf_counter() - began,
        )
    ]


def norm_pair(
    network: MeasuredNetwork, norms: Floats, squares: Floats, **fields: Any
) -> Iterator[DimensionRow]:
    """Root mean square and mean of gradient norms of images ``(N,)``, NaN where not measured."""
    for name, values in (("root_mean_square", squares), ("mean", norms)):
        known = ~np.isnan(values)
        sums = np.stack([np.where(known, values, 0.0), known.astype(np.float64)], 1)
        value, interval = _mean_with_interval(
            sums, network.options.seed, is_square=name == "root_mean_square"
        )
        yield network.row(
            interval=interval,
            measure="gradient_norm",
            score_name=name,
            direction="minimize",
            value=value,
            images=int(known.sum()),
            values=tuple(values.tolist()),
            **fields,
        )


def _mean_with_interval(sums: Floats, seed: int, *, is_square: bool) -> tuple[float, Interval]:
    def score(drawn: Floats) -> dict[str, Floats]:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = drawn[:, 0] / drawn[:, 1]
        return {"value": np.sqrt(mean) if is_square else mean}

    value = float(score(sums.sum(0, keepdims=True))["value"][0])
    return value, bootstrap_intervals(sums, score, seed=seed)["value"]


def task_norm_rows(network: MeasuredNetwork, gram: Floats, seconds: float) -> list[DimensionRow]:
    """Gradient norm of the mean loss of ``t`` tasks against ``t``, raw and with unit gradients.

    Args:
        network: The network.
        gram: Inner products of task gradients ``(N, T, T)``.
        seconds: Time that they took.
    """
    rows: list[DimensionRow] = []
    for combine, products in zip(COMBINED, (gram, unit_gram(gram)), strict=True):
        for size in range(1, gram.shape[1] + 1):
            squares = subset_squares(products, size, seed=network.options.seed)
            rows += norm_pair(
                network,
                np.sqrt(np.maximum(squares, 0)).mean(1),
                squares.mean(1),
                counted="tasks",
                count=size,
                combine=combine,
                samples=float(squares.shape[1]),
                seconds=seconds,
            )
    return rows
