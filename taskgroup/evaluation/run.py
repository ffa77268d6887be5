"""``evaluate``: strong attacks on the networks of a run, on images that the search never saw."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from taskgroup.data.base import Batch, VisionDataset
from taskgroup.data.loading import batches, open_dataset
from taskgroup.errors import ConfigError
from taskgroup.evaluation.loading import TrainedModel, load_trained
from taskgroup.evaluation.network import evaluation_device
from taskgroup.evaluation.panels import make_panels
from taskgroup.evaluation.rows import make_rows
from taskgroup.evaluation.subjects import (
    Subject,
    one_checkpoint,
    one_trial,
    winner_and_baselines,
)
from taskgroup.evaluation.suite import measure, planned_passes
from taskgroup.results.records import EvaluationRow, Panel
from taskgroup.results.run_directory import DEFAULT_PARENT, RunDirectory, newest

BATCH_PIXELS = 2**17
"""Most pixels per batch, 32 images of 64 pixels; more is no faster on a CPU."""
FEWEST_BATCHES = 2
"""So that few images are shared among threads too; fixed, because random starts depend on it."""
BATCH_PIXELS_GPU = 2**21

Progress = Callable[[int, int, str], None]
"""Told what is done, what there is to do, and what is being done."""


@dataclass(frozen=True)
class Evaluated:
    """What one call of ``evaluate`` found.

    Attributes:
        rows: One per network, condition, task and score.
        panels: Pictures of the first images.
        path: The run directory that it was written to; None for a checkpoint without a run.
    """

    rows: tuple[EvaluationRow, ...]
    panels: tuple[Panel, ...]
    path: Path | None


def evaluate(
    which: str | int = "best",
    *,
    run: str | Path | None = None,
    runs: str | Path = DEFAULT_PARENT,
    images: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluated:
    """Attack trained networks on the test split and write what was found into the run directory.

    Args:
        which: ``best`` for the winner and the finished baselines, a trial's number, or the path of
            a checkpoint.
        run: The run directory; by default the newest below ``runs``, or the one that a checkpoint
            lies in.
        runs: Folder of run directories.
        images: How many of the first test images are used; fewer where the split is smaller.
        seed: Seed of attacks and of resampling.
        progress: Told after every batch.

    Raises:
        DataError: No such run, no finished trial, a damaged or foreign checkpoint, missing data.
        ConfigError: An unknown trial number, or an option out of range.
        ResourceError: The run directory cannot be written.
    """
    if images < 1:
        raise ConfigError(f"images must be at least 1, got {images}; 256 is the default")
    subjects, directory = _resolve(str(which), run, Path(runs))
    works = [_prepare(subject, images) for subject in subjects]
    told = _told(progress, sum(work.passes for work in works))
    rows: list[EvaluationRow] = []
    panels: list[Panel] = []
    for work in works:
        trained, data = work.trained, work.load()
        measured = measure(trained, data, seed=seed, advance=partial(told, work.subject.label))
        rows += make_rows(work.subject, trained, measured, seed=seed)
        panels += make_panels(work.subject, measured.outcomes, trained.main)
    if directory is not None:
        directory.write_evaluation(rows, panels)
    return Evaluated(tuple(rows), tuple(panels), None if directory is None else directory.path)


@dataclass(frozen=True)
class _Work:
    """One network and its test images, not yet decoded."""

    subject: Subject
    trained: TrainedModel
    dataset: VisionDataset
    num_images: int
    device: torch.device

    @property
    def passes(self) -> int:
        """How much ``measure`` will report."""
        return self.num_images * planned_passes(self.trained, self.dataset[0].images)

    def load(self) -> list[Batch]:
        """The images on the device, in batches of about the same number of pixels."""
        height, width = self.dataset[0].images.shape[-2:]
        if self.device.type == "cpu":
            share = math.ceil(self.num_images / FEWEST_BATCHES)
            size = min(share, max(1, BATCH_PIXELS // (height * width)))
        else:
            size = max(1, BATCH_PIXELS_GPU // (height * width))
        found = batches(self.dataset, batch_size=size, indices=range(self.num_images))
        return [batch.to(self.device) for batch in found]


def _prepare(subject: Subject, images: int) -> _Work:
    """Load a network and open its test split, so that what is missing is missed at once."""
    trained = load_trained(subject.checkpoint)
    device = evaluation_device()
    trained.model.to(device)
    dataset = open_dataset(trained.dataset, "test", trained.task_set)
    return _Work(subject, trained, dataset, min(images, len(dataset)), device)


def _resolve(
    which: str, run: str | Path | None, runs: Path
) -> tuple[list[Subject], RunDirectory | None]:
    """The networks that ``which`` names, and the run directory to write to."""
    if which == "best" or which.isdecimal():
        directory = newest(runs) if run is None else RunDirectory.open(run)
        if which == "best":
            return winner_and_baselines(directory), directory
        return [one_trial(directory, int(which))], directory
    path = Path(which)
    if not path.exists() and path.suffix == "" and len(path.parts) == 1:
        raise ConfigError(
            f"evaluate takes best, a trial's number or a checkpoint's path, got {which!r}; "
            "see the trials with: taskgroup runs show"
        )
    subject, home = one_checkpoint(path)
    return [subject], home if run is None else RunDirectory.open(run)


def _told(progress: Progress | None, total: int) -> Callable[[str, int, str], None]:
    """What adds up passes and tells ``progress`` about them."""
    done = 0

    def told(label: str, passes: int, condition: str) -> None:
        nonlocal done
        done += passes
        if progress is not None:
            progress(done, total, f"{label}: {condition}")

    return told
