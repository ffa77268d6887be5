"""``evaluate``: strong attacks on the networks of a run, on images that the search never saw."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.panels import shard_panels
from taskgroup.evaluation.shards.bench import BenchPlan, check_labels, judges, open_bench
from taskgroup.evaluation.shards.shard import (
    Bench,
    NetworkPlan,
    Shard,
    ShardResult,
    images_per_shard,
    plan_shards,
)
from taskgroup.evaluation.shards.store import ShardStore
from taskgroup.evaluation.shards.threads import run_here
from taskgroup.evaluation.subjects import Subject, resolve
from taskgroup.evaluation.suites.catalogue import strong_condition, suite_conditions
from taskgroup.evaluation.verdict.measured import Measured, put_together
from taskgroup.evaluation.verdict.outcomes import finished
from taskgroup.evaluation.verdict.rows import RowMaker, transfer_rows
from taskgroup.results.evaluation_files import next_name, write_images, write_transfers
from taskgroup.results.records import EvaluationRow, ImageRow, Panel, TransferRow
from taskgroup.results.run_directory import DEFAULT_PARENT, RunDirectory
from taskgroup.results.storage.places import Place

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
            nothing labelled, or a network that answers NaN.
        ConfigError: An unknown trial number, or an option out of range.
        ResourceError: The run directory cannot be written, or a cluster does not work.
    """
    subjects, directory = resolve(str(which), run, runs)
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
    plan = BenchPlan(tuple(str(s.checkpoint) for s in subjects), options.split, options.seed)
    bench = open_bench(plan)
    plans = plan_networks(bench, options)
    store = None
    if directory is not None:
        store = ShardStore(directory.storage, tuple(subjects), plan, bench)
    results, panels = _run(bench, plan, plans, subjects, options, store, progress)
    done = finished(results)
    measured = [put_together(bench, plans, done, place) for place in range(len(subjects))]
    path = None if directory is None else directory.place
    found = _described(subjects, bench, plan, options, measured, panels, path)
    if directory is not None:
        _write(directory, found)
    return found


def measure(bench: Bench, options: EvaluationOptions) -> list[Measured]:
    """Evaluate the networks of a bench in this process, without a run directory.

    Raises:
        DataError, ConfigError: As ``evaluate``.
    """
    plans = plan_networks(bench, options)
    done = finished(run_here(bench, plan_shards(plans)))
    return [put_together(bench, plans, done, place) for place in range(len(plans))]


def plan_networks(bench: Bench, options: EvaluationOptions) -> list[NetworkPlan]:
    """What is done to each network of a bench.

    Raises:
        ConfigError: A radius or a task that is none.
        DataError: Nothing is labelled among the images.
    """
    others = judges(bench.networks)
    plans = []
    for place, (trained, dataset) in enumerate(zip(bench.networks, bench.datasets, strict=True)):
        threat, count = options.threat(trained), min(options.images, len(dataset))
        check_labels(bench, place, count)
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
                transferred=strong_condition(options.chosen_suite, threat, trained.main),
                count=count,
                per_shard=images_per_shard(
                    pixels[0].numel(), bench.device, channels=trained.main.channels
                ),
                judges=others[place],
                has_pictures=options.split == "test",
            )
        )
    return plans


def _run(
    bench: Bench,
    plan: BenchPlan,
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
    for shard, result in _run_all(bench, plan, todo, options):
        subject = subjects[shard.network]
        panels[shard] = shard_panels(subject, shard, result, bench.networks[shard.network].main)
        if store is not None:
            store.save(shard, result, panels[shard])
        results.append((shard, result))
        done += shard.cost
        if progress is not None:
            progress(round(done), round(total), f"{subject.label}: {shard.condition.name}")
    return results, [panel for shard in shards for panel in panels[shard]]


def _run_all(
    bench: Bench, plan: BenchPlan, shards: Sequence[Shard], options: EvaluationOptions
) -> Iterator[tuple[Shard, ShardResult]]:
    """Shards here, or in Ray tasks where they were asked for."""
    if not shards or not options.uses_ray:
        return run_here(bench, shards)
    from taskgroup.evaluation.shards.ray_tasks import run_with_ray

    return run_with_ray(plan, shards, workers=options.workers, address=options.address)


def _described(
    subjects: Sequence[Subject],
    bench: Bench,
    plan: BenchPlan,
    options: EvaluationOptions,
    measured: Sequence[Measured],
    panels: Sequence[Panel],
    path: str | None,
) -> Evaluated:
    """What was measured, as records."""
    makers = [
        RowMaker(subject, trained, found, options.chosen_suite, plan)
        for subject, trained, found in zip(subjects, bench.networks, measured, strict=True)
    ]
    transfers = transfer_rows(subjects, bench.networks, measured, seed=plan.seed, split=plan.split)
    return Evaluated(
        rows=tuple(row for maker in makers for row in maker.rows()),
        panels=tuple(panels),
        transfers=tuple(transfers),
        worst_images=tuple(row for maker in makers for row in maker.worst_images()),
        path=path,
    )


def _write(directory: RunDirectory, found: Evaluated) -> None:
    """Write the records, what the rows stand on first."""
    name = next_name(directory.storage, "worst_case")
    write_images(directory.storage, name, found.worst_images)
    if found.transfers:
        write_transfers(
            directory.storage, next_name(directory.storage, "transfers"), found.transfers
        )
    directory.write_evaluation(found.rows, found.panels)
