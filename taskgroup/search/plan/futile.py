"""What a space compares although it cannot differ, or searches although it cannot matter."""

from taskgroup.search.plan.proxy import proxy_space
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.training.config import TrialConfig
from taskgroup.training.validation import is_robust_epoch

OWN_GRADIENTS = ("auto", "joint", "trades")
"""Steps that add losses, so that a head learns from its own task's alone."""


def futile_lines(space: SearchSpace) -> list[str]:
    """One line for everything of the kind; empty for a space that measures what it asks."""
    examples = tuple(space.examples())
    lines = [
        *_equal_scores(examples[0]),
        *_idle_rungs(space),
        *_random_backbone(examples),
        *_idle_tasks(examples),
    ]
    return [f"warning: {line}" for line in lines]


def _equal_scores(config: TrialConfig) -> list[str]:
    if config.validation.epsilon > 0:
        return []
    return [
        "validation.epsilon is 0, so every robust score equals the clean one; "
        "give it the radius of the threat model, such as 4/255"
    ]


def _idle_rungs(space: SearchSpace) -> list[str]:
    """Rungs that no trial passes with a score before it ends."""
    proxy = space.search.proxy
    compared = space if proxy is None else proxy_space(space, proxy)
    last = compared.planned_epochs
    if space.search.scheduler == "none":
        return []
    advice = "train longer, or set search.scheduler to none"
    if not compared.rungs:
        return [
            f"search.scheduler {space.search.scheduler} can stop no trial: its first rung would "
            f"not be before the last epoch, {last}; lower search.grace_epochs, {advice}"
        ]
    first = compared.rungs[0]
    if any(_is_compared(compared, epoch) for epoch in range(first, last)):
        return []
    return [
        f"search.scheduler {space.search.scheduler} can stop no trial: from its first rung, epoch "
        f"{first}, robust scores are measured after the last epoch, {last}, alone; "
        f"lower validation.every, {advice}"
    ]


def _is_compared(space: SearchSpace, epoch: int) -> bool:
    """Whether a trial of full length has a value of every objective after an epoch."""
    if all("/clean/" in objective.metric for objective in space.objectives):
        return True
    return is_robust_epoch(space.example().validation, epoch, space.planned_epochs)


def _random_backbone(examples: tuple[TrialConfig, ...]) -> list[str]:
    models = [config.model for config in examples]
    if not any(model.frozen and not model.pretrained for model in models):
        return []
    return [
        "model.frozen without model.pretrained keeps the backbone at random weights for ever; "
        "set model.pretrained to true, or model.frozen to false"
    ]


def _idle_tasks(examples: tuple[TrialConfig, ...]) -> list[str]:
    if not all(config.auxiliary_tasks and _has_separate_tasks(config) for config in examples):
        return []
    return [
        "model.frozen shares nothing that trains, so auxiliary tasks cannot change the main task "
        "under fixed weights; set model.frozen to false"
    ]


def _has_separate_tasks(config: TrialConfig) -> bool:
    """Whether the main task's decoder and head train as they would alone.

    Tasks meet in what they share, in the weights of a weighting that learns, in a common norm that
    gradients are clipped to, and in images that are attacked for several of them.
    """
    training, adversary = config.training, config.adversary
    is_main_attacked = adversary.attacked_tasks in ("main", (config.main_task,))
    return (
        config.model.frozen
        and training.weighting == "fixed"
        and training.step in OWN_GRADIENTS
        and training.clip_norm is None
        and (adversary.attack == "none" or is_main_attacked)
    )
