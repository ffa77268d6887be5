"""Whether a Ray cluster answers at an address, in seconds.

Ray itself waits two minutes for a cluster that is not there and then ends the process.
"""

import os
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass, field

import grpc
import ray

from taskgroup.errors import ResourceError

ANSWER_SECONDS = 5.0
"""How long a cluster may take to answer; a slow network's round trip is a tenth of that."""
CLIENT_PREFIX = "ray://"
_HEALTH = "/grpc.health.v1.Health/Check"
"""gRPC's own method, which a cluster answers and its client server does not have."""


@dataclass(frozen=True)
class Address:
    """Where a running cluster is.

    Attributes:
        host: Name or IP address of its head node.
        port: Port there, of the cluster itself or of its client server.
        is_client: Whether it is reached from outside, by Ray Client.
        given: What it was found from, for messages.
    """

    host: str
    port: int
    is_client: bool
    given: str = field(compare=False)

    def __str__(self) -> str:
        return f"{CLIENT_PREFIX if self.is_client else ''}{self.host}:{self.port}"


def find_cluster(text: str) -> Address:
    """The cluster that an ``--address`` names, once it has answered.

    Args:
        text: ``auto`` for the cluster that this machine belongs to, ``host:port`` for a cluster
            that it belongs to, ``ray://host:port`` for one that it does not.

    Raises:
        ResourceError: The address is malformed, or no cluster answers there.
    """
    address = _parsed(_of_this_machine() if text == "auto" else text)
    if os.environ.get("RAY_USE_TLS", "0") == "0":  # only Ray has the certificates to ask more
        _check_answer(address)
    else:
        _check_listens(address)
    return address


def _parsed(text: str) -> Address:
    is_client = text.startswith(CLIENT_PREFIX)
    match = re.fullmatch(r"(\[[\da-fA-F:]+\]|[\w.-]+):(\d{1,5})", text.removeprefix(CLIENT_PREFIX))
    if match is None or not 0 < int(match[2]) < 2**16:
        raise ResourceError(
            f"--address must be auto, HOST:PORT or ray://HOST:PORT, got {text!r}; "
            "'ray start' prints the port of a cluster, 6379 unless it was changed"
        )
    host = match[1]
    if host in ("localhost", "127.0.0.1") and not is_client:
        host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # Ray looks there
    return Address(host, int(match[2]), is_client, text)


def _of_this_machine() -> str:
    """What ``auto`` stands for: ``RAY_ADDRESS``, else the cluster that this machine belongs to."""
    from ray._private import services

    named = os.environ.get("RAY_ADDRESS")
    if named and named != "auto":
        return named
    running = services.find_gcs_addresses()  # type: ignore[no-untyped-call]
    _check_one(running, services.find_bootstrap_address(None))
    try:
        return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except ConnectionError:
        raise ResourceError(
            "--address auto needs a Ray cluster that this machine belongs to, but none was found; "
            "start one with 'ray start', name one by HOST:PORT, or leave --address out"
        ) from None


def _check_one(running: Collection[str], begun: str | None) -> None:
    """Raise ResourceError if several clusters run here and none is noted: Ray would guess."""
    if len(running) > 1 and begun is None:
        raise ResourceError(
            "--address auto must mean one Ray cluster, but this machine runs several and 'ray "
            f"start' noted none, {', '.join(sorted(running))}; name one by HOST:PORT"
        )


def _check_answer(address: Address) -> None:
    """Raise ResourceError unless what listens there is a Ray cluster of the right kind."""
    health = _health(address)
    if health not in (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED):
        raise _no_answer(address)
    is_cluster = health is grpc.StatusCode.OK
    if is_cluster and address.is_client:
        raise ResourceError(
            f"{address} must be the port of Ray's client server (10001 unless it was changed), but "
            f"the cluster itself answers there; on a machine of the cluster, leave {CLIENT_PREFIX} "
            "out, elsewhere give the client server's port"
        )
    if not is_cluster and not address.is_client:
        raise ResourceError(
            f"{address} must be the port of a Ray cluster (6379 unless it was changed), but "
            "another server answers there; if it is Ray's client server, give "
            f"{CLIENT_PREFIX}{address}"
        )


def _health(address: Address) -> grpc.StatusCode:
    """How a check of the server's health ends."""
    with grpc.insecure_channel(f"{address.host}:{address.port}") as channel:
        try:
            channel.unary_unary(_HEALTH)(b"", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def _check_listens(address: Address) -> None:
    """Raise ResourceError unless something listens there at all."""
    try:
        socket.create_connection((address.host.strip("[]"), address.port), ANSWER_SECONDS).close()
    except OSError:
        raise _no_answer(address) from None


def _no_answer(address: Address) -> ResourceError:
    return ResourceError(
        f"{address.given} must be the address of a running Ray cluster, but none answers there "
        f"within {ANSWER_SECONDS:.0f} s; check host, port and firewall, and 'ray status' on the "
        "head node"
    )
