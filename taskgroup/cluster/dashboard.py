"""Ray's dashboard: starting it with a search, where it is, and what trials are called in it."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

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


def name_actor(name: str) -> None:
    """Call this actor ``name`` in the dashboard from now on.

    Ray asks an actor for its text once, when it starts, but a warm actor runs one trial after
    another. The dashboard takes a new text whenever it hears of the actor, so this process
    publishes what the cluster knows of it, with the new text. Costs some milliseconds. A name is
    not worth a trial: whatever goes wrong here is left alone.
    """
    with suppress(Exception):
        context = ray.get_runtime_context()
        _publish_name(bytes.fromhex(context.get_actor_id() or ""), name, context.gcs_address)


def _publish_name(actor: bytes, name: str, cluster: str) -> None:
    from ray._private import gcs_utils
    from ray._private.state import state

    modules = ("gcs_pb2", "pubsub_pb2", "gcs_service_pb2", "gcs_service_pb2_grpc")
    gcs, pubsub, requests, services = (
        import_module(f"ray.core.generated.{module}") for module in modules
    )
    known = gcs.ActorTableData.FromString(state.get_actor_info(ray.ActorID(actor)))
    known.repr_name = name
    channel = pubsub.GCS_ACTOR_CHANNEL
    message = pubsub.PubMessage(channel_type=channel, key_id=actor, actor_message=known)
    request = requests.GcsPublishRequest(pub_messages=[message])
    with gcs_utils.create_gcs_channel(cluster) as connection:
        services.ControlPlanePubSubGcsServiceStub(connection).GcsPublish(request, timeout=5)
