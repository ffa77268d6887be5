"""How many trials fit on the machines of a cluster at once. Knows no Ray."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from taskgroup.config import Config
from taskgroup.errors import ResourceError
from taskgroup.wording import counted, plural


class ResourcesConfig(Config):
    """The ``resources:`` section: what one trial takes."""

    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train one trial together; training.batch_size counts the images of all."""
    cpus: Annotated[int, Field(ge=1)] = 1
    """CPU cores of one worker."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of one worker; 0.5 puts two workers on one."""

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(
                f"resources.gpus must be a whole number or below 1, got {self.gpus:g}; a worker "
                "shares one GPU with others or has all of each"
            )
        return self


class Node(NamedTuple):
    """What one machine of a cluster has."""

    cpus: float
    gpus: float = 0


def concurrent_trials(
    resources: ResourcesConfig, *, cpus: int, gpus: int, nodes: Sequence[Node] = ()
) -> int:
    """How many trials run at once.

    A worker needs one node for itself; the workers of a trial may be on several.

    Args:
        resources: What one trial takes.
        cpus: Cores of all nodes together.
        gpus: GPUs of all nodes together.
        nodes: The nodes; none means one that has everything.

    Raises:
        ResourceError: Not even one fits.
    """
    needed = resources.workers * resources.cpus
    if needed > cpus:
        raise ResourceError(
            f"resources must fit this machine: workers x cpus is {resources.workers} x "
            f"{resources.cpus} = {needed}, but it has {cpus} CPU {plural(cpus, 'core')}; lower "
            "resources.workers or resources.cpus"
        )
    if resources.workers * resources.gpus > gpus:
        raise ResourceError(
            f"resources must fit this machine: workers x gpus is {resources.workers} x "
            f"{resources.gpus:g} = {resources.workers * resources.gpus:g}, but it has {gpus} "
            f"{plural(gpus, 'GPU')}; set resources.gpus: 0 to train on CPUs"
        )
    places = [_workers_on(node, resources) for node in nodes or (Node(cpus, gpus),)]
    if sum(places) < resources.workers:
        raise ResourceError(
            f"resources must fit the nodes: {counted(resources.workers, 'worker')} with cpus: "
            f"{resources.cpus} and gpus: {resources.gpus:g}, each on one node, but the nodes have "
            f"room for {' + '.join(map(str, places))}; lower resources.cpus or resources.workers"
        )
    return sum(places) // resources.workers


def _workers_on(node: Node, resources: ResourcesConfig) -> int:
    """How many workers one node holds; a worker with part of a GPU needs it on one GPU."""
    fits = int(node.cpus // resources.cpus)
    if resources.gpus == 0:
        return fits
    per_gpu = int(1 / resources.gpus + 1e-9)
    on_gpus = int(node.gpus) * per_gpu if per_gpu else int(node.gpus // resources.gpus)
    return min(fits, on_gpus)
