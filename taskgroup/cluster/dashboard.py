"""Ray's dashboard: starting it with a search, and where it is."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray._private import ray_constants
from ray.experimental.internal_kv import _internal_kv_get

from taskgroup.cluster.resources import available_cpus, available_gpus, running_ray
from taskgroup.errors import ResourceError

MOST_PAGES = 3
"""Metrics pages that are printed; the others are one per node at the same path."""


@contextmanager
def shown_in_dashboard(say: Callable[[str], None] | None) -> Iterator[None]:
    """Ray with its dashboard for the time of a search.

    Args:
        say: Called with each line about where to look; None leaves everything as it is.

    Raises:
        ResourceError: The cluster that this process has joined runs no dashboard.
    """
    if say is None:
        yield
        return
    with running_ray(cpus=available_cpus(), gpus=available_gpus(), dashboard=True):
        for line in _addresses():
            say(line)
        yield


def _addresses() -> Iterator[str]:
    address = dashboard_address()
    if address is None:
        raise ResourceError(
            "--dashboard needs a cluster that runs Ray's dashboard, but this one does not; start "
            "its head with 'ray start --head --include-dashboard=true', or leave --dashboard out"
        )
    token = " (asks for the token that 'ray get-auth-token' prints)"
    yield f"Dashboard: http://{address}{token if _wants_token() else ''}"
    pages = metrics_pages()
    for page in pages[:MOST_PAGES]:
        yield f"Metrics:   {page}"
    if len(pages) > MOST_PAGES:
        yield f"           and {len(pages) - MOST_PAGES} more, one per node"


def _wants_token() -> bool:
    return os.environ.get("RAY_AUTH_MODE") == "token"  # Ray sets it where it turns tokens on


def dashboard_address() -> str | None:
    """Host and port of the running cluster's dashboard; None where it runs without."""
    found = _internal_kv_get(
        ray_constants.DASHBOARD_ADDRESS, namespace=ray_constants.KV_NAMESPACE_DASHBOARD
    )
    address = found.decode() if found else ""
    host, _, port = address.rpartition(":")
    try:  # the address is there even where no dashboard was asked for
        socket.create_connection((host.strip("[]"), int(port or 0)), timeout=2).close()
    except OSError:
        return None
    return address


def metrics_pages() -> tuple[str, ...]:
    """The page of each living node on which Prometheus finds its metrics."""
    return tuple(
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["MetricsExportPort"] > 0
    )
