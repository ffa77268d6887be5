"""Ray on this machine: starting it quietly, and how many trials fit on it at once."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import ray

from taskgroup.errors import ResourceError
from taskgroup.evaluation.distributed.local import QUIET, ray_on_this_machine
from taskgroup.search.study_config import ResourcesConfig

TRIAL_RESOURCE = "trial"
"""What the driver of a trial with several workers claims: it waits, and must take no CPU from them.
"""
MOST_DRIVERS = 1000
DRIVER_BYTES = 400 * 2**20
"""Measured memory of a driver's processes, claimed where there is no such resource."""

_TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our records replace Tune's per-trial files
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # robust scores may come every k epochs
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own state is never read back
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the same in a trial as on the command line
    "RAY_AIR_NEW_OUTPUT": "0",  # draws a header even when it is told to be silent
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a lost worker is noticed after 2 s otherwise
}
_WATCHED = {"RAY_TRAIN_ENABLE_STATE_TRACKING": "1"}  # lists trials with several workers


def available_cpus() -> int:
    """CPU cores that this process may use, or that the running Ray cluster has."""
    if ray.is_initialized():
        return int(_cluster("CPU"))
    return len(os.sched_getaffinity(0))


def available_gpus() -> int:
    """GPUs of this machine, or of the running Ray cluster."""
    if ray.is_initialized():
        return int(_cluster("GPU"))
    import torch

    return torch.cuda.device_count()


def _cluster(kind: str) -> float:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found.get(kind, 0)


def available_nodes() -> tuple["Node", ...]:
    """What each machine of the running Ray cluster has; none when there is no cluster."""
    if not ray.is_initialized():
        return ()
    alive = (node["Resources"] for node in ray.nodes() if node["Alive"])  # type: ignore[no-untyped-call]
    return tuple(Node(found.get("CPU", 0), found.get("GPU", 0)) for found in alive)


def driver_claim() -> dict[str, float]:
    """What the driver of a trial with several workers claims of the running cluster.

    A cluster that others started does not have our resource; a little memory is on every node.
    """
    if _cluster(TRIAL_RESOURCE) >= 1:
        return {TRIAL_RESOURCE: 1}
    return {"memory": DRIVER_BYTES}


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
            f"resources must fit this machine: {resources.workers} workers x {resources.cpus} cpus "
            f"need {needed} CPU cores, but there are {cpus}; lower resources.workers or "
            "resources.cpus"
        )
    if resources.workers * resources.gpus > gpus:
        raise ResourceError(
            f"resources must fit this machine: a trial needs {resources.workers * resources.gpus:g}"
            f" GPUs, but there are {gpus}; set resources.gpus: 0 to train on CPUs"
        )
    places = [_workers_on(node, resources) for node in nodes or (Node(cpus, gpus),)]
    if sum(places) < resources.workers:
        raise ResourceError(
            f"resources must fit the nodes: {resources.workers} workers of {resources.cpus} cpus "
            f"and {resources.gpus:g} gpus each need a place on one node, but the nodes have "
            f"{' + '.join(map(str, places))} places; lower resources.cpus or resources.workers"
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


def running_ray(*, cpus: int, gpus: int, dashboard: bool = False) -> AbstractContextManager[None]:
    """A Ray cluster for the time of a search; one that already runs is used and left running.

    Args:
        cpus: Cores of a new cluster.
        gpus: GPUs of a new cluster.
        dashboard: Whether a new cluster runs Ray's dashboard, on its port or the next free one.
    """
    return ray_on_this_machine(
        cpus=cpus,
        gpus=gpus,
        dashboard=dashboard,
        resources={TRIAL_RESOURCE: MOST_DRIVERS},
        settings={**QUIET, **_TUNE, **(_WATCHED if dashboard else {})},
    )
