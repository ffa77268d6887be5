"""One trial: check, build, run. Runs without Ray; whoever searches hands a reporter in."""

import math
import time
from dataclasses import dataclass

from taskgroup.data.base import VisionDataset
from taskgroup.data.loading import open_dataset
from taskgroup.models.checkpoint import load_checkpoint
from taskgroup.results.records import EpochRow
from taskgroup.results.storage.places import Place
from taskgroup.tasks.base import output_dimension
from taskgroup.training.build import build_state
from taskgroup.training.checks import build_tasks, check_crop, check_outputs
from taskgroup.training.config import TrialConfig
from taskgroup.training.epoch import Trainer, num_images
from taskgroup.training.memory import peak_memory, reset_peak_memory
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.precision import training_device
from taskgroup.training.reporter import Reporter
from taskgroup.training.schedules import Schedule
from taskgroup.training.state import TrialState, restore_state, save_state
from taskgroup.training.validation import (
    clean_scores,
    is_robust_epoch,
    is_scored_epoch,
    robust_scores,
)


def fit(
    config: TrialConfig,
    reporter: Reporter,
    *,
    checkpoint: Place | None = None,
    resume: Place | None = None,
    group: WorkerGroup = ALONE,
) -> None:
    """Train and score one trial on this process's device, alone or as one of several workers.

    Everything random follows from ``config.seed``. On one CPU machine in float32 a trial that
    stops after an epoch and resumes ends with the same bits as one that never stopped. The number
    of workers changes rounding only (and which units dropout drops): batches, augmentation and the
    noise of attacks are the same, and a trial may resume with another number of workers.

    Args:
        config: The trial.
        reporter: Told when training starts and after every epoch, by the first worker only.
        checkpoint: Written after every epoch by the first worker, before the reporter hears of it.
        resume: Checkpoint of the same trial to continue from; nothing is trained or reported when
            all its epochs are done. The first worker reads it for all.
        group: The workers that train the trial; each calls this function.

    Raises:
        ConfigError: The trial cannot be trained as described; raised before data is decoded.
        DataError: Data or checkpoint are missing, foreign or damaged.
        DivergedError: A loss or a parameter became NaN or infinite, on every worker alike; the
            epoch is not reported.
        WorkerLost: Another worker is gone.
    """
    state, rows = prepare(config, resume=resume, group=group)
    if len(rows) >= config.training.epochs:
        return
    trial = _open(state, group)
    if group.is_first:
        reporter.started(output_dimension(state.tasks, trial.image_size))
    for epoch in range(len(rows), config.training.epochs):
        row = trial.run_epoch(epoch)
        rows = (*rows, row)
        if not group.is_first:
            continue
        if checkpoint is not None:
            save_state(state, rows, checkpoint)
        reporter.epoch(row)


def prepare(
    config: TrialConfig, *, resume: Place | None = None, group: WorkerGroup = ALONE
) -> tuple[TrialState, tuple[EpochRow, ...]]:
    """Check a trial and build its network, without touching a single image.

    Args:
        config: The trial.
        resume: Checkpoint to load into it, read by the first worker.
        group: The workers that train the trial.

    Returns:
        The state to train, and the rows of the epochs that it has behind it.

    Raises:
        ConfigError: The trial cannot be trained as described.
        DataError: The data set's files or the checkpoint are missing or foreign.
    """
    tasks = build_tasks(config)
    state = build_state(config, tasks, device=training_device(), group=group)
    if config.dataset.image_size is not None:
        size = (config.dataset.image_size, config.dataset.image_size)
        check_outputs(state.model, tasks, size)
        check_crop(config.training.crop_size, size)
    found = None if resume is None or not group.is_first else load_checkpoint(resume)
    saved = group.from_first(found)
    return state, (() if saved is None else restore_state(state, saved))


@dataclass(frozen=True)
class _Trial:
    """A prepared trial with its data."""

    trainer: Trainer
    validation: VisionDataset
    image_size: tuple[int, int]

    def run_epoch(self, epoch: int) -> EpochRow:
        """Train epoch ``epoch``, counted from 0, and score the network after it."""
        device = self.trainer.device
        reset_peak_memory(device)
        begin = time.perf_counter()
        metrics = self.trainer.train_epoch(epoch)
        metrics["images_per_second"] = len(self.trainer.dataset) / (time.perf_counter() - begin)
        metrics |= self._scores(epoch + 1)
        seconds = time.perf_counter() - begin
        peak = self.trainer.group.largest(peak_memory(device))
        return EpochRow(epoch + 1, metrics, seconds, peak)

    def _scores(self, epoch: int) -> dict[str, float]:
        state, device = self.trainer.state, self.trainer.device
        if not is_scored_epoch(state.config.validation, epoch, state.config.training.epochs):
            return {}
        inputs = (state.config, state.model, state.tasks, self.validation)
        group = self.trainer.group
        scores = clean_scores(*inputs, device=device, group=group)
        if is_robust_epoch(state.config.validation, epoch, state.config.training.epochs):
            scores |= robust_scores(*inputs, device=device, group=group)
        return scores


def _open(state: TrialState, group: WorkerGroup) -> _Trial:
    """Open the data that a trial trains on and is scored on."""
    config, device = state.config, training_device()
    train = open_dataset(config.dataset, "train", config.task_set)
    validation = open_dataset(config.dataset, config.validation.split, config.task_set)
    height, width = train.batch([0]).images.shape[-2:]
    check_outputs(state.model, state.tasks, (height, width))
    check_crop(config.training.crop_size, (height, width))
    steps = math.ceil(
        num_images(len(train), config.training.batch_size) / config.training.batch_size
    )
    trainer = Trainer(state, Schedule(config.training, steps), train, device, group)
    return _Trial(trainer, validation, (height, width))
