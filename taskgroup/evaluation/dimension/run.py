"""``dimension``: how gradients and attacks on networks change with the number of outputs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from taskgroup.evaluation.dimension.agreement_rows import agreement_rows
from taskgroup.evaluation.dimension.attack_curves import attack_rows, task_attack_rows
from taskgroup.evaluation.dimension.gradient_curves import gradient_rows, task_norm_rows
from taskgroup.evaluation.dimension.options import DimensionOptions, Part
from taskgroup.evaluation.dimension.pixel_gradients import SEED_BATCH
from taskgroup.evaluation.dimension.subject import Floats, Measured, Tick
from taskgroup.evaluation.dimension.targets import named_networks
from taskgroup.evaluation.dimension.task_gradients import task_gram
from taskgroup.evaluation.shards.bench import BenchPlan, open_bench
from taskgroup.evaluation.shards.shard import held_still
from taskgroup.evaluation.subjects import Subject
from taskgroup.results.evaluation_files import write_dimension, write_task_gradients
from taskgroup.results.records import DimensionRow, TaskGradientRow
from taskgroup.results.run_directory import DEFAULT_PARENT
from taskgroup.results.storage.base import open_storage
from taskgroup.results.storage.places import Place

Progress = Callable[[int, int, str], None]
STEPS = 100
"""Steps of a part on the progress bar."""


@dataclass(frozen=True)
class DimensionFound:
    """What one call found.

    Attributes:
        rows: Gradient norms and robust scores, one per network and number of outputs or tasks.
        task_gradients: Norms and angles of task gradients.
        place: Folder that they were written to.
        is_run: Whether that is a run directory, whose report shows them.
    """

    rows: tuple[DimensionRow, ...]
    task_gradients: tuple[TaskGradientRow, ...]
    place: str
    is_run: bool


def analyse_dimension(
    targets: Sequence[str] = (),
    *,
    run: Place | None = None,
    runs: Place = DEFAULT_PARENT,
    output: Place | None = None,
    options: DimensionOptions | None = None,
    progress: Progress | None = None,
) -> DimensionFound:
    """Measure networks against their number of outputs and write what was found.

    Args:
        targets: Run directories (the winner and the finished baselines of each), ``best``, numbers
            of trials, or paths of checkpoints; none is ``best``.
        run: The run directory of ``best`` and of numbers; by default the newest below ``runs``.
        runs: Folder of run directories.
        output: Folder to write to; by default the run directory, or the one that a checkpoint
            without a run lies in.
        options: What to measure.
        progress: Told what is done.

    Raises:
        DataError: No such run, no finished trial, a damaged or foreign checkpoint, missing data, or
            nothing labelled.
        ConfigError: An unknown trial, task or part, or a number of outputs that no image has.
        ResourceError: The folder cannot be written.
    """
    options = options or DimensionOptions()
    named = named_networks(targets, run=run, runs=runs, output=output)
    rows, task_rows = measure_networks(named.subjects, options, progress)
    storage = open_storage(named.place)
    if rows:
        write_dimension(storage, rows)
    if task_rows:
        write_task_gradients(storage, task_rows)
    return DimensionFound(tuple(rows), tuple(task_rows), named.place, named.is_run)


def measure_networks(
    subjects: Sequence[Subject], options: DimensionOptions, progress: Progress | None = None
) -> tuple[list[DimensionRow], list[TaskGradientRow]]:
    """Every curve of some networks, and their task gradients; writes nothing.

    Raises:
        DataError, ConfigError: As ``analyse_dimension``.
    """
    bench = open_bench(
        BenchPlan(tuple(str(s.checkpoint) for s in subjects), options.split, options.seed)
    )
    networks = [Measured(subject, bench, n, options) for n, subject in enumerate(subjects)]
    for network in networks:
        network.check()
    work = [(network, part) for network in networks for part in network.parts]
    rows: list[DimensionRow] = []
    task_rows: list[TaskGradientRow] = []
    with held_still(bench):
        for number, (network, part) in enumerate(work):
            tick = _ticker(progress, number, len(work), f"{network.subject.label}: {part}")
            tick(0.0)
            found, agreed = _measure(network, part, tick)
            tick(1.0)
            rows += found
            task_rows += agreed
    return rows, task_rows


def _ticker(progress: Progress | None, number: int, total: int, label: str) -> Tick:
    def tick(share: float) -> None:
        if progress is not None:
            progress(round(STEPS * (number + share)), STEPS * total, label)

    return tick


def _measure(
    network: Measured, part: Part, tick: Tick
) -> tuple[list[DimensionRow], list[TaskGradientRow]]:
    if part == "gradient":
        return gradient_rows(network, tick), []
    if part == "attack":
        return attack_rows(network, tick), []
    if part == "task_attack":
        return task_attack_rows(network, tick), []
    began = time.perf_counter()
    gram = _gram(network)
    seconds = time.perf_counter() - began
    return task_norm_rows(network, gram, seconds), agreement_rows(network, gram)


def _gram(network: Measured) -> Floats:
    """Inner products ``(N, T, T)``; pairs of images added up where the published script did."""
    gram = np.concatenate([task_gram(network.trained, batch) for batch in network.batches()])
    if network.options.seed_compatible:
        return np.add.reduceat(gram, np.arange(0, len(gram), SEED_BATCH))
    return gram
