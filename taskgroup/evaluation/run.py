"""``evaluate``: strong attacks on the networks of a run, on images that the search never saw."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from logging import getLogger

from taskgroup.evaluation.loading import (
    LoadedNetworks,
    NetworkSources,
    check_labels,
    fixed_networks,
    load_networks,
    transfer_targets,
)
from taskgroup.evaluation.objective.expectation import is_randomised
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.panels import shard_panels
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import (
    NetworkPlan,
    Shard,
    ShardResult,
    images_per_shard,
    plan_shards,
)
from taskgroup.evaluation.shards.store import ShardStore
from taskgroup.evaluation.subjects import Subject, resolve
from taskgroup.evaluation.suites.catalogue import suite_conditions
from taskgroup.evaluation.suites.strong import strong_conditions
from taskgroup.evaluation.verdict.network_result import NetworkResult, network_result
from taskgroup.evaluation.verdict.outcomes import finished
from taskgroup.evaluation.verdict.rows import RowMaker, transfer_rows
from taskgroup.results.record_files import TRANSFERS, WORST_CASES
from taskgroup.results.records import EvaluationRow, ImageRow, Panel, TransferRow
from taskgroup.results.run_directory import DEFAULT_PARENT, RunDirectory
from taskgroup.results.storage.places import Place
from taskgroup.wording import counted

_log = getLogger(__name__)
COMPARED_IMAGES = 16
"""Images whose predictions show whether a network answers at random."""
Progress = Callable[[int, int, str], None]
"""Told what is done, what there is to do, and what is being done."""


@dataclass(frozen=True)
class Evaluated:
    """What one call of ``evaluate`` found.

    Attributes:
        rows: One per network, condition, task and score.
        panels: Pictures of the first images.
        transfers: Scores of networks on images attacked for others; never part of ``rows``.
        worst_images: Per network and image the attack that counts.
        path: The run directory that it was written to; None for a checkpoint without a run.
    """

    rows: tuple[EvaluationRow, ...]
    panels: tuple[Panel, ...]
    transfers: tuple[TransferRow, ...]
    worst_images: tuple[ImageRow, ...]
    path: str | None


def evaluate(
    which: str | int = "best",
    *,
    run: Place | None = None,
    runs: Place = DEFAULT_PARENT,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluated:
    """Attack trained networks on the test split and write what was found into the run directory.

    Pieces that an evaluation with the same settings has finished before are not done again.

    Args:
        which: ``best`` for the winner and the finished baselines, a trial's number, or the path of
            a checkpoint.
        run: The run directory; by default the newest below ``runs``, or the one that a checkpoint
            lies in.
        runs: Folder of run directories.
        options: What to do, and where.
        progress: Told after every piece.

    Raises:
        DataError: No such run, no finished trial, a damaged or foreign checkpoint, missing data,
            nothing labelled, or a network that predicts NaN.
        ConfigError: An unknown trial number, or an option out of range.
        ResourceError: The run directory cannot be written, or a cluster does not work.
    """
    subjects, directory = resolve(str(which), run, runs)
    if directory is not None:
        directory.storage.check_writable()
    return evaluate_subjects(subjects, directory, options or EvaluationOptions(), progress)


def evaluate_subjects(
    subjects: Sequence[Subject],
    directory: RunDirectory | None,
    options: EvaluationOptions,
    progress: Progress | None = None,
) -> Evaluated:
    """Attack some networks side by side and write what was found, if there is a run directory.

    Raises:
        DataError, ConfigError, ResourceError: As ``evaluate``.
    """
    loaded = load_subjects(subjects, options)
    return evaluate_loaded(subjects, loaded, directory, options, progress)


def load_subjects(subjects: Sequence[Subject], options: EvaluationOptions) -> LoadedNetworks:
    """The networks of some subjects with the images that they are scored on.

    Raises:
        DataError: A checkpoint or a data set is missing, damaged, or foreign.
        ConfigError: A checkpoint names what this installation lacks.
    """
    checkpoints = tuple(str(subject.checkpoint) for subject in subjects)
    return load_networks(NetworkSources(checkpoints, options.split, options.seed))


def evaluate_loaded(
    subjects: Sequence[Subject],
    loaded: LoadedNetworks,
    directory: RunDirectory | None,
    options: EvaluationOptions,
    progress: Progress | None = None,
) -> Evaluated:
    """``evaluate_subjects`` with their networks, in the same order, loaded before."""
    plans = plan_networks(loaded, options)
    store = None if directory is None else ShardStore(directory.storage, tuple(subjects), loaded)
    shards, panels = _run(loaded, plans, subjects, options, store, progress)
    done = finished(shards)
    results = [network_result(loaded, plans, done, place) for place in range(len(subjects))]
    path = None if directory is None else directory.place
    found = _described(subjects, loaded, options, results, panels, path)
    if directory is not None:
        _write(directory, found)
    return found


def network_results(loaded: LoadedNetworks, options: EvaluationOptions) -> list[NetworkResult]:
    """Evaluate networks in this process, without a run directory.

    Raises:
        DataError, ConfigError: As ``evaluate``.
    """
    plans = plan_networks(loaded, options)
    done = finished(run_here(loaded, plan_shards(plans)))
    return [network_result(loaded, plans, done, place) for place in range(len(plans))]


def plan_networks(loaded: LoadedNetworks, options: EvaluationOptions) -> list[NetworkPlan]:
    """What is done to each network.

    Raises:
        ConfigError: A radius or a task that is none.
        DataError: Nothing is labelled among the images.
    """
    others, randomised, plans = transfer_targets(loaded.networks), _randomised(loaded), []
    for place, (trained, dataset) in enumerate(zip(loaded.networks, loaded.datasets, strict=True)):
        threat, count = options.threat(trained), min(options.images, len(dataset))
        check_labels(loaded, place, count)
        pixels = dataset[0].images[0]
        plans.append(
            NetworkPlan(
                threat=threat,
                conditions=suite_conditions(
                    options.chosen_suite,
                    threat,
                    trained.main,
                    options.attacked(trained),
                    num_pixels=pixels.numel(),
                ),
                transferred=strong_conditions(options.chosen_suite, threat, trained.main)[0],
                count=count,
                per_shard=images_per_shard(
                    pixels[0].numel(), loaded.device, channels=trained.main.channels
                ),
                transfer_targets=others[place],
                keeps_samples=options.split == "test",
                randomised=tuple(n for n in randomised if n in (place, *others[place])),
            )
        )
    return plans


def _randomised(loaded: LoadedNetworks) -> tuple[int, ...]:
    """Positions of the networks that answer the same images differently."""
    found = []
    with fixed_networks(loaded):
        for place, trained in enumerate(loaded.networks):
            count = min(COMPARED_IMAGES, len(loaded.datasets[place]))
            images = loaded.batch(place, 0, count).images
            if is_randomised(trained.model, images, trained.main_task):
                found.append(place)
    return tuple(found)


def _run(
    loaded: LoadedNetworks,
    plans: Sequence[NetworkPlan],
    subjects: Sequence[Subject],
    options: EvaluationOptions,
    store: ShardStore | None,
    progress: Progress | None,
) -> tuple[list[tuple[Shard, ShardResult]], list[Panel]]:
    """Every shard, those of an earlier evaluation first, and their pictures by network."""
    shards = plan_shards(plans)
    stored = [(shard, None if store is None else store.load(shard)) for shard in shards]
    results = [(shard, known[0]) for shard, known in stored if known is not None]
    panels = {shard: known[1] for shard, known in stored if known is not None}
    total = sum(shard.cost for shard in shards)
    done = sum(shard.cost for shard, _ in results)
    todo = [shard for shard, known in stored if known is None]
    for shard, result in _run_all(loaded, todo, options):
        subject = subjects[shard.network]
        panels[shard] = shard_panels(subject, shard, result, loaded.networks[shard.network].main)
        if store is not None:
            store.save(shard, result, panels[shard])
        results.append((shard, result))
        done += shard.cost
        if progress is not None:
            progress(round(done), round(total), f"{subject.label}: {shard.condition.name}")
    return results, [panel for shard in shards for panel in panels[shard]]


def _run_all(
    loaded: LoadedNetworks, shards: Sequence[Shard], options: EvaluationOptions
) -> Iterator[tuple[Shard, ShardResult]]:
    """Shards here, or in Ray tasks where they were asked for."""
    if not shards or not options.uses_ray:
        return run_here(loaded, shards)
    from taskgroup.evaluation.shards.ray_tasks import run_with_ray

    return run_with_ray(loaded.sources, shards, workers=options.workers, address=options.address)


def replaced_lines(before: Sequence[EvaluationRow], after: Sequence[EvaluationRow]) -> list[str]:
    """What a later evaluation on fewer images takes the place of, one line per network.

    Args:
        before: The rows that stood so far.
        after: Those that stand from now on.
    """
    old, new = most_images(before), most_images(after)
    return [
        f"{key[1]}: from now on, tables and the report show this evaluation on "
        f"{counted(images, 'image')}, not the one before on {old[key]}; repeat it with "
        f"--images {old[key]} to have that again"
        for key, images in new.items()
        if images < old.get(key, 0)
    ]


def most_images(rows: Sequence[EvaluationRow]) -> dict[tuple[int, str, str], int]:
    """Images that each network was scored on at most, by trial, label and split."""
    found: dict[tuple[int, str, str], int] = {}
    for row in rows:
        key = (row.trial, row.label, row.split)
        found[key] = max(row.images, found.get(key, 0))
    return found


def _described(
    subjects: Sequence[Subject],
    loaded: LoadedNetworks,
    options: EvaluationOptions,
    results: Sequence[NetworkResult],
    panels: Sequence[Panel],
    path: str | None,
) -> Evaluated:
    """What was found, as records."""
    makers = [
        RowMaker(subject, trained, found, options.chosen_suite, loaded.sources)
        for subject, trained, found in zip(subjects, loaded.networks, results, strict=True)
    ]
    transfers = transfer_rows(subjects, results, loaded)
    return Evaluated(
        rows=tuple(row for maker in makers for row in maker.rows()),
        panels=tuple(panels),
        transfers=tuple(transfers),
        worst_images=tuple(row for maker in makers for row in maker.worst_images()),
        path=path,
    )


def _write(directory: RunDirectory, found: Evaluated) -> None:
    """Write the records, what the rows stand on first; say where fewer images stand for more."""
    for line in replaced_lines(directory.evaluations(), found.rows):
        _log.warning("%s", line)
    WORST_CASES.write(directory.storage, found.worst_images)
    if found.transfers:
        TRANSFERS.write(directory.storage, found.transfers)
    directory.write_evaluation(found.rows, found.panels)
