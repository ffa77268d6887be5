"""From a model and its tasks to what an attack sees."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from taskgroup.attacks.base import Evaluation, Predicts, Scoring
from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.losses.logits import logit_gap
from taskgroup.errors import ConfigError
from taskgroup.evaluation.objective.network import autocast
from taskgroup.tasks.base import Target, Task

Join = Literal["sum", "log_sum"]
SMALLEST_LOSS = 1e-12
"""Least loss whose logarithm is taken: a task without a label in an image has no say there."""


class _Raised(NamedTuple):
    """What an attack raises instead of the main task's own loss; see ``TaskObjective``."""

    loss: str | None
    tracks: Literal["task", "raised"]
    towards: Tensor | None
    temperature: Tensor | None
    score: Scoring

    def select(self, index: Tensor) -> "_Raised":
        """The same for some of the images."""
        return self._replace(
            towards=None if self.towards is None else self.towards[index],
            temperature=None if self.temperature is None else self.temperature[index],
        )


class TaskObjective:
    """The losses of some tasks of a network, per image; contract 3.

    Per image the loss is the sum over attacked tasks of ``loss_sum / (H W)`` (of ``loss_sum`` for a
    vector task), or of its logarithm. Dividing by all pixels, not by the valid ones, leaves each
    image's ascent direction as it is and counts an image with few labels for little. Only the
    attacked heads run, and the main one where its score is wanted.

    The gradient of the logarithms is that of each loss over the loss itself: a small loss has as
    much say as a large one, and the unit of a task drops out. It raises the mean relative change of
    the losses, as DGBA does (Zhang et al. 2023, arXiv:2305.12066).

    The main task may be attacked through another loss than its own, which then is still the one
    that is tracked: masked losses fall where an attack succeeds.

    The network is used as it stands: wrap the attack in ``fixed_network`` for evaluation mode.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[Task],
        targets: Mapping[str, Target],
        *,
        main_task: str | None,
        attacked_tasks: Sequence[str],
        join: Join = "sum",
        loss: str | None = None,
        tracks: Literal["task", "raised"] = "task",
        towards: Tensor | None = None,
        temperature: Tensor | None = None,
        score: Scoring = "main",
        autocast: torch.dtype | None = None,
    ) -> None:
        """Bind a network to a batch.

        Args:
            model: ``model(images, names)`` gives a prediction per name.
            tasks: The task set.
            targets: One target per attacked task and for the main one.
            main_task: The task whose main score is ``Evaluation.score``; None spares its head and
                metric, and the score is NaN.
            attacked_tasks: Tasks whose losses are raised, at least one.
            join: How the tasks' losses become one: their sum, or the sum of their logarithms.
            loss: Attack loss of the main task, by name; None is the task's own loss.
            tracks: Loss that ranks iterates where ``loss`` is given: the tasks' own or ``loss``.
            towards: Class that a targeted loss goes towards, of the main target's shape.
            temperature: What ``loss`` sees the logits divided by, ``(N,)`` above 0; None is 1.
            score: What ``Evaluation.score`` is; another than ``main`` needs a main task of classes.
            autocast: Number format of the forward pass; None is float32. Losses are float32.

        Raises:
            ConfigError: A task that is not in the set, or none to attack; an unknown attack loss,
                or one without a main task to attack.
        """
        self.model = model
        self.tasks = tuple(tasks)
        self.targets = targets
        self.main_task = main_task
        self.attacked_tasks = tuple(attacked_tasks)
        self.join = join
        self.autocast = autocast
        named = {task.name: task for task in tasks}
        self._raised = _Raised(loss, tracks, towards, temperature, score)
        _check_attacked(self.attacked_tasks, tuple(named))
        _check_loss(loss, main_task, self.attacked_tasks)
        self._attacked = [named[name] for name in self.attacked_tasks]
        self._main = named[main_task] if main_task is not None else None
        self._metric = self._main.metric() if self._main is not None else None
        self._heads = list(dict.fromkeys([*attacked_tasks, *([main_task] if main_task else [])]))

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        """Evaluate images ``(N, 3, H, W)`` in one forward pass.

        ``progress`` matters to an attack loss that has a schedule, and to nothing else.
        """
        with autocast(images.device, self.autocast):
            predictions = self.model(images, self._heads)
        losses = {task.name: self._loss(task, predictions[task.name]) for task in self._attacked}
        tracked = self._joined(losses)
        loss = tracked
        if self._raised.loss is not None and self._main is not None:
            raised = self._attack_loss(self._main, predictions[self._main.name], progress)
            loss = self._joined({**losses, self._main.name: raised})
        if self._raised.tracks == "raised":
            tracked = loss
        return Evaluation(loss, tracked.detach(), self._score(predictions, progress, loss.detach()))

    def select(self, index: Tensor) -> "TaskObjective":
        """The objective of some of the images; ``index`` is ``(M,)`` int64 or ``(N,)`` bool."""
        targets = {
            name: target.map(lambda tensor: tensor[index]) for name, target in self.targets.items()
        }
        return self._with(targets, self.main_task, self._raised.select(index))

    def with_loss(
        self,
        loss: str,
        *,
        tracks: Literal["task", "raised"] = "task",
        towards: Tensor | None = None,
        temperature: Tensor | None = None,
        score: Scoring = "main",
    ) -> "TaskObjective":
        """The same images under another attack loss of the main task, scored by that task.

        Without a main task the first attacked one is it.
        """
        main_task = self.main_task or self.attacked_tasks[0]
        raised = _Raised(loss, tracks, towards, temperature, score)
        return self._with(self.targets, main_task, raised)

    def of_network(self, model: nn.Module) -> "TaskObjective":
        """The same objective of another network with the same heads."""
        return self._with(self.targets, self.main_task, self._raised, model=model)

    @property
    def predicts(self) -> Predicts:
        """What the main task predicts; without a main task, the first attacked one."""
        return predicted_by(self._named_main)

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that the main task reports, its main score first."""
        return tuple(self._named_main.metric().directions)

    @property
    def labels(self) -> Tensor:
        """Classes of the main task ``(N,)``; -1 where an image has none."""
        target = self.targets[self._named_main.name]
        return target.values.where(target.valid, -1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of the main task, float32.

        Raises:
            ConfigError: The main task does not give one class per image.
        """
        task = self._named_main
        if self.predicts != "class":
            raise ConfigError(
                f"this attack needs one class per image, but task {task.name!r} is not "
                "a classification; choose sea for class maps, apgd for numbers"
            )
        with autocast(images.device, self.autocast):
            return self.model(images, [task.name])[task.name].float()  # type: ignore[no-any-return]

    @torch.no_grad()
    def logit_gap(self, images: Tensor) -> Tensor:
        """Mean over valid pixels of the highest minus the second highest logit, ``(N,)``."""
        task = self._named_main
        with autocast(images.device, self.autocast):
            prediction = self.model(images, [task.name])[task.name]
        return logit_gap(prediction, self.targets[task.name].valid)

    @property
    def _named_main(self) -> Task:
        return self._main if self._main is not None else self._attacked[0]

    def _with(
        self,
        targets: Mapping[str, Target],
        main_task: str | None,
        raised: _Raised,
        *,
        model: nn.Module | None = None,
    ) -> "TaskObjective":
        return TaskObjective(
            self.model if model is None else model,
            self.tasks,
            targets,
            main_task=main_task,
            attacked_tasks=self.attacked_tasks,
            join=self.join,
            loss=raised.loss,
            tracks=raised.tracks,
            towards=raised.towards,
            temperature=raised.temperature,
            score=raised.score,
            autocast=self.autocast,
        )

    def _joined(self, losses: Mapping[str, Tensor]) -> Tensor:
        stacked = torch.stack(list(losses.values()))
        return stacked.sum(0) if self.join == "sum" else _log_sum(stacked)

    def _attack_loss(self, task: Task, prediction: Tensor, progress: float) -> Tensor:
        name, temperature = self._raised.loss, self._raised.temperature
        assert name is not None
        target, logits = self.targets[task.name], prediction.float()
        if temperature is not None:
            logits = logits / temperature.view(-1, *[1] * (logits.ndim - 1))
        # Without known shares all classes weigh alike.
        shares = task.info.class_shares or (1.0,) * (task.info.num_classes or 0)
        setting = Setting(progress, inverse_shares(shares), self._raised.towards)
        return LOSSES[name](logits, target.values, target.valid, setting)

    def _loss(self, task: Task, prediction: Tensor) -> Tensor:
        target = self.targets[task.name]
        return task.loss(prediction.float(), target).loss_sum / target.valid[0].numel()

    @torch.no_grad()
    def _score(self, predictions: Mapping[str, Tensor], progress: float, loss: Tensor) -> Tensor:
        if self._main is None or self._metric is None:
            return torch.full_like(loss, torch.nan)
        target = self.targets[self._main.name]
        prediction = predictions[self._main.name].detach().float()
        if self._raised.score == "accuracy":
            return pixel_accuracy(prediction, target)
        if self._raised.score == "seed_accuracy":
            return seed_pixel_accuracy(prediction, target, is_first=progress == 0)
        sums = self._metric.per_image(prediction, target.values, target.valid)
        return self._metric.score(sums)[self._main.main_score].float()


def _log_sum(losses: Tensor) -> Tensor:
    """Sum over tasks of the logarithms of losses ``(T, N)``; a loss of 0 counts nothing."""
    logs = losses.clamp(min=SMALLEST_LOSS).log()
    return torch.where(losses > SMALLEST_LOSS, logs, 0.0).sum(0)


def predicted_by(task: Task) -> Predicts:
    """What a task's head predicts, for attacks that fit some kinds only."""
    if task.info.num_classes is None:
        return "numbers"
    return "class_map" if task.output == "map" else "class"


def inverse_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Weights of classes, inverse to their shares of the pixels, that sum to 1.

    A class without a pixel weighs as much as the rarest that has some; no shares give no weights.

    Example:
        >>> [round(weight, 3) for weight in inverse_shares((0.75, 0.25, 0.0))]
        [0.143, 0.429, 0.429]
    """
    rarest = min((share for share in shares if share > 0), default=1.0)
    inverse = [1 / max(share, rarest) for share in shares]
    return tuple(weight / sum(inverse) for weight in inverse)


def resolve_attacked(
    attacked: Literal["main", "all"] | Sequence[str], main_task: str, task_set: Sequence[str]
) -> tuple[str, ...]:
    """Names of the attacked tasks.

    Args:
        attacked: ``main``, ``all``, or names.
        main_task: The task to protect.
        task_set: Every task of the network.

    Raises:
        ConfigError: A name outside the task set, or no name at all.
    """
    if attacked == "main":
        return (main_task,)
    names = tuple(task_set) if attacked == "all" else tuple(attacked)
    _check_attacked(names, task_set)
    return names


def _check_attacked(names: Sequence[str], task_set: Sequence[str]) -> None:
    known = ", ".join(task_set)
    if not names:
        raise ConfigError(f"attacked_tasks must name at least one task; choose from: {known}")
    for name in names:
        if name not in task_set:
            raise ConfigError(
                f"attacked_tasks must lie in the task set, got {name!r}; choose from: {known}"
            )


def _check_loss(loss: str | None, main_task: str | None, attacked: Sequence[str]) -> None:
    if loss is None:
        return
    _ = LOSSES[loss]
    if main_task not in attacked:
        raise ConfigError(
            f"attack loss {loss!r} is one of the main task, which must be attacked then, got main "
            f"task {main_task!r} and attacked_tasks {', '.join(attacked)}; add it, or leave the "
            "loss out"
        )


def pixel_accuracy(prediction: Tensor, target: Target) -> Tensor:
    """Share of the valid pixels that are right, ``(N,)``; NaN where nothing is valid.

    SEA follows it from step to step. Unlike a metric's counts it reads no tensor on the host, so a
    GPU is never waited for.

    Args:
        prediction: Logits ``(N, K, H, W)``, or ``(N, K)`` for one class per image.
        target: Classes ``(N, H, W)`` or ``(N,)``.
    """
    right = (prediction.argmax(1) == target.values) & target.valid
    return _count(right) / _count(target.valid)


def seed_pixel_accuracy(prediction: Tensor, target: Target, *, is_first: bool) -> Tensor:
    """The same as the published SEA code counts it: over all pixels, ``(N,)``.

    There an ignored pixel is wrong when an attack begins and right ever after, so that the start
    looks better to the attack than whatever it finds.
    """
    right = prediction.argmax(1) == target.values
    counted = right & target.valid if is_first else right | ~target.valid
    return _count(counted) / target.valid[0].numel()


def _count(pixels: Tensor) -> Tensor:
    return pixels.unsqueeze(-1).flatten(1).sum(1).float()
