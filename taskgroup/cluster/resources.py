"""What Ray has to offer, and a quiet cluster on this machine where none runs."""

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType

import ray
from ray._private import ray_constants

from taskgroup.cluster.placement import Node
from taskgroup.cluster.temporary import VARIABLE, ray_folder
from taskgroup.termination import handle_sigterm

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

    Ours listens on localhost only: nobody else on the network reaches it.

    Args:
        cpus: Cores of a new cluster.
        gpus: GPUs of a new cluster; None takes those that Ray finds.
        dashboard: Whether a new cluster runs Ray's dashboard, on its port or the next free one.
        resources: What else a new cluster offers, by name.
        settings: Environment meanwhile; what is set already stays.

    Raises:
        ResourceError: There is no folder for a new cluster's sockets.
    """
    ours = not ray.is_initialized()
    settings = {**settings, **_token(), **({VARIABLE: ray_folder()} if ours else {})}
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= {name: os.environ.get(name, value) for name, value in settings.items()}
    try:
        if ours:
            with _on_localhost():
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
            handle_sigterm()
        yield
    finally:
        if ours:
            ray.shutdown()
        _restore(before)


def _token() -> Mapping[str, str]:
    """A token for a cluster of ours, where Ray can neither find nor write one at home."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if named or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return {}
    try:
        token = Path.home() / ".ray" / "auth_token"
        if not token.is_file():
            token.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=token.parent) as file:
                file.write(bytes(len(_new_token())))
    except (OSError, RuntimeError):
        return {"RAY_AUTH_TOKEN": _new_token()}
    return {}


@cache
def _new_token() -> str:
    """The same for every cluster of this process, which reads it once."""
    return secrets.token_hex(32)


@contextmanager
def _on_localhost() -> Iterator[None]:
    """Let a cluster that starts now have no address but that of localhost.

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
