"""From a ``model:`` section and a task set to a network."""

from collections.abc import Sequence

from taskgroup.errors import ConfigError
from taskgroup.models.base import NETWORKS, ModelConfig, Network
from taskgroup.tasks.base import Task


def build_model(config: ModelConfig, tasks: Sequence[Task], *, seed: int) -> Network:
    """A network in training mode, channels-last, on the CPU; see ``Network.build``.

    Args:
        config: The ``model:`` section.
        tasks: The task set; each gets an output.
        seed: Seed of the first weights.

    Raises:
        ConfigError: An unknown network, backbone or decoder, an option that the backbone does not
            have, a task set that is empty or names a task twice.
        ResourceError: Pretrained weights that cannot be fetched.
    """
    check_model(config)
    _check_task_set(tasks)
    return NETWORKS[config.network].build(config, tasks, seed=seed)


def check_model(config: ModelConfig) -> None:
    """Raise ConfigError for a ``model:`` section that cannot be built; builds and fetches nothing.

    Args:
        config: The ``model:`` section.
    """
    NETWORKS[config.network].check(config)


def _check_task_set(tasks: Sequence[Task]) -> None:
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"a model needs one or more different tasks, got {names}; list each task once"
        )
