"""Everything that can be wrong with a trial, found before any data is decoded."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taskgroup.attacks.compatibility import check_fit, check_norm, check_seed_compatible
from taskgroup.data.base import check_tasks
from taskgroup.errors import ConfigError, TaskgroupError
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import predicted_by, resolve_attacked
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.tasks.base import Task, build_task
from taskgroup.tasks.options import with_options
from taskgroup.training.config import TrialConfig
from taskgroup.training.memory import machine_memory
from taskgroup.wording import format_bytes

Size = tuple[int, int]
NARROW = 64
"""Channels of the network that stands in for a wider one where weights are counted."""


def build_tasks(config: TrialConfig) -> tuple[Task, ...]:
    """The task set of a trial, main task first, after checking what the trial says about it.

    Raises:
        ConfigError: A task that the data set lacks, an option for an unknown task or one that does
            not fit its task, attacked tasks outside the task set, TRADES where it has no meaning,
            or a validation attack that does not fit the main task.
        DataError: The data set's files are missing.
    """
    check_tasks(config.dataset, config.task_set)
    check_tasks(config.dataset, tuple(config.task_options), named_in="task_options")
    infos = config.dataset.tasks()
    tasks = []
    for name in config.task_set:
        options = config.task_options.get(name)
        info = infos[name] if options is None else with_options(infos[name], options)
        tasks.append(build_task(info))
    if config.adversary.attack != "none":
        resolve_attacked(config.adversary.attacked_tasks, config.main_task, config.task_set)
    if config.adversary.is_trades:
        _check_trades(config, tasks[0])
    main = tasks[0]
    check_fit(config.validation.attack, predicted_by(main), num_classes=main.info.num_classes)
    check_seed_compatible(config.validation.attack, config.validation)
    check_norm(config.validation.attack, config.validation)
    return tuple(tasks)


def _check_trades(config: TrialConfig, main_task: Task) -> None:
    adversary = config.adversary
    if main_task.info.num_classes is None:
        raise ConfigError(
            f"adversary.method 'trades' needs a main task with classes, got {main_task.name!r}; "
            "write method: adversarial"
        )
    if adversary.attacked_tasks not in ("main", (config.main_task,)):
        raise ConfigError(
            "adversary.method 'trades' attacks the main task only, got attacked_tasks "
            f"{adversary.attacked_tasks!r}; write attacked_tasks: main"
        )
    if adversary.clean_share > 0:
        raise ConfigError(
            "adversary.clean_share must be 0 with method 'trades', which trains on every clean "
            f"image anyway, got {adversary.clean_share:g}; remove it"
        )
    if not adversary.random_start:
        raise ConfigError(
            "adversary.random_start must be true with method 'trades': its divergence has no "
            "slope at the clean image; remove the key"
        )


def check_crop(crop_size: int | None, size: Size) -> None:
    """Check that a square of ``crop_size`` pixels can be cut from images of ``size`` ``(H, W)``.

    Raises:
        ConfigError: It cannot.
    """
    if crop_size is not None and crop_size > min(size):
        raise ConfigError(
            f"training.crop_size must be at most the shorter side of the images, {min(size)} "
            f"pixels, got {crop_size}; lower it or remove it"
        )


@torch.no_grad()
def check_outputs(model: nn.Module, tasks: Sequence[Task], size: Size) -> None:
    """Check that every head predicts what its task takes, for images of ``size`` ``(H, W)``.

    Raises:
        ConfigError: A prediction has another shape than its task's targets.
    """
    device = next(model.parameters()).device
    with fixed_network(model):
        predictions = model(torch.zeros(1, 3, *size, device=device), [task.name for task in tasks])
    for task in tasks:
        expected = (1, task.channels, *(size if task.output == "map" else ()))
        found = tuple(predictions[task.name].shape)
        if found != expected:
            raise ConfigError(
                f"the head of {task.name!r} must predict shape {expected} for images of size "
                f"{size}, got {found}; choose another model.backbone or dataset.image_size"
            )


def check_network(
    config: ModelConfig, tasks: Sequence[Task], size: Size, *, cut: Size, batch: int
) -> None:
    """Try an untrained network once on two images, forward and backward, as a training would.

    Args:
        config: The ``model:`` section; published weights are not fetched for it.
        tasks: The task set.
        size: Height and width of the images that are scored.
        cut: Height and width of what is trained on.
        batch: Images of the smallest batch, 1 or more.

    Raises:
        ConfigError: The network cannot be built, its weights do not fit this machine, it cannot
            take such images or such a batch, or a head predicts another shape than its task's.
    """
    config = config.model_copy(update={"pretrained": False})
    _check_weights(config, tasks)
    images = min(batch, 2)  # two are as good as many: batch norm asks for more than one value
    try:
        with torch.random.fork_rng(devices=[]):
            _rehearse(config, tasks, size, cut=cut, batch=images)
    except TaskgroupError:
        raise
    except Exception as error:  # whatever a network raises, in every trial alike
        advice = "training.batch_size" if batch == 1 else "dataset.image_size"
        how = "in a batch of one image" if batch == 1 else "in batches"
        raise ConfigError(
            f"model.backbone {config.backbone} must be able to train on images of {cut[0]} x "
            f"{cut[1]} pixels {how}, but it raises {_described(error)}; choose another "
            f"model.backbone or {advice}"
        ) from None


def _rehearse(
    config: ModelConfig, tasks: Sequence[Task], size: Size, *, cut: Size, batch: int
) -> None:
    """One pass in training mode with the gradient of the images, then one in evaluation mode."""
    model = build_model(config, tasks, seed=0)
    images = torch.rand(batch, 3, *cut, requires_grad=True)
    outputs = model(images, [task.name for task in tasks]).values()
    values = [one for one in outputs if isinstance(one, Tensor) and one.requires_grad]
    if values:
        torch.autograd.grad([one.sum() for one in values], images, allow_unused=True)
    check_outputs(model, tasks, size)


def _check_weights(config: ModelConfig, tasks: Sequence[Task]) -> None:
    """Estimate from a narrow network, whose weights grow as the square of a width at most."""
    widest = max(config.width or 0, config.decoder_width)
    if widest <= NARROW:
        return
    narrow = {
        "width": None if config.width is None else min(config.width, NARROW),
        "decoder_width": min(config.decoder_width, NARROW),
    }
    model = build_model(config.model_copy(update=narrow), tasks, seed=0)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    needed, memory = int(weights * (widest / NARROW) ** 2), machine_memory()
    if needed > memory:
        raise ConfigError(
            f"the network's weights must fit in memory, {format_bytes(memory)} on this machine, "
            f"but take about {format_bytes(needed)}; lower model.width or model.decoder_width"
        )


def _described(error: Exception) -> str:
    """An error as one line: its kind, and what it says if it says anything."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
