"""Ray on this machine: starting it quietly, and how many trials fit on it at once."""

import os
from contextlib import AbstractContextManager

import ray

from taskgroup.cluster.local import QUIET, ray_on_this_machine
from taskgroup.cluster.placement import Node

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


def available_nodes() -> tuple[Node, ...]:
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
