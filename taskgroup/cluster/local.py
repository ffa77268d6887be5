"""A Ray cluster on this machine for the time of a search or an evaluation, started quietly."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import ray
from ray._private import ray_constants

OBJECT_STORE_BYTES = 256 * 2**20
"""Trials and shards exchange small records, so Ray's shared memory stays small."""
QUIET: Mapping[str, str] = MappingProxyType(
    {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # who uses no GPU hides them; Ray would warn
        "RAY_raylet_start_wait_time_s": "180",  # on a busy machine Ray's own 30 s are not enough
    }
)
"""Environment of every cluster that we start; what is set already stays."""


@contextmanager
def ray_on_this_machine(
    *,
    cpus: int,
    gpus: int | None = None,
    dashboard: bool = False,
    resources: Mapping[str, float] | None = None,
    settings: Mapping[str, str] = QUIET,
) -> Iterator[None]:
    """A new cluster, ended at the end; one that already runs is used and left running.

    Ours listens on the loopback interface only: nobody else on the network reaches it.

    Args:
        cpus: Cores of a new cluster.
        gpus: GPUs of a new cluster; None takes those that Ray finds.
        dashboard: Whether a new cluster runs Ray's dashboard, on its port or the next free one.
        resources: What else a new cluster offers, by name.
        settings: Environment meanwhile; what is set already stays.
    """
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= {name: os.environ.get(name, value) for name, value in settings.items()}
    ours = not ray.is_initialized()
    try:
        if ours:
            with _on_loopback():
                ray.init(
                    address="local",  # else Ray joins whatever cluster was started on this machine
                    num_cpus=cpus,
                    num_gpus=gpus,
                    include_dashboard=dashboard,
                    resources=None if resources is None else dict(resources),
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                )
        yield
    finally:
        if ours:
            ray.shutdown()
        _restore(before)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a cluster that starts now have no address but the loopback one.

    Ray does so on macOS and Windows. On Linux its metrics page would answer the whole network. This
    process has read the variable already; those that the cluster consists of read it at their
    start, and one that thinks otherwise, such as the dashboard's, finds no node at its address.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    asked, before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    if not asked:
        os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        _restore({name: asked})


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
