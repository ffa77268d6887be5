"""Ray on this machine: starting it quietly, and how many trials fit on it at once."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from taskgroup.errors import ConfigError, ResourceError
from taskgroup.search.study_config import ResourcesConfig

OBJECT_STORE_BYTES = 256 * 2**20
"""Trials exchange small records only, so Ray's shared memory stays small."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # trials hide GPUs themselves; Ray would warn
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our records replace Tune's per-trial files
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # robust scores may come every k epochs
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own state is never read back
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the same in a trial as on the command line
    "RAY_AIR_NEW_OUTPUT": "0",  # draws a header even when it is told to be silent
}


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


def concurrent_trials(resources: ResourcesConfig, *, cpus: int, gpus: int) -> int:
    """How many trials run at once on ``cpus`` cores and ``gpus`` GPUs.

    Raises:
        ResourceError: Not even one fits.
        ConfigError: A trial asks for several workers.
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
    if resources.workers > 1:
        raise ConfigError(
            f"resources.workers must be 1 in this version, got {resources.workers}; "
            "several processes for one trial are not supported yet, give it more resources.cpus"
        )
    fits = cpus // resources.cpus
    return min(fits, int(gpus / resources.gpus)) if resources.gpus else fits


@contextmanager
def running_ray(*, cpus: int, gpus: int) -> Iterator[None]:
    """A Ray cluster for the time of a search; one that already runs is used and left running."""
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ |= {name: os.environ.get(name, value) for name, value in _QUIET.items()}
    ours = not ray.is_initialized()
    try:
        if ours:
            ray.init(
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
            )
        yield
    finally:
        if ours:
            ray.shutdown()
        _restore(before)


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
