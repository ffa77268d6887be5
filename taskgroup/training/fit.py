"""One trial: check, build, run. Runs without Ray; whoever searches hands a reporter in."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

from taskgroup.data.base import VisionDataset
from taskgroup.data.loading import open_dataset
from taskgroup.models.multitask import output_dimension
from taskgroup.results.records import EpochRow
from taskgroup.training.adversary import build_adversary
from taskgroup.training.build import build_state
from taskgroup.training.checks import build_tasks, check_outputs
from taskgroup.training.config import TrialConfig
from taskgroup.training.epoch import Trainer, num_images
from taskgroup.training.memory import peak_memory, reset_peak_memory
from taskgroup.training.precision import autocast_dtype, training_device
from taskgroup.training.reporter import Reporter
from taskgroup.training.schedules import Schedule
from taskgroup.training.state import TrialState, restore_state, save_state
from taskgroup.training.validation import clean_scores, is_robust_epoch, robust_scores


def fit(
    config: TrialConfig,
    reporter: Reporter,
    *,
    checkpoint: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train and score one trial on this process's device.

    Everything random follows from ``config.seed``. On one CPU machine in float32 a trial that
    stops after an epoch and resumes ends with the same bits as one that never stopped.

    Args:
        config: The trial.
        reporter: Told when training starts and after every epoch.
        checkpoint: Written after every epoch, before the reporter hears of it.
        resume: Checkpoint of the same trial to continue from; nothing is trained or reported when
            all its epochs are done.

    Raises:
        ConfigError: The trial cannot be trained as described; raised before data is decoded.
        DataError: Data or checkpoint are missing, foreign or damaged.
        DivergedError: A loss or a parameter became NaN or infinite; the epoch is not reported.
    """
    state, rows = prepare(config, resume=resume)
    if len(rows) >= config.training.epochs:
        return
    trial = _open(state)
    reporter.started(output_dimension(state.tasks, trial.image_size))
    for epoch in range(len(rows), config.training.epochs):
        row = trial.run_epoch(epoch)
        rows = (*rows, row)
        if checkpoint is not None:
            save_state(state, rows, checkpoint)
        reporter.epoch(row)


def prepare(
    config: TrialConfig, *, resume: Path | None = None
) -> tuple[TrialState, tuple[EpochRow, ...]]:
    """Check a trial and build its network, without touching a single image.

    Args:
        config: The trial.
        resume: Checkpoint to load into it.

    Returns:
        The state to train, and the rows of the epochs that it has behind it.

    Raises:
        ConfigError: The trial cannot be trained as described.
        DataError: The data set's files or the checkpoint are missing or foreign.
    """
    tasks = build_tasks(config)
    state = build_state(config, tasks, device=training_device())
    if config.dataset.image_size is not None:
        check_outputs(state.model, tasks, (config.dataset.image_size, config.dataset.image_size))
    return state, (() if resume is None else restore_state(state, resume))


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
        return EpochRow(epoch + 1, metrics, seconds, peak_memory(device))

    def _scores(self, epoch: int) -> dict[str, float]:
        state, device = self.trainer.state, self.trainer.device
        inputs = (state.config, state.model, state.tasks, self.validation)
        scores = clean_scores(*inputs, device=device)
        if is_robust_epoch(state.config.validation, epoch, state.config.training.epochs):
            scores |= robust_scores(*inputs, device=device)
        return scores


def _open(state: TrialState) -> _Trial:
    """Open the data that a trial trains on and is scored on."""
    config, device = state.config, training_device()
    train = open_dataset(config.dataset, "train", config.task_set)
    validation = open_dataset(config.dataset, config.validation.split, config.task_set)
    height, width = train.batch([0]).images.shape[-2:]
    check_outputs(state.model, state.tasks, (height, width))
    adversary = build_adversary(
        config,
        state.model,
        state.tasks,
        precision=autocast_dtype(config.training.precision, device),
    )
    steps = math.ceil(
        num_images(len(train), config.training.batch_size) / config.training.batch_size
    )
    trainer = Trainer(state, adversary, Schedule(config.training, steps), train, device)
    return _Trial(trainer, validation, (height, width))
