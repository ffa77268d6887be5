"""``dimension``: how gradients and attacks on networks change with the number of outputs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation.dimension.attack_curves import attack_rows, task_attack_rows
from taskgroup.evaluation.dimension.gradient_curves import gradient_rows, task_norm_rows
from taskgroup.evaluation.dimension.measured_network import Floats, MeasuredNetwork, Tick
from taskgroup.evaluation.dimension.options import DimensionOptions, Part
from taskgroup.evaluation.dimension.pixel_gradients import SEED_BATCH
from taskgroup.evaluation.dimension.task_gradients import agreement_rows, task_gram
from taskgroup.evaluation.loading import NetworkSources, fixed_networks, load_networks
from taskgroup.evaluation.subjects import Subject, resolve, winner_and_baselines
from taskgroup.results.record_files import DIMENSIONS, TASK_GRADIENTS
from taskgroup.results.records import DimensionRow, TaskGradientRow
from taskgroup.results.run_directory import DEFAULT_PARENT, SPACE_FILE, RunDirectory
from taskgroup.results.storage.base import open_storage
from taskgroup.results.storage.places import Place, is_address, within
from taskgroup.results.storage.single_files import exists
from taskgroup.study.study import Study
from taskgroup.wording import listed

Progress = Callable[[int, int, str], None]
NEXT = "see what exists with: taskgroup runs list"
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


@dataclass(frozen=True)
class NamedNetworks:
    """What the targets of a command name.

    Attributes:
        subjects: The networks, each once.
        place: Folder to write to.
        is_run: Whether that is a run directory.
    """

    subjects: tuple[Subject, ...]
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
    storage = open_storage(named.place)
    storage.check_writable()
    rows, task_rows = measure_networks(named.subjects, options, progress)
    storage.make_root()
    if rows:
        DIMENSIONS.write(storage, rows)
    if task_rows:
        TASK_GRADIENTS.write(storage, task_rows)
    return DimensionFound(tuple(rows), tuple(task_rows), named.place, named.is_run)


def measure_networks(
    subjects: Sequence[Subject], options: DimensionOptions, progress: Progress | None = None
) -> tuple[list[DimensionRow], list[TaskGradientRow]]:
    """Every curve of some networks, and their task gradients; writes nothing.

    Raises:
        DataError, ConfigError: As ``analyse_dimension``.
    """
    loaded = load_networks(
        NetworkSources(tuple(str(s.checkpoint) for s in subjects), options.split, options.seed)
    )
    networks = [MeasuredNetwork(subject, loaded, n, options) for n, subject in enumerate(subjects)]
    for network in networks:
        network.check()
    if not any(set(n.parts) - {"tasks", "task_attack"} or n.trained.tasks[1:] for n in networks):
        raise DataError(
            "dimension must have a network of several tasks to count them, but found only "
            f"{listed([n.subject.label for n in networks])}; choose one that has, or other parts"
        )
    work = [(network, part) for network in networks for part in network.parts]
    rows: list[DimensionRow] = []
    task_rows: list[TaskGradientRow] = []
    with fixed_networks(loaded):
        for number, (network, part) in enumerate(work):
            label = f"{network.subject.label}: {part.replace('_', ' ')}"
            tick = _ticker(progress, number, len(work), label)
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
    network: MeasuredNetwork, part: Part, tick: Tick
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


def _gram(network: MeasuredNetwork) -> Floats:
    """Inner products ``(N, T, T)``; pairs of images added up where the published script did."""
    gram = np.concatenate([task_gram(network.trained, batch) for batch in network.batches()])
    if network.options.seed_compatible:
        return np.add.reduceat(gram, np.arange(0, len(gram), SEED_BATCH))
    return gram


def named_networks(
    targets: Sequence[str], *, run: Place | None, runs: Place, output: Place | None
) -> NamedNetworks:
    """Resolve run directories, ``best``, numbers of trials and checkpoints.

    Raises:
        DataError: A target that is neither a run directory nor a checkpoint, or a run with nothing
            to measure.
        ConfigError: An unknown trial, or targets of several places and no ``output``.
    """
    found = [_resolve(target, run, runs) for target in targets or ("best",)]
    places = dict.fromkeys(place for _, place, _ in found)
    subjects: dict[str, Subject] = {}
    for own, place, _ in found:
        name = place.rstrip("/").rpartition("/")[2]
        for subject in own:
            label = subject.label if len(places) == 1 else f"{name}: {subject.label}"
            subjects.setdefault(str(subject.checkpoint), replace(subject, label=label))
    if output is not None:
        return NamedNetworks(tuple(subjects.values()), str(output), is_run=_is_run(output))
    if len(places) > 1:
        raise ConfigError(
            f"networks from several places need one place to write to, got {', '.join(places)}; "
            "name it with --output"
        )
    return NamedNetworks(tuple(subjects.values()), next(iter(places)), is_run=found[0][2])


def _resolve(target: str, run: Place | None, runs: Place) -> tuple[list[Subject], str, bool]:
    """Networks of one target, the folder that they belong to, and whether it is a run."""
    if _is_run(target):
        directory = RunDirectory.open(target)
        return winner_and_baselines(Study.read(directory)), directory.place, True
    if target != "best" and not target.isdecimal() and not exists(target):
        raise DataError(
            f"{target} must be best, a trial's number, a run directory or a checkpoint, found no "
            f"such thing; {NEXT}"
        )
    subjects, home = resolve(target, None if run is None else str(run), runs)
    if home is not None:
        return subjects, home.place, True
    folder = target.rpartition("/")[0] if is_address(target) else str(Path(target).parent)
    return subjects, folder, False


def _is_run(place: Place) -> bool:
    return exists(within(place, SPACE_FILE))
